-- A part of every script that looks at a member's points: what time decides of them, and what comes back.
--
-- Points that come back, out of a hold or a redemption, pay off what the member owes before anything else, also where their
-- last day has passed meanwhile: whoever returns goods and gives up what their points were spent on owes nothing, in whichever
-- order. Only what is not owed then has ended.

-- Pays off debt with points that came back into a lot whose last day has passed; usable ones wait for `repay_debt`.
local function repay_with_ended(w, legs, lot, points, at)
  if w[2] == 0 or lot[3] == 0 or lot[3] > at then return end
  local share = math.min(points, w[2])
  take(w, share, function(other) return other == lot end, function() wallet_leg(legs, w, lot, -share) end)
  plain_leg(legs, 'debt', w[1], share)
  w[2] = w[2] - share
end

-- Puts points back into the lot they came from, which is opened again with its original terms when it was empty.
local function put_back(w, legs, points, number, expires, available, party, at)
  local lot
  for _, each in ipairs(w[4]) do
    if each[1] == number then lot = each end
  end
  if not lot then
    if #w[4] >= LOTS_MAX then merge_neighbours(w, legs, at) end
    lot = { number, 0, expires, available, party }
    insert_lot(w, lot)
  end
  lot[2] = lot[2] + points
  wallet_leg(legs, w, lot, points)
  repay_with_ended(w, legs, lot, points, at)
end

-- Gives every part of a hold back to the lots it came from.
local function release_parts(m, hold, legs, at)
  for _, part in ipairs(hold[3]) do
    held_leg(legs, part, -part[3], hold[1])
    put_back(wallet_of(m, part[1]), legs, part[3], part[2], part[4], part[5], part[6], at)
  end
end

-- Whether there can be anything to settle: a hold that ended, an expired lot, or debt. Lots stand in order of expiry: where
-- the first has not expired, none has.
local function may_be_due(m, at)
  local holds, wallets = m[HOLDS], m[WALLETS]
  for i = 1, #holds do
    if holds[i][2] <= at then return true end
  end
  for i = 1, #wallets do
    local first = wallets[i][4][1]
    if wallets[i][2] > 0 or (first and first[3] > 0 and first[3] <= at) then return true end
  end
  return false
end

-- The next time after one, through `at`, that has to be settled by itself. Where nobody owes, everything can be settled at once.
-- What a member owes is paid by what counts first, so there each hold's end and each lot's first and last time are one: a sweep
-- that is late, or never comes, changes nothing.
local function next_due(m, after, at)
  local next, owes = at, false
  local function sooner(time)
    if time > after and time < next then next = time end
  end
  for _, hold in ipairs(m[HOLDS]) do sooner(hold[2]) end
  for _, w in ipairs(m[WALLETS]) do
    if w[2] > 0 then
      owes = true
      for _, lot in ipairs(w[4]) do
        sooner(lot[3])
        sooner(lot[4])
      end
    end
  end
  if owes then sooner(m[LAST_AT]) end
  return owes and next or at
end

local function settle_at(m, at, legs, ended, expired)
  for i = #m[HOLDS], 1, -1 do
    local hold = m[HOLDS][i]
    if hold[2] <= at then
      release_parts(m, hold, legs, at)
      ended[#ended + 1] = hold[1]
      table.remove(m[HOLDS], i)
    end
  end
  for _, w in ipairs(m[WALLETS]) do
    local first = w[4][1]
    if first and first[3] > 0 and first[3] <= at then
      local kept = take(w, NO_EXPIRY, function(lot) return lot[3] > 0 and lot[3] <= at end, function(lot, part)
        wallet_leg(legs, w, lot, -part)
        expired[#expired + 1] = { w[1], lot[1], part }
      end)
      plain_leg(legs, 'breakage', w[1], NO_EXPIRY - kept)
    end
    if w[2] > 0 then repay_debt(w, legs, at) end
  end
end

-- Settles in memory what time has decided: holds that ended, lots that expired, debt that matured points pay off.
-- Returns the legs, the holds that ended, and what expired: {currency, lot, points}.
-- After each turn no hold and no lot of a wallet that owes has a time before its end: there are fewer turns than two a lot
-- and one a hold.
-- Rare.
local function settle_due(m, at)
  local legs, ended, expired = {}, {}, {}
  local now = next_due(m, m[LAST_AT] - 1, at)
  settle_at(m, now, legs, ended, expired)
  while now < at do
    now = next_due(m, now, at)
    settle_at(m, now, legs, ended, expired)
  end
  return legs, ended, expired
end
