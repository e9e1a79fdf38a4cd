-- Takes points in burn order, all parts or none.
-- input   {parts = [[currency, points], …], account = 'redemption' | 'adjustment' | 'clearing' | 'partner', party, all?}
--         all = true takes everything, pending lots and debt included (a merge moves it), and is not barred; with it all
--         counters that are kept and those of places = [[counter, period], …]; known as in counters.lua
-- refuses member_merging, member_merged, member_not_active, spending_frozen, insufficient_points; answers
--         {'cold_counter', …} as accrue does
-- record  redemption, adjustment downwards or transfer: wallet -, account +
local function everything(m, legs, account)
  for _, w in ipairs(m[WALLETS]) do
    local before = 0
    for _, lot in ipairs(w[4]) do before = before + lot[2] end
    take(w, before, function() return true end, function(lot, part) wallet_leg(legs, w, lot, -part) end)
    plain_leg(legs, 'debt', w[1], w[2])
    plain_leg(legs, account, w[1], before - w[2])
    w[2] = 0
  end
end

local function decide(m, json, at)
  local input, legs = cjson.decode(json), {}
  if input.all then
    everything(m, legs, input.account)
    local extra, save, cold_places = take_out(m, input.places or {}, input.known)
    if not extra then return nil, save, cold_places end
    return legs, extra, nil, save
  end
  local code, details = barred(m, true)
  if not code then code, details = short(m, input.parts, at) end
  if code then return nil, code, details end
  for _, part in ipairs(input.parts) do
    local w = wallet_of(m, part[1])
    take(w, part[2], usable(at), function(lot, points) wallet_leg(legs, w, lot, -points) end)
    plain_leg(legs, input.account, part[1], part[2], input.party)
  end
  return legs
end

return run(decide)
