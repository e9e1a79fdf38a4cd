-- Adds awarded points to a member's lots and pays off debt with them.
-- input   {awards = [[currency, points, expiresAt, availableAt, party], …]}; may be empty: a receipt that earns nothing
-- refuses member_merging, member_merged, member_not_active, balance_limit
-- record  accrual (or adjustment upwards): wallet +, issuance or the given account -
local POINTS_MAX = 9007199254740991

local function decide(m, item)
  local code, details = barred(m, false)
  if code then return nil, code, details end
  local legs, awards = {}, item.input.awards
  for i = 1, #awards do
    local award = awards[i]
    local w = wallet_of(m, award[1])
    local sum, lots = award[2], w[4]
    for j = 1, #lots do sum = sum + lots[j][2] end
    if sum > POINTS_MAX then return nil, 'balance_limit' end
    -- The wallet leg of an award stands right before its other side: operation-state.ts pairs them by that.
    credit(w, legs, award[2], award[3], award[4], award[5], item.at)
    plain_leg(legs, item.input.account or 'issuance', award[1], -award[2], award[5])
    repay_debt(w, legs, item.at)
  end
  return { legs = legs }
end

return run(decide)
