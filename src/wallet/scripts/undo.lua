-- Takes back what an accrual gave and gives back what a redemption took: reversal, refund, and a return that does both.
-- What is left of an original stands in PREFIX o:<operation>, so two callers at once cannot undo the same points twice.
-- input   {accruals = [[operation, version, note, [[currency, points, part?], …], [[counter, period, by], …]?, [[budget,
--         currency, points], …]?], …], debt = bool,
--          redemptions = [[operation, version, note, [[currency, points], …]], …]}
--         part = the one of the original to begin with, from 1; the rest comes from its last part on
--         moved = true: the original was another member's, merged into this one, so its lot numbers mean nothing here
--         account, party?: the other side of every leg, instead of issuance and redemption
--         least = [[currency, end], …]?: redeemed points that come back count until then at least
--         read = [epoch, sequence]?: the input was decided on all that the member's records were until then
--         past?: which points of the accruals' lots have ended (past.lua)
--         by is negative: how far a counter goes down with it
--         what a budget gave comes back to it, as far as it could be taken or is owed
--         note is the caller's own text about what was returned so far; version guards it against another writer
-- refuses refund_exceeds_redemption, reversal_exceeds_accrual, stale_order, stale_operation {operation, version, note}
--         answers {'cold_operation', operation} when the original must be loaded first, {'cold_counter', …} as accrue does,
--         {'cold_lot', [[operation, currency, lot], …]} when it must be read what became of these
-- record  wallet -, breakage - (points that had ended), issuance + (debt -, when nothing is left to take) and redemption -,
--         wallet +; or with the given account
-- Lowers what is left of an original: the named part, then its last one first, and calls undone(part, points) for each.
-- False: too much.
local function lower(state, wish, undone)
  local points = wish[2]
  local function from(part)
    local share = part and part[1] == wish[1] and math.min(points, part[3]) or 0
    if share > 0 then
      part[3], points = part[3] - share, points - share
      undone(part, share)
    end
  end
  from(state.parts[wish[3] or 0])
  for i = #state.parts, 1, -1 do from(state.parts[i]) end
  return points == 0
end

local function take_back(m, input, at, legs, shortfall, past, operation, part, points)
  local w = wallet_of(m, part[1])
  local function taken(lot, share) wallet_leg(legs, w, lot, -share) end
  local rest = points
  if not input.moved then rest = take(w, rest, function(lot) return lot[1] == part[2] end, taken) end
  -- What is not in its lot after the lot's last day was spent, or it has ended there: that was taken already. Of another
  -- member's original the terms say nothing: its points may have got others since.
  if rest > 0 and (input.moved or (part[4] > 0 and part[4] <= at)) then
    local ended = take_ended(past, operation, part, rest)
    plain_leg(legs, 'breakage', part[1], -ended)
    rest = rest - ended
  end
  -- Points whose partner is billed when they are spent: what of them stands in other lots was not billed, and other lots' points were
  -- spent in their stead (`clearing/spending.ts`).
  if part[6] > SETTLED_FROM then
    local can = usable(at)
    rest = take(w, rest, function(lot) return lot[5] == part[6] and can(lot) end, taken)
  end
  rest = take(w, rest, usable(at), taken)
  -- A lot whose end was moved has another number, and still waits until the same time.
  if part[5] > at then
    rest = take(w, rest, function(lot) return lot[4] == part[5] and lot[5] == part[6] end, taken)
  end
  if rest > 0 then
    if input.debt then
      w[2] = w[2] + rest
      plain_leg(legs, 'debt', part[1], -rest)
    end
    shortfall[part[1]] = (shortfall[part[1]] or 0) + rest
  end
  plain_leg(legs, input.account or 'issuance', part[1], points - (input.debt and 0 or rest), input.party or part[6])
end

