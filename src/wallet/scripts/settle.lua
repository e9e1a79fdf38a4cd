-- Resolves a hold, once: captures all or part (the rest goes back) or releases it.
-- input   {hold, mode = 'capture' | 'release', parts = [[currency, points], …] (empty: all), account?, party?}
-- refuses hold_expired, hold_not_open (the caller asks the books how it was resolved), capture_exceeds_hold
-- record  capture, exchange_out: held -, redemption or the given account + (rest: held -, wallet +); release: held -, wallet +
-- A hold is settled whatever the member's status is: the promise was made when it was taken.
local function wanted(hold, parts)
  local points = {}
  for _, part in ipairs(hold[3]) do points[part[1]] = (points[part[1]] or 0) + part[3] end
  if #parts == 0 then return points end
  local asked = {}
  for currency in pairs(points) do asked[currency] = 0 end
  for _, part in ipairs(parts) do
    if (points[part[1]] or 0) < part[2] then return nil end
    asked[part[1]] = part[2]
  end
  return asked
end

local function decide(m, json, at, _, ended)
  local input = cjson.decode(json)
  for _, hold in ipairs(ended or {}) do
    if hold == input.hold then return nil, 'hold_expired' end
  end
  local index = hold_index(m, input.hold)
  if not index then return nil, 'hold_not_open' end
  local hold, legs = m[HOLDS][index], {}
  table.remove(m[HOLDS], index)
  if input.mode == 'release' then
    release_parts(m, hold, legs, at)
    return legs
  end
  local left = wanted(hold, input.parts)
  if not left then return nil, 'capture_exceeds_hold' end
  for _, part in ipairs(hold[3]) do
    local captured = math.min(left[part[1]], part[3])
    left[part[1]] = left[part[1]] - captured
    held_leg(legs, part, -part[3], hold[1])
    plain_leg(legs, input.account or 'redemption', part[1], captured, input.party)
    if captured < part[3] then
      put_back(wallet_of(m, part[1]), legs, part[3] - captured, part[2], part[4], part[5], part[6], at)
    end
  end
  for _, w in ipairs(m[WALLETS]) do repay_debt(w, legs, at) end
  return legs
end

return run(decide)
