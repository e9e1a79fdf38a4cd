-- Fourth part of every script that counts: a member's counters, such as the points of a rule in a month, or the number of
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
local CALENDAR_MAX, ORDERS_MAX, ROWS_MAX = 3, 16, 128

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

-- What one operation counts: the rows, those that it changes with by how much, and the places that must be read first.
local function tally(m, known)
  local list = counters_of(m)
  return { list = list, stood = #list, known = known, changed = {}, by = {}, missing = {} }
end

-- What the caller has read of a place, in books that have its last change.
local function read_before(known, counter, period, dropped)
  if not known or known[1] ~= EPOCH or known[2] < dropped then return nil end
  for _, row in ipairs(known[3]) do
    if row[1] == counter and row[2] == period then return row[3] end
  end
end

-- Where a place's row begins; it is opened where it is new or was read. Nil where it must be read first.
local function place_of(t, counter, period)
  local list, dropped = t.list, nil
  for i = 2, #list, 4 do
    local of, through = list[i], list[i + 1]
    if of == counter and through == period then return i end
    if of == 0 or (of == -counter and period <= through and (period < ORDERS) == (through < ORDERS)) then
      dropped = math.max(dropped or 0, list[i + 3])
    end
  end
  local value = 0
  if dropped then
    value = read_before(t.known, counter, period, dropped)
    if not value then
      t.missing[#t.missing + 1] = '[' .. text(counter) .. ',' .. text(period) .. ']'
      return nil
    end
  end
  local i = #list + 1
  list[i], list[i + 1], list[i + 2], list[i + 3] = counter, period, value, 0
  return i
end

local function change(t, i, by)
  t.list[i + 2] = t.list[i + 2] + by
  if not t.by[i] then t.changed[#t.changed + 1] = i end
  t.by[i] = (t.by[i] or 0) + by
end

-- Notes that rows of `of` may be missing through a period.
local function note_dropped(list, of, through, seq)
  for i = 2, #list, 4 do
    if list[i] == of and (list[i + 1] < ORDERS) == (through < ORDERS) then
      list[i + 1], list[i + 3] = math.max(list[i + 1], through), math.max(list[i + 3], seq)
      return
    end
  end
  local i = #list + 1
  list[i], list[i + 1], list[i + 2], list[i + 3] = of, through, 0, seq
end

local function drop(list, i, of, through)
  local seq = list[i + 3]
  for _ = 1, 4 do table.remove(list, i) end
  note_dropped(list, of, through, seq)
end

-- Drops one row of a counter where it has too many of a kind: the oldest period, or the order that changed longest ago. What
-- record `seq` has changed goes last. Returns whether one was dropped.
local function drop_oldest(list, counter, is_order, seq)
  local count, oldest, age = 0, nil, math.huge
  for i = 2, #list, 4 do
    if list[i] == counter and (list[i + 1] >= ORDERS) == is_order then
      local rank = (is_order and list[i + 3] or list[i + 1]) + (list[i + 3] == seq and EVERYTHING or 0)
      count = count + 1
      if rank < age then oldest, age = i, rank end
    end
  end
  if count <= (is_order and ORDERS_MAX or CALENDAR_MAX) then return false end
  drop(list, oldest, -counter, is_order and EVERYTHING or list[oldest + 1])
  return true
end

-- Drops the row that changed longest ago, whatever it is, where a member has too many.
local function drop_any(list)
  if #list <= 1 + 4 * ROWS_MAX then return false end
  local oldest
  for i = 2, #list, 4 do
    if list[i] ~= 0 and (not oldest or list[i + 3] < list[oldest + 3]) then oldest = i end
  end
  drop(list, oldest, 0, EVERYTHING)
  return true
end

-- Puts the counters into the member, as record `seq` leaves them. Rows that were only asked for are not kept.
local function keep(m, t, seq)
  local list, kept = t.list, { EPOCH }
  for i = 2, #list, 4 do
    local has_changed = t.by[i] and t.by[i] ~= 0
    if has_changed then list[i + 3] = seq end
    if has_changed or i <= t.stood then
      for j = i, i + 3 do kept[#kept + 1] = list[j] end
    end
  end
  for _, i in ipairs(t.changed) do
    local is_order = list[i + 1] >= ORDERS
    repeat until not drop_oldest(kept, list[i], is_order, seq)
  end
  repeat until not drop_any(kept)
  m[COUNTERS] = #kept > 1 and cmsgpack.pack(unpack(kept)) or ''
end

-- What the record says of the counters, and what puts them into the member once the record has its sequence.
local function outcome_of(m, t)
  local rows = {}
  for _, i in ipairs(t.changed) do
    if t.by[i] ~= 0 then
      rows[#rows + 1] = format('[%d,%d,%d,%d]', t.list[i], t.list[i + 1], t.by[i], t.list[i + 2])
    end
  end
  if #rows == 0 then return '', nil end
  return ',"counters":[' .. table.concat(rows, ',') .. ']', function(seq) keep(m, t, seq) end
end

local function cold(t)
  return nil, 'cold_counter', '[' .. table.concat(t.missing, ',') .. ']'
end

-- Adds to places: rows are {counter, period, by}. No counter goes below zero by it, unless its member is being merged: that
-- one's counters follow its points, also those that were given back meanwhile. Returns extra, save or nil, code, details.
-- Rare.
local function add_up(m, rows, known)
  local t, places = tally(m, known), {}
  for k, row in ipairs(rows) do places[k] = place_of(t, row[1], row[2]) or 0 end
  if t.missing[1] then return cold(t) end
  local is_leaving = m[STATUS] == 'merging' or m[STATUS] == 'merged'
  for k, row in ipairs(rows) do
    local i = places[k]
    change(t, i, is_leaving and row[3] or math.max(row[3], -math.max(0, t.list[i + 2])))
  end
  return outcome_of(m, t)
end

-- Takes everything out of all counters that are kept, and out of those that are named: {counter, period}. Returns as add_up.
-- Rare.
local function take_out(m, places, known)
  local t = tally(m, known)
  for _, place in ipairs(places) do place_of(t, place[1], place[2]) end
  if t.missing[1] then return cold(t) end
  for i = 2, #t.list, 4 do
    if t.list[i] > 0 and t.list[i + 2] ~= 0 then change(t, i, -t.list[i + 2]) end
  end
  return outcome_of(m, t)
end

-- What is left of an award under its limits, which are rows of the input; `places` are those of the rows.
local function within(t, points, rows, places)
  local least, is_whole = points, false
  for k, row in ipairs(rows) do
    least = math.min(least, math.max(0, row[4] - t.list[places[k] + 2]))
    is_whole = is_whole or row[5] == 1
  end
  return (is_whole and least < points) and 0 or least
end

-- Trims the awards of an accrual and counts. `first` is where, behind the awards, the rest of the input begins:
--   "limits":[[award (from 1), counter, period, pointsMax, is all or nothing 0 | 1], …], "assumptions":[[counter, period, from,
--   to], …], "counts":[[counter, period, by], …], "known":…; each may be left out
-- Returns the points, as text, of those awards that are given fewer, by their number; extra; save. Or nil, code, details.
-- Rare.
local function weigh(m, json, first)
  local input = cjson.decode('{' .. string.sub(json, first))
  local t, assumptions, counts = tally(m, input.known), input.assumptions or {}, input.counts or {}
  local assumed, counted, rows, places = {}, {}, {}, {}
  for k, row in ipairs(assumptions) do assumed[k] = place_of(t, row[1], row[2]) or 0 end
  for k, row in ipairs(counts) do counted[k] = place_of(t, row[1], row[2]) or 0 end
  for _, row in ipairs(input.limits or {}) do
    local award = row[1]
    if not rows[award] then rows[award], places[award] = {}, {} end
    table.insert(rows[award], row)
    table.insert(places[award], place_of(t, row[2], row[3]) or 0)
  end
  if t.missing[1] then return cold(t) end
  local stands, is_stale = {}, false
  for k, row in ipairs(assumptions) do
    local value = t.list[assumed[k] + 2]
    stands[k] = format('[%d,%d,%d]', row[1], row[2], value)
    is_stale = is_stale or value < row[3] or value > row[4]
  end
  if is_stale then return nil, 'stale_counters', '{"counters":[' .. table.concat(stands, ',') .. ']}' end
  local given, trimmed, award = {}, {}, 0
  for asked in string.gmatch(string.sub(json, 1, first), ',(%d+),%d+,%d+,%d+%]') do
    award = award + 1
    given[award] = asked
    if rows[award] then
      local points = within(t, asked + 0, rows[award], places[award])
      for _, i in ipairs(places[award]) do change(t, i, points) end
      if points < asked + 0 then
        given[award] = text(points)
        trimmed[award] = given[award]
      end
    end
  end
  for k, row in ipairs(counts) do change(t, counted[k], row[3]) end
  local extra, save = outcome_of(m, t)
  if next(trimmed) then extra = extra .. ',"given":[' .. table.concat(given, ',') .. ']' end
  return trimmed, extra, save
end
