-- Second half of a transfer: credits what left another member's lots, with its terms, out of clearing.
-- input   {lots = [[currency, points, expiresAt, availableAt, party], …], debts = [[currency, points], …], back = bool,
--          refused = bool, void = bool, counters = [[counter, period, by], …]?, known?} (counters.lua)
--         back = true returns a refused transfer to its source, whatever the status there; a closed source's points
--         go to `unclaimed`; refused = true resolves the transfer as one that must not arrive; void = true uses the reference up
--         with a record that moves nothing, where whatever else has the reference would be decided: not of a merged member
-- refuses member_merging, member_merged, both of a void only
-- answers {'cold_counter', …} as accrue does
-- record  transfer_credit or transfer_return: clearing -, wallet +; or transfer_refusal (no legs), which resolves the
--         transfer for ever: only from that record is it ever returned
local function decide(m, json, at)
  local input, legs = cjson.decode(json), {}
  if input.void then
    if m[STATUS] == 'merging' or m[STATUS] == 'merged' then return nil, barred(m, false) end
    return legs
  end
  local refusable = not input.back and (input.refused or m[STATUS] == 'closed' or m[STATUS] == 'merged')
  if refusable then return legs, nil, 'transfer_refusal' end
  local lost = input.back and m[STATUS] == 'closed'
  for _, lot in ipairs(input.lots) do
    plain_leg(legs, 'clearing', lot[1], -lot[2])
    if lost then
      plain_leg(legs, 'unclaimed', lot[1], lot[2])
    else
      local w = wallet_of(m, lot[1])
      wallet_leg(legs, w, credit(w, legs, lot[2], lot[3], lot[4], lot[5], at), lot[2])
    end
  end
  for _, debt in ipairs(input.debts) do
    local w = wallet_of(m, debt[1])
    w[2] = w[2] + debt[2]
    plain_leg(legs, 'debt', debt[1], -debt[2])
    plain_leg(legs, 'clearing', debt[1], debt[2])
  end
  for _, w in ipairs(m[WALLETS]) do repay_debt(w, legs, at) end
  if not (input.counters and input.counters[1]) then return legs end
  local extra, save, places = add_up(m, input.counters, input.known)
  if not extra then return nil, save, places end
  return legs, extra, nil, save
end

return run(decide)
