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

-- An award is read as texts: for the legs they are wanted as text, and reading them by pattern costs a third of what cjson
-- does.
local AWARD = '^[%[,]%[(%d+),(%d+),(%d+),(%d+),(%d+)%]'

-- Awards with the same terms become one part, at the place of the first: they would join one lot, and five rules of a receipt
-- cost four entries where they cost ten. Points that wait for an event stay apart: a release names the rule that gave them
-- (`partsOf` in releases.ts). A part is {currency, points, expiresAt, availableAt, party}, all texts, one after the other.
local function join(parts, currency, points, expires, available, party)
  local size = #parts
  if available == '0' or available ~= expires then
    for i = 1, size, 5 do
      if parts[i + 2] == expires and parts[i + 3] == available and parts[i] == currency and parts[i + 4] == party then
        parts[i + 1] = text(parts[i + 1] + points)
        return
      end
    end
  end
  parts[size + 1], parts[size + 2], parts[size + 3], parts[size + 4], parts[size + 5] = currency, points, expires, available, party
end

local function decide(m, json, at)
  local code, details = barred(m, false)
  if code then return nil, code, details end
  local parts, legs, place = {}, {}, #'{"awards":['
  local account, number, whose, trimmed, extra, save = 'issuance', 0
  -- Awards are numbers only: a quote behind their first bracket begins something else.
  local rest = string.find(json, '"', place, true)
  if rest then
    if string.sub(json, rest, rest + 8) == '"account"' then
      account, whose = string.match(json, '^"account":"([%l_]+)"(.*)}$', rest)
      if not account then error('no account: ' .. json) end
      whose = string.match(whose, '^,"party":(%d+)$')
    else
      local by = string.find(json, '"budgets":', rest, true) and weigh_budgets or weigh
      trimmed, extra, save = by(m, json, rest)
      if not trimmed then return nil, extra, save end
    end
  end
  local _, last, currency, points, expires, available, party = string.find(json, AWARD, place)
  while last do
    if trimmed then
      number = number + 1
      points = trimmed[number] or points
    end
    if points ~= '0' then join(parts, currency, points, expires, available, party) end
    place = last + 1
    _, last, currency, points, expires, available, party = string.find(json, AWARD, place)
  end
  -- An award that could not be read ends the call before anything of it is written.
  if not string.find(json, '^%[?%]', place) then error('no awards: ' .. json) end
  for i = 1, #parts, 5 do
    currency, points, expires, available, party = parts[i], parts[i + 1], parts[i + 2], parts[i + 3], parts[i + 4]
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
