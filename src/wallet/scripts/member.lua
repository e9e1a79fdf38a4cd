-- Second part of every wallet script: the state of one member and its lots in burn order. What falls due is in `due.lua`.
--
-- A member is one string of msgpack values, one after the other: as one array it took a third longer to read and write.
-- Invariants: a wallet's lots are sorted by burn order (soonest expiry first, never expiring last, then the older lot), none is
-- empty, and debt is 0 or no matured lot is left. A lot is {lot, points, expiresAt, availableAt, party}; times are epoch ms, 0 = none.
-- A wallet is {currency, debt, nextLot, lots}. A hold is {operation, expiresAt, parts}, a part {currency, lot…}. The last value
-- are the counters (`counters.lua`), a text that is passed on unread.

local NO_EXPIRY = 9e15
-- When a hold ends that its own maker resolves in any case, also of a member that was closed: the end of 9999.
local NO_END = 253402300799999
-- What stands where in a member: the epoch and sequence of its last record, that record's time, and so on.
local EPOCH_AT, SEQ, LAST_AT, STATUS, FACTS_VERSION, FROZEN, MERGED, WALLETS, HOLDS, REFUSALS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

-- A member from what stands under its key; nil where that is nothing, or of before a cold recovery.
local function unpacked(packed)
  if not packed then return nil end
  local m = { cmsgpack.unpack(packed) }
  return m[EPOCH_AT] >= COLD_BELOW and m or nil
end

local function load_member(number)
  return unpacked(call('GET', PREFIX .. 'm:' .. number))
end

local function save_member(key, m)
  call('SET', key, cmsgpack.pack(unpack(m)))
end

local function wallet_of(m, currency)
  local wallets = m[WALLETS]
  for i = 1, #wallets do
    if wallets[i][1] == currency then return wallets[i] end
  end
  local w = { currency, 0, 1, {} }
  wallets[#wallets + 1] = w
  return w
end

-- Legs are collected as JSON text; every leg is {account, currency, points, …} and a record's legs sum to zero.
local function wallet_leg(legs, w, lot, points)
  legs[#legs + 1] = format('["wallet",%d,%d,%d,%d,%d,%d]', w[1], points, lot[1], lot[5], lot[3], lot[4])
end

local function held_leg(legs, part, points, hold)
  legs[#legs + 1] = format('["held",%d,%d,%d,"%s",%d,%d,%d]', part[1], points, part[2], hold, part[6], part[4],
    part[5])
end

local function plain_leg(legs, account, currency, points, party)
  if points ~= 0 then
    legs[#legs + 1] = format('["%s",%d,%d,%d]', account, currency, points, party or 0)
  end
end

local function expiry_of(lot)
  return lot[3] == 0 and NO_EXPIRY or lot[3]
end

-- Puts a lot at its place in burn order.
local function insert_lot(w, lot)
  local lots = w[4]
  local place = #lots + 1
  while place > 1 do
    local before = lots[place - 1]
    local e, f = expiry_of(before), expiry_of(lot)
    if e < f or (e == f and before[1] < lot[1]) then break end
    place = place - 1
  end
  table.insert(lots, place, lot)
end

-- Joins the two lots of one party that expire closest together (where there are none, the first two, as the later one's); the later
-- expiry wins, points never count earlier than they would have, and a joined lot that has to wait longer is a new one.
-- Rare.
local function merge_neighbours(w, legs, at)
  local lots, best, other, gap, last = w[4], 1, 2, math.huge, {}
  for j, b in ipairs(lots) do
    local i = last[b[5]] or j
    local distance = i < j and expiry_of(b) - expiry_of(lots[i]) or gap
    -- An available lot does not wait for a pending one as long as there is any other pair.
    if (lots[i][4] <= at) ~= (b[4] <= at) then distance = distance + NO_EXPIRY end
    if distance < gap then best, other, gap = i, j, distance end
    last[b[5]] = j
  end
  local from, into = table.remove(lots, best), lots[other - 1]
  wallet_leg(legs, w, from, -from[2])
  if from[4] > into[4] then
    table.remove(lots, other - 1)
    wallet_leg(legs, w, into, -into[2])
    into = { w[3], into[2], into[3], from[4], into[5] }
    w[3] = w[3] + 1
    insert_lot(w, into)
    wallet_leg(legs, w, into, into[2])
  end
  wallet_leg(legs, w, into, from[2])
  into[2] = into[2] + from[2]
end

-- Adds points to the lot with the same terms, or opens a new one. Returns the lot: its leg is the caller's.
local function credit(w, legs, points, expires, available, party, at)
  local lots = w[4]
  for i = 1, #lots do
    local lot = lots[i]
    if lot[3] == expires and lot[5] == party and (lot[4] == available or (lot[4] <= at and available <= at)) then
      lot[2] = lot[2] + points
      return lot
    end
  end
  if #lots >= LOTS_MAX then merge_neighbours(w, legs, at) end
  local lot = { w[3], points, expires, available, party }
  w[3] = w[3] + 1
  insert_lot(w, lot)
  return lot
end

-- Takes up to `points` from the lots for which `takes(lot)` holds, in burn order; calls `taken(lot, points)` for each.
-- Returns what could not be taken.
local function take(w, points, takes, taken)
  local lots, i = w[4], 1
  while points > 0 and lots[i] do
    local lot = lots[i]
    if takes(lot) then
      local part = math.min(points, lot[2])
      lot[2] = lot[2] - part
      points = points - part
      taken(lot, part)
      if lot[2] == 0 then table.remove(lots, i) else i = i + 1 end
    else
      i = i + 1
    end
  end
  return points
end

local function usable(at)
  return function(lot)
    return lot[4] <= at and (lot[3] == 0 or lot[3] > at)
  end
end

local function available_of(w, at)
  local sum, can = 0, usable(at)
  for _, lot in ipairs(w[4]) do
    if can(lot) then sum = sum + lot[2] end
  end
  return sum
end

-- Rare.
local function repay_debt(w, legs, at)
  if w[2] == 0 then return end
  local rest = take(w, w[2], usable(at), function(lot, part) wallet_leg(legs, w, lot, -part) end)
  plain_leg(legs, 'debt', w[1], w[2] - rest)
  w[2] = rest
end

-- [currency, available, pending, held, debt], …: what a reply shows as balances.
local function balances_text(m, at)
  local rows, wallets, holds = '', m[WALLETS], m[HOLDS]
  for i = 1, #wallets do
    local w = wallets[i]
    local lots, available, pending, held = w[4], 0, 0, 0
    for j = 1, #lots do
      local lot = lots[j]
      if lot[4] > at then pending = pending + lot[2] elseif lot[3] == 0 or lot[3] > at then available = available + lot[2] end
    end
    for j = 1, #holds do
      for _, part in ipairs(holds[j][3]) do
        if part[1] == w[1] then held = held + part[3] end
      end
    end
    local row = format('[%d,%d,%d,%d,%d]', w[1], available, pending, held, w[2])
    rows = i == 1 and row or rows .. ',' .. row
  end
  return rows
end
