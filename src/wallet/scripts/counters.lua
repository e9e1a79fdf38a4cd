-- Fifth part of every script that counts: a member's counters, such as the points of a rule in a month, or the number of
-- purchases. A place (counter, period) stands at a whole number; at 0 where nothing was ever counted.
--
-- The books have all places, a hot member the few that are still touched: of each counter the two newest calendar periods
-- and the older one that changed last, and the sixteen orders or tickets that changed last. What was dropped is noted.
-- They are one text of msgpack values, which scripts that do not count pass on unread: the epoch of its sequences, then
-- four numbers a row:
--   counter, period, value, sequence      a place, and the sequence of its last change
--   -counter, period, 0, sequence         what was dropped of a counter: calendar periods through this one, or any orders
--   0, EVERYTHING, 0, sequence            anything of any counter may have been dropped
-- An empty text: nothing was counted and nothing dropped. No text at all: a version that does not count loaded the member.
--
-- Invariant: a place without a row stands at 0, unless a row of what was dropped covers it; then no record after that row's
-- sequence has changed it. So whoever has read the place in books that are as new as that may say what it stands at (`known`
-- = [epoch, sequence, [[counter, period, value], …]]); until then the answer is `cold_counter`. An epoch begins when the books
-- have everything of those before it, so sequences of older ones count as 0.
local COUNTERS = 11
-- Periods from here on are orders and tickets, by 48 bits of a hash; those below are of the calendar.
local ORDERS, EVERYTHING = 1e8, 1e15

local function counters_of(m)
  local packed = m[COUNTERS]
  if packed == '' then return { EPOCH } end
  if not packed then
    local evicted = redis.call('GET', PREFIX .. 'evictedThrough')
    local epoch, seq = string.match(evicted or '0-0', '^(%d+)-(%d+)$')
    return { EPOCH, 0, EVERYTHING, 0, tonumber(epoch) == EPOCH and tonumber(seq) or 0 }
  end
  local list = { cmsgpack.unpack(packed) }
  if list[1] ~= EPOCH then
    list[1] = EPOCH
    for i = 5, #list, 4 do list[i] = 0 end
  end
  return list
end

-- What the caller has read of a place, in books that have its last change.
-- Rare.
local function read_before(known, counter, period, dropped)
  if not known or known[1] ~= EPOCH or known[2] < dropped then return nil end
  for _, row in ipairs(known[3]) do
    if row[1] == counter and row[2] == period then return row[3] end
  end
end

-- Where a place's row begins; it is opened where it is new or was read. Zero where it must be read first.
local function place_of(list, known, counter, period)
  local size, dropped = #list, nil
  for i = 2, size, 4 do
    local of, through = list[i], list[i + 1]
    if of == counter and through == period then return i end
    if of <= 0 and (of == 0 or (of == -counter and period <= through and (period < ORDERS) == (through < ORDERS))) then
      dropped = math.max(dropped or 0, list[i + 3])
    end
  end
  local value = 0
  if dropped then
    value = read_before(known, counter, period, dropped)
    if not value then return 0 end
  end
  list[size + 1], list[size + 2], list[size + 3], list[size + 4] = counter, period, value, 0
  return size + 1
end

-- Adds to a row, and notes which it is and what it was at: `changes` begins with how many numbers follow. (A table that has
-- its size from the beginning is made once, not anew with every number.)
local function add(list, changes, i, by)
  local size, n = changes[1], 2
  while n <= size and changes[n] ~= i do n = n + 2 end
  if n > size then changes[1], changes[n], changes[n + 1] = n + 1, i, list[i + 2] end
  list[i + 2] = list[i + 2] + by
end

-- What the record says of the counters, and what puts them into the member once the record has its sequence. Where nothing has
-- changed the first is empty and the other nil.
local function finish(m, list, stood, changes)
  local rows
  for n = 2, changes[1], 2 do
    local i = changes[n]
    local by = list[i + 2] - changes[n + 1]
    if by ~= 0 then
      local row = format('[%d,%d,%d,%d]', list[i], list[i + 1], by, list[i + 2])
      rows = rows and rows .. ',' .. row or row
    end
  end
  if not rows then return '', nil end
  return ',"counters":[' .. rows .. ']', function(seq)
    for n = 2, changes[1], 2 do
      local i = changes[n]
      if list[i + 2] ~= changes[n + 1] then list[i + 3] = seq end
    end
    if #list > stood then prune(list, stood, seq) end
    -- An array without its head of one byte, or of three: values one by one would be a text each before they are joined.
    m[COUNTERS] = #list > 1 and string.sub(cmsgpack.pack(list), #list < 16 and 2 or 4) or ''
  end
end

-- Answers which of the places must be read first: lists of rows whose counter stands at the given column.
-- Rare.
local function cold(list, known, ...)
  local missing, args = {}, { ... }
  for k = 1, #args, 2 do
    for _, row in ipairs(args[k]) do
      local counter, period = row[args[k + 1]], row[args[k + 1] + 1]
      if place_of(list, known, counter, period) == 0 then
        missing[#missing + 1] = '[' .. text(counter) .. ',' .. text(period) .. ']'
      end
    end
  end
  return nil, 'cold_counter', '[' .. table.concat(missing, ',') .. ']'
end

-- Adds to places: rows are {counter, period, by}. No counter goes below zero by it, unless its member is being merged: that
-- one's counters follow its points, also those that were given back meanwhile. Returns extra, save or nil, code, details.
-- Rare.
local function add_up(m, rows, known)
  local list, changes = counters_of(m), { 1 }
  local stood, is_leaving = #list, m[STATUS] == 'merging' or m[STATUS] == 'merged'
  for _, row in ipairs(rows) do
    local i = place_of(list, known, row[1], row[2])
    if i == 0 then return cold(list, known, rows, 1) end
    add(list, changes, i, is_leaving and row[3] or math.max(row[3], -math.max(0, list[i + 2])))
  end
  return finish(m, list, stood, changes)
end

-- Takes everything out of all counters that are kept, and out of those that are named: {counter, period}. Returns as add_up.
-- Rare.
local function take_out(m, places, known)
  local list, changes = counters_of(m), { 1 }
  local stood = #list
  for _, place in ipairs(places) do
    if place_of(list, known, place[1], place[2]) == 0 then return cold(list, known, places, 1) end
  end
  for i = 2, #list, 4 do
    if list[i] > 0 and list[i + 2] ~= 0 then add(list, changes, i, -list[i + 2]) end
  end
  return finish(m, list, stood, changes)
end
