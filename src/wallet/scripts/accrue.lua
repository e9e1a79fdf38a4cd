-- Adds awarded points to a member's lots and pays off debt with them.
-- input   {awards = [[currency, points, expiresAt, availableAt, party], …], account?, party? (of the account)}, in this order
--         and without blanks; there may be no award: a receipt that earns nothing. Instead of an account there may be what counts: limits,
--         assumptions, counts, known (`weigh` in weighing.lua), or with budgets also those (`weigh_budgets` in limits.lua)
-- refuses member_merging, member_merged, member_not_active, balance_limit, stale_counters {counters = [[counter, period,
--         value], …]}; answers {'cold_counter', [[counter, period], …]} when these must be read from the books first, and
--         {'lease_short', [[budget, points, at the least, highest lease], …]} when these must be granted first
-- record  accrual (or adjustment upwards): wallet +, issuance or the given account -, once for all awards with the same
--         terms; what was counted; where an award was trimmed, what was given of each; which leases of budgets were used, and
--         what full ones cut
local POINTS_MAX = 9007199254740991

-- Awards with the same terms become one, at the place of the first: they would join one lot, and five rules of a receipt cost
-- four entries where they cost ten. Points that wait for an event stay apart: a release names the rule that gave them
-- (`partsOf` in award-parts.ts). Awards without points are left out. The list is made shorter where it stands; answers its length.
local function joined(awards)
  local size = 0
  for i = 1, #awards, 5 do
    local currency, points, expires, available, party = awards[i], awards[i + 1], awards[i + 2], awards[i + 3], awards[i + 4]
    local k = points == '0' and -1 or (available == '0' or available ~= expires) and 1 or size + 1
    while k > 0 and k <= size do
      if awards[k + 2] == expires and awards[k + 3] == available and awards[k] == currency and awards[k + 4] == party then
        awards[k + 1] = text(awards[k + 1] + points)
        k = -1
      else
        k = k + 5
      end
    end
    if k > 0 then
      awards[k], awards[k + 1], awards[k + 2], awards[k + 3], awards[k + 4] = currency, points, expires, available, party
      size = size + 5
    end
  end
  return size
end

local function decide(m, json, at)
  local code, details = barred(m, false)
  if code then return nil, code, details end
  local awards, place = awards_in(json)
  local account, whose, extra, save = 'issuance'
  -- Awards are numbers only: a quote behind them begins something else.
  local rest = string.find(json, '"', place, true)
  if rest then
    if string.sub(json, rest, rest + 8) == '"account"' then
      account, whose = string.match(json, '^"account":"([%l_]+)"(.*)}$', rest)
      if not account then error('no account: ' .. json) end
      whose = string.match(whose, '^,"party":(%d+)$')
    else
      local by = string.find(json, '"budgets":', rest, true) and weigh_budgets or weigh
      extra, save, details = by(m, json, rest, awards)
      if not extra then return nil, save, details end
    end
  end
  local legs = {}
  for i = 1, joined(awards), 5 do
    local currency, points, expires, available, party = awards[i], awards[i + 1], awards[i + 2], awards[i + 3], awards[i + 4]
    local w, earned, starts = wallet_of(m, currency + 0), points + 0, available + 0
    local lots, sum = w[4], earned
    for j = 1, #lots do sum = sum + lots[j][2] end
    if sum > POINTS_MAX then return nil, 'balance_limit' end
    local lot = credit(w, legs, earned, expires + 0, starts, party + 0, at)
    -- What joins an available lot counts from when that did.
    if lot[4] ~= starts then available = text(lot[4]) end
    -- The wallet leg of a part stands right before its other side: operation-state.ts pairs them by that.
    legs[#legs + 1] = '["wallet",' .. currency .. ',' .. points .. ',' .. text(lot[1]) .. ',' .. party .. ',' .. expires .. ','
      .. available .. '],["' .. account .. '",' .. currency .. ',-' .. points .. ',' .. (whose or party) .. ']'
    if w[2] > 0 then repay_debt(w, legs, at) end
  end
  return legs, extra, nil, save
end

return run(decide)