local function open_all(list, states)
  for _, row in ipairs(list) do
    local state = load_operation(row[1])
    if not state then return 'cold_operation', row[1] end
    if state.version ~= row[2] then
      return 'stale_operation', cjson.encode({ operation = row[1], version = state.version, note = state.note })
    end
    states[row[1]] = state
  end
end

-- By how much each counter goes down.
local function changes_of(accruals)
  local changes = {}
  for _, row in ipairs(accruals) do
    for _, change_by in ipairs(row[5] or {}) do changes[#changes + 1] = change_by end
  end
  return changes
end

-- What comes back to budgets, as part of the record. Of points that nobody could take the budget sees nothing.
local function back_to_budgets(input, shortfall)
  local rows, lacking = {}, {}
  if not input.debt then
    for currency, points in pairs(shortfall) do lacking[currency] = points end
  end
  for _, row in ipairs(input.accruals) do
    for _, back in ipairs(row[6] or {}) do
      local cut = math.min(lacking[back[2]] or 0, back[3])
      if cut > 0 then lacking[back[2]] = lacking[back[2]] - cut end
      if cut < back[3] then rows[#rows + 1] = format('[%d,0,%d]', back[1], cut - back[3]) end
    end
  end
  return rows[1] and ',"budgets":[' .. table.concat(rows, ',') .. ']' or ''
end

local function decide(m, json, at, _, _, expired)
  local input = cjson.decode(json)
  local legs, states, shortfall, least, past = {}, {}, {}, {}, past_of(m, input.past, expired)
  for _, row in ipairs(input.least or {}) do least[row[1]] = row[2] end
  local code, details = open_all(input.accruals, states)
  if not code then code, details = open_all(input.redemptions, states) end
  if code then return nil, code, details end
  if input.read and not is_read(m, input.read) then return nil, 'stale_order' end
  for _, row in ipairs(input.redemptions) do
    for _, wish in ipairs(row[4]) do
      local w = wallet_of(m, wish[1])
      local fits = lower(states[row[1]], wish, function(part, points)
        plain_leg(legs, input.account or 'redemption', part[1], -points, input.party)
        local ends = part[4] == 0 and 0 or math.max(part[4], least[wish[1]] or 0)
        if input.moved or ends > part[4] then
          local lot = credit(w, legs, points, ends, part[5], part[6], at)
          wallet_leg(legs, w, lot, points)
          repay_with_ended(w, legs, lot, points, at)
        else
          put_back(w, legs, points, part[2], part[4], part[5], part[6], at)
        end
      end)
      if not fits then return nil, 'refund_exceeds_redemption' end
    end
    states[row[1]].note = row[3]
  end
  for _, row in ipairs(input.accruals) do
    for _, wish in ipairs(row[4]) do
      local fits = lower(states[row[1]], wish, function(part, points)
        take_back(m, input, at, legs, shortfall, past, row[1], part, points)
      end)
      if not fits then return nil, 'reversal_exceeds_accrual' end
    end
    states[row[1]].note = row[3]
  end
  if past.asked[1] then return nil, 'cold_lot', '[' .. table.concat(past.asked, ',') .. ']' end
  for _, w in ipairs(m[WALLETS]) do repay_debt(w, legs, at) end
  local counted, finish, places = '', nil, nil
  local changes = changes_of(input.accruals)
  if changes[1] then
    counted, finish, places = add_up(m, changes, input.known)
    if not counted then return nil, finish, places end
  end
  local missing = {}
  for currency, points in pairs(shortfall) do missing[#missing + 1] = '[' .. currency .. ',' .. text(points) .. ']' end
  local function save(seq)
    if finish then finish(seq) end
    for operation, state in pairs(states) do save_operation(operation, state, seq) end
  end
  counted = counted .. back_to_budgets(input, shortfall)
  if past.taken[1] then counted = counted .. ',"expired":[' .. table.concat(past.taken, ',') .. ']' end
  return legs, ',"shortfall":[' .. table.concat(missing, ',') .. ']' .. counted, nil, save
end

return run(decide)
