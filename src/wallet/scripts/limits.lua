-- Seventh part of every script that gives points: what limits an award beyond its member's wallet. Limits come first, then
-- budgets.
--
-- A budget is what many awards together may come to, in the whole program. PostgreSQL grants parts of it to shards: a lease
-- is a number of points that one shard may give in one epoch. Leases are numbered from 1 for each budget, shard and epoch. Redis
-- has them under PREFIX b:<program>.<budget> as msgpack values: the epoch, the highest lease that was ever put in, then
-- lease and rest of each that has one. Of another epoch they count as nothing: recovery closes in the books what was open
-- (`ledger/budget-rows.ts`), so nobody can give from it twice.
--
-- Invariant: a lease is put in once (`lease.lua`), and its rest is what was granted less what records of its epoch took.
local function leases_of(name)
  local packed = redis.call('GET', PREFIX .. 'b:' .. name)
  local list = packed and { cmsgpack.unpack(packed) }
  return list and list[1] == EPOCH and list or { EPOCH, 0 }
end

-- Puts what leases are left with under their key; what is used up goes.
local function keep_leases(name, list)
  local kept = { EPOCH, list[2] }
  for i = 3, #list, 2 do
    if list[i + 1] > 0 then kept[#kept + 1], kept[#kept + 2] = list[i], list[i + 1] end
  end
  redis.call('SET', PREFIX .. 'b:' .. name, cmsgpack.pack(unpack(kept)))
end

-- The budgets of one operation: `rows` are those of its input, `full` the budgets that have no more to grant.
local function purse_of(rows, program, full)
  local purse = { of = {}, order = {}, cuts = {}, program = program, is_short = false }
  for _, row in ipairs(rows) do purse.of[row[1]] = row end
  for _, budget in ipairs(full) do purse[budget] = { is_full = true } end
  return purse
end

-- What the budget of an award leaves of its points, taken out of the leases. Where they do not suffice and the budget may
-- have more to grant, that is noted; the call then ends with nothing applied.
local function drawn(purse, award, points)
  local row = purse.of[award]
  if not row or points == 0 then return points end
  local budget, may_trim = row[2], row[3] == 1
  local b = purse[budget] or {}
  if not b.list then
    purse[budget], purse.order[#purse.order + 1] = b, budget
    b.list, b.used, b.wanted, b.least, b.rest = leases_of(purse.program .. '.' .. budget), {}, 0, math.huge, 0
    for i = 3, #b.list, 2 do b.rest = b.rest + b.list[i + 1] end
    b.had = b.rest
  end
  b.wanted, b.least = b.wanted + points, math.min(b.least, may_trim and 1 or points)
  local given = b.rest >= points and points or may_trim and b.rest or 0
  if given < points then
    if not b.is_full then b.is_short, purse.is_short = true, true end
    purse.cuts[#purse.cuts + 1] = format('[%d,%d]', award, points - given)
  end
  b.rest = b.rest - given
  local left = given
  for i = 3, #b.list, 2 do
    local part = math.min(left, b.list[i + 1])
    if part > 0 then
      b.list[i + 1], left = b.list[i + 1] - part, left - part
      b.used[#b.used + 1] = format('[%d,%d,%d]', budget, b.list[i], part)
    end
  end
  return given
end

-- What must be granted: [[budget, points, at the least, highest lease], …].
local function shortage(purse)
  local rows = {}
  for _, budget in ipairs(purse.order) do
    local b = purse[budget]
    if b.is_short then
      rows[#rows + 1] = format('[%d,%d,%d,%d]', budget, b.wanted - b.had, math.max(1, b.least - b.had), b.list[2])
    end
  end
  return nil, 'lease_short', '[' .. table.concat(rows, ',') .. ']'
end

-- What the record says of budgets, and what writes the leases back; nothing where none was touched.
local function spent(purse)
  local rows, extra = {}, ''
  for _, budget in ipairs(purse.order) do
    for _, used in ipairs(purse[budget].used) do rows[#rows + 1] = used end
  end
  if rows[1] then extra = ',"budgets":[' .. table.concat(rows, ',') .. ']' end
  if purse.cuts[1] then extra = extra .. ',"full":[' .. table.concat(purse.cuts, ',') .. ']' end
  return extra, rows[1] and function()
    for _, budget in ipairs(purse.order) do
      if purse[budget].used[1] then keep_leases(purse.program .. '.' .. budget, purse[budget].list) end
    end
  end
end

-- As `weigh`, where awards have budgets: a budget is drawn after the caps have trimmed and before they count, so all is read at
-- once, and by cjson, which costs more and is paid for by budgeted awards only. `first` is where, behind the awards, the rest of the input begins:
--   "limits":[[award (from 1), counter, period, pointsMax, is all or nothing 0 | 1], …], "assumptions":[[counter, period, from,
--   to], …], "counts":[[counter, period, by], …], "known":…, "budgets":[[award, budget, may be trimmed 0 | 1], …], "program":n,
--   "full":[budget, …]; each may be left out
-- Returns extra, save. Or nil, code, details.
-- Rare.
local function weigh_budgets(m, json, first, awards)
  local input = cjson.decode('{' .. string.sub(json, first))
  local known, list, changes, is_trimmed, none = input.known, counters_of(m), { 1, 0, 0, 0, 0, 0, 0 }, false, {}
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
  local purse = input.budgets and purse_of(input.budgets, input.program, input.full or none)
  for award = 1, #awards / 5 do
    local asked = awards[5 * award - 3] + 0
    local least, is_whole = asked, false
    for k = 1, #limits do
      local row = limits[k]
      if row[1] == award then
        least = math.min(least, math.max(0, row[4] - list[row[6] + 2]))
        is_whole = is_whole or row[5] == 1
      end
    end
    if is_whole and least < asked then least = 0 end
    if purse then least = drawn(purse, award, least) end
    if least < asked then awards[5 * award - 3], is_trimmed = text(least), true end
    for k = 1, #limits do
      if limits[k][1] == award and least > 0 then add(list, changes, limits[k][6], least) end
    end
  end
  if purse and purse.is_short then return shortage(purse) end
  for k = 1, #counts do add(list, changes, counts[k][4], counts[k][3]) end
  local extra, save = finish(m, list, stood, changes)
  if is_trimmed then extra = extra .. given_text(awards) end
  if not purse then return extra, save end
  local of_budgets, write = spent(purse)
  return extra .. of_budgets, function(seq)
    if save then save(seq) end
    if write then write() end
  end
end
