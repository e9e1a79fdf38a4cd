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

-- Adds to a row, and notes which it is and what it was at.
local function add(list, changed, was, i, by)
  local n = 1
  while changed[n] and changed[n] ~= i do n = n + 1 end
  if not changed[n] then changed[n], was[n] = i, list[i + 2] end
  list[i + 2] = list[i + 2] + by
end

-- What the record says of the counters, and what puts them into the member once the record has its sequence. Where nothing has
-- changed the first is empty and the other nil.
local function finish(m, list, stood, changed, was)
  local rows
  for n = 1, #changed do
    local i = changed[n]
    local by = list[i + 2] - was[n]
    if by ~= 0 then
      local row = format('[%d,%d,%d,%d]', list[i], list[i + 1], by, list[i + 2])
      rows = rows and rows .. ',' .. row or row
    end
  end
  if not rows then return '', nil end
  return ',"counters":[' .. rows .. ']', function(seq)
    for n = 1, #changed do
      local i = changed[n]
      if list[i + 2] ~= was[n] then list[i + 3] = seq end
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
  local list, changed, was = counters_of(m), {}, {}
  local stood, is_leaving = #list, m[STATUS] == 'merging' or m[STATUS] == 'merged'
  for _, row in ipairs(rows) do
    local i = place_of(list, known, row[1], row[2])
    if i == 0 then return cold(list, known, rows, 1) end
    add(list, changed, was, i, is_leaving and row[3] or math.max(row[3], -math.max(0, list[i + 2])))
  end
  return finish(m, list, stood, changed, was)
end

-- Takes everything out of all counters that are kept, and out of those that are named: {counter, period}. Returns as add_up.
-- Rare.
local function take_out(m, places, known)
  local list, changed, was = counters_of(m), {}, {}
  local stood = #list
  for _, place in ipairs(places) do
    if place_of(list, known, place[1], place[2]) == 0 then return cold(list, known, places, 1) end
  end
  for i = 2, #list, 4 do
    if list[i] > 0 and list[i + 2] ~= 0 then add(list, changed, was, i, -list[i + 2]) end
  end
  return finish(m, list, stood, changed, was)
end

-- Trims the awards of an accrual and counts. `first` is where, behind the awards, the rest of the input begins:
--   "limits":[[award (from 1), counter, period, pointsMax, is all or nothing 0 | 1], …], "assumptions":[[counter, period, from,
--   to], …], "counts":[[counter, period, by], …], "known":…; each may be left out
-- Returns the points, as text, of those awards that are given fewer, by their number; extra; save. Or nil, code, details.
-- Rare.
local function weigh(m, json, first)
  local input = cjson.decode('{' .. string.sub(json, first))
  local known, list, changed, was, trimmed, none = input.known, counters_of(m), {}, {}, {}, {}
  local assumptions, limits, counts = input.assumptions or none, input.limits or none, input.counts or none
  local stood, is_cold, stands = #list, false, nil
  for k = 1, #assumptions do
    local row = assumptions[k]
    local i = place_of(list, known, row[1], row[2])
    if i == 0 then is_cold = true elseif list[i + 2] < row[3] or list[i + 2] > row[4] then stands = {} end
  end
  for k = 1, #limits do
    local row = limits[k]
    row[6] = place_of(list, known, row[2], row[3])
    is_cold = is_cold or row[6] == 0
  end
  for k = 1, #counts do
    local row = counts[k]
    row[4] = place_of(list, known, row[1], row[2])
    is_cold = is_cold or row[4] == 0
  end
  if is_cold then return cold(list, known, assumptions, 1, limits, 2, counts, 1) end
  if stands then
    for k, row in ipairs(assumptions) do
      stands[k] = format('[%d,%d,%d]', row[1], row[2], list[place_of(list, known, row[1], row[2]) + 2])
    end
    return nil, 'stale_counters', '{"counters":[' .. table.concat(stands, ',') .. ']}'
  end
  local given, award, place = nil, 0, 1
  while limits[1] do
    local _, last, asked = string.find(json, ',(%d+),%d+,%d+,%d+%]', place)
    if not last or last > first then break end
    award, place = award + 1, last
    local least, is_whole = asked + 0, false
    for k = 1, #limits do
      local row = limits[k]
      if row[1] == award then
        least = math.min(least, math.max(0, row[4] - list[row[6] + 2]))
        is_whole = is_whole or row[5] == 1
      end
    end
    if least < asked + 0 then
      if is_whole then least = 0 end
      trimmed[award] = text(least)
    end
    for k = 1, #limits do
      if limits[k][1] == award and least > 0 then add(list, changed, was, limits[k][6], least) end
    end
    given = (given and given .. ',' or '') .. (trimmed[award] or asked)
  end
  for k = 1, #counts do add(list, changed, was, counts[k][4], counts[k][3]) end
  local extra, save = finish(m, list, stood, changed, was)
  if next(trimmed) then extra = extra .. ',"given":[' .. given .. ']' end
  return trimmed, extra, save
end
