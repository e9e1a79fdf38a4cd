-- Gives points other terms: an extension, or points that waited for an event and count from now on.
-- input   {currency, later = [[expiresAt, later], …], lots = [lot, …]?}: lots of these ends (and numbers) end later, or
--         {unlock = operation, version, note, terms = [[part, expiresAt], …], moved}: what is left of these parts of an accrual
--         counts from now, through the end that is given. moved as in undo.lua
-- refuses member_merging, member_merged, member_not_active, stale_operation; answers {'cold_operation', operation}
-- record  extension: wallet -, wallet +; unlock: wallet -, wallet + (wallet -, debt + with what counts now)
local function extend(m, input, at)
  local legs, later, named = {}, {}, {}
  for _, row in ipairs(input.later) do later[row[1]] = row[2] end
  for _, number in ipairs(input.lots or {}) do named[number] = true end
  redate(m, legs, input.currency, at, function(lot)
    local expires = (not input.lots or named[lot[1]]) and later[lot[3]]
    if expires and expires > lot[3] and lot[4] ~= lot[3] then return expires, lot[4] end
  end)
  return legs
end

-- The lot that a part waits in; by its terms where the accrual was another member's.
local function waiting_lot(m, part, moved, at)
  for _, w in ipairs(m[WALLETS]) do
    for i, lot in ipairs(w[4]) do
      local is_same = w[1] == part[1] and lot[4] == part[5] and lot[5] == part[6] and lot[4] > at
      if is_same and (moved or lot[1] == part[2]) then return w, lot, i end
    end
  end
end

local function unlock_part(m, legs, part, expires, moved, at)
  local w, lot, index = waiting_lot(m, part, moved, at)
  if not w or part[3] == 0 then return end
  local points = math.min(part[3], lot[2])
  lot[2] = lot[2] - points
  if lot[2] == 0 then table.remove(w[4], index) end
  -- Where lots must be joined to make room, those legs come first: the two of the move stay together.
  local into = credit(w, legs, points, expires, 0, part[6], at)
  wallet_leg(legs, w, lot, -points)
  wallet_leg(legs, w, into, points)
  if not moved then part[2], part[4], part[5] = into[1], into[3], into[4] end
end

local function unlock(m, input, at)
  local state = load_operation(input.unlock)
  if not state then return nil, 'cold_operation', input.unlock end
  if state.version ~= input.version then
    return nil, 'stale_operation', cjson.encode({ operation = input.unlock, version = state.version, note = state.note })
  end
  local legs = {}
  for _, row in ipairs(input.terms) do
    local part = state.parts[row[1]]
    if part then unlock_part(m, legs, part, row[2], input.moved, at) end
  end
  for _, w in ipairs(m[WALLETS]) do repay_debt(w, legs, at) end
  return legs, nil, nil, function(seq) save_operation(input.unlock, state, seq) end
end

local function decide(m, json, at)
  local input = cjson.decode(json)
  local code, details = barred(m, false)
  if code then return nil, code, details end
  if input.unlock then return unlock(m, input, at) end
  return extend(m, input, at)
end

return run(decide)
