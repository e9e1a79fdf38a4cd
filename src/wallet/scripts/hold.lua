-- Reserves points: they leave the lots and wait under the hold until it is captured, released or ends.
-- input   {parts = [[currency, points], …], expiresInMs?}, counted from the member's own time: by the clock of a caller who is
--         seconds behind, a short hold could have ended before it began; absent: a hold without an end, which its maker
--         resolves whatever becomes of the member
-- refuses member_merging, member_merged, member_not_active, spending_frozen, insufficient_points, balance_limit; without an
--         end not_held {code}, which is not remembered, so that its maker can use up the reference for good
-- record  hold: wallet -, held +
local function decide(m, json, at, operation)
  local input = cjson.decode(json)
  local code, details = barred(m, true)
  if not code then code, details = short(m, input.parts, at) end
  if not code and #m[HOLDS] >= HOLDS_MAX then code = 'balance_limit' end
  if code and not input.expiresInMs then return nil, 'not_held', '{"code":"' .. code .. '"}' end
  if code then return nil, code, details end
  local legs, parts = {}, {}
  for _, part in ipairs(input.parts) do
    local w = wallet_of(m, part[1])
    take(w, part[2], usable(at), function(lot, points)
      local held = { part[1], lot[1], points, lot[3], lot[4], lot[5] }
      wallet_leg(legs, w, lot, -points)
      held_leg(legs, held, points, operation)
      parts[#parts + 1] = held
    end)
  end
  local ends = input.expiresInMs and at + input.expiresInMs or NO_END
  m[HOLDS][#m[HOLDS] + 1] = { operation, ends, parts }
  return legs, ',"expiresAt":' .. text(ends)
end

return run(decide)
