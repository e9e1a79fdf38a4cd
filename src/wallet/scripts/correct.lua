-- Books legs that were planned from the books (`correction.ts`): what a quarantined record should have booked, or the
-- opposite of what it did. The plan holds only for the state that it was made for, so that is compared first.
-- input   {legs = [[account, currency, points, …], …] as in a record, next = [[currency, nextLot], …],
--          debts = [[currency, points], …], lots = [[currency, lot, points], …] (before the legs; 0 or less: not there),
--          holds = [operation, …] that end with it, counters = [[counter, period, by], …]?, known?}
-- refuses plan_outdated; answers {'cold_counter', …} as accrue does
-- record  correction: the legs as planned; debt is paid off by what matured
local function lot_of(w, number)
  for i, lot in ipairs(w[4]) do
    if lot[1] == number then return lot, i end
  end
  return nil
end

local function fits(m, input)
  for _, row in ipairs(input.next) do
    if wallet_of(m, row[1])[3] ~= row[2] then return false end
  end
  for _, row in ipairs(input.debts) do
    if wallet_of(m, row[1])[2] ~= row[2] then return false end
  end
  for _, row in ipairs(input.lots) do
    local lot = lot_of(wallet_of(m, row[1]), row[2])
    if (lot and lot[2] or 0) ~= math.max(0, row[3]) then return false end
  end
  for _, hold in ipairs(input.holds) do
    if not hold_index(m, hold) then return false end
  end
  return true
end

local function apply_wallet(m, leg, before, legs)
  local w = wallet_of(m, leg[2])
  local lot, index = lot_of(w, leg[4])
  local key = leg[2] .. '.' .. text(leg[4])
  local points = (before[key] or 0) + leg[3]
  before[key] = points
  wallet_leg(legs, w, { leg[4], points, leg[6], leg[7], leg[5] }, leg[3])
  w[3] = math.max(w[3], leg[4] + 1)
  if lot and points > 0 then lot[2] = points
  elseif lot then table.remove(w[4], index)
  elseif points > 0 then insert_lot(w, { leg[4], points, leg[6], leg[7], leg[5] }) end
end

local function decide(m, json, at)
  local input, legs, before = cjson.decode(json), {}, {}
  if not fits(m, input) then return nil, 'plan_outdated' end
  for _, row in ipairs(input.lots) do before[row[1] .. '.' .. text(row[2])] = row[3] end
  for _, leg in ipairs(input.legs) do
    if leg[1] == 'wallet' then
      apply_wallet(m, leg, before, legs)
    elseif leg[1] == 'held' then
      held_leg(legs, { leg[2], leg[4], 0, leg[7], leg[8], leg[6] }, leg[3], leg[5])
    else
      plain_leg(legs, leg[1], leg[2], leg[3], leg[4])
      if leg[1] == 'debt' then
        local w = wallet_of(m, leg[2])
        w[2] = w[2] - leg[3]
      end
    end
  end
  for _, hold in ipairs(input.holds) do table.remove(m[HOLDS], hold_index(m, hold)) end
  for _, w in ipairs(m[WALLETS]) do repay_debt(w, legs, at) end
  local extra, save, places = add_up(m, input.counters or {}, input.known)
  if not extra then return nil, save, places end
  return legs, ',"holds":' .. (#input.holds > 0 and cjson.encode(input.holds) or '[]') .. extra, nil, save
end

return run(decide)
