-- Sixth part of every script that counts while it awards points: how awards are trimmed to what caps leave.

-- An award is read as texts: for the legs they are wanted as text, and reading them by pattern costs a third of what cjson
-- does.
local AWARD = '^[%[,]%[(%d+),(%d+),(%d+),(%d+),(%d+)%]'

-- The awards of an input: {currency, points, expiresAt, availableAt, party} of the first, then of the next, and where in the
-- input they end. One that could not be read ends the call before anything of it is written.
local function awards_in(json)
  local awards, size, place = {}, 0, #'{"awards":['
  local _, last, currency, points, expires, available, party = string.find(json, AWARD, place)
  while last do
    awards[size + 1], awards[size + 2], awards[size + 3], awards[size + 4], awards[size + 5] = currency, points, expires, available, party
    size, place = size + 5, last + 1
    _, last, currency, points, expires, available, party = string.find(json, AWARD, place)
  end
  if not string.find(json, '^%[?%]', place) then error('no awards: ' .. json) end
  return awards, place
end

-- What `weigh` says where a place must be read first, and where an assumption does not hold.
-- Rare.
local function unweighed(m, json, first, is_stale)
  local input, rows = cjson.decode('{' .. string.sub(json, first)), {}
  local assumptions, list = input.assumptions or {}, counters_of(m)
  if not is_stale then
    return cold(list, input.known, assumptions, 1, input.limits or {}, 2, input.counts or {}, 1)
  end
  for k, row in ipairs(assumptions) do
    local i = place_of(list, input.known, row[1], row[2])
    if i == 0 then return cold(list, input.known, assumptions, 1) end
    rows[k] = format('[%d,%d,%d]', row[1], row[2], list[i + 2])
  end
  return nil, 'stale_counters', '{"counters":[' .. table.concat(rows, ',') .. ']}'
end

-- What was given of each award, where some were trimmed.
-- Rare.
local function given_text(awards)
  local given = {}
  for i = 2, #awards, 5 do given[#given + 1] = awards[i] end
  return ',"given":[' .. table.concat(given, ',') .. ']'
end

-- Ends the call where a list was not read to its end.
-- Rare.
local function check_end(json, place)
  if not string.find(json, '^%[?%]', place) then error('no numbers: ' .. json) end
end

-- Trims the points of awards where they stand, and counts. `first` is where, behind the awards, the rest of the input begins:
--   "limits":[[award (from 1, in order), counter, period, pointsMax, is all or nothing 0 | 1], …], "assumptions":[[counter,
--   period, from, to], …], "counts":[[counter, period, by], …], "known":[…]; each may be left out, no blanks
-- It is read by patterns, as awards are: the tables that cjson makes of it cost more than everything else here.
-- Returns extra, save. Or nil, code, details.
-- Rare.
local function weigh(m, json, first, awards)
  local find, list, changes, is_trimmed = string.find, counters_of(m), { 1, 0, 0, 0, 0, 0, 0 }, false
  local stood, known, _, last = #list, nil, nil, nil
  local _, place = find(json, '"known":', first, true)
  if place then known = cjson.decode(string.sub(json, place + 1, -2)) end
  _, place = find(json, '"assumptions":', first, true)
  if place then
    local counter, period, from, to
    repeat
      place = (last or place) + 1
      _, last, counter, period, from, to = find(json, '^[%[,]%[(%d+),(%d+),(%d+),(%d+)%]', place)
      if last then
        local i = place_of(list, known, counter + 0, period + 0)
        if i == 0 then return unweighed(m, json, first, false) end
        if list[i + 2] < from + 0 or list[i + 2] > to + 0 then return unweighed(m, json, first, true) end
      end
    until not last
    check_end(json, place)
  end
  _, place = find(json, '"limits":', first, true)
  if place then
    local award, asked, least, is_whole, count, rows = '0', 0, 0, false, 0, { 0, 0, 0, 0 }
    local number, counter, period, most, whole
    repeat
      place = (last or place) + 1
      _, last, number, counter, period, most, whole = find(json, '^[%[,]%[(%d+),(%d+),(%d+),(%d+),([01])%]', place)
      if not last or number ~= award then
        if count > 0 then
          if least < asked then
            if is_whole then least = 0 end
            awards[5 * award - 3], is_trimmed = text(least), true
          end
          for k = 1, least > 0 and count or 0 do add(list, changes, rows[k], least) end
        end
        if last then
          if number + 0 < award + 0 or not awards[5 * number] then error('no such award, or not in order: ' .. json) end
          award, asked = number, awards[5 * number - 3] + 0
          least, is_whole, count = asked, false, 0
        end
      end
      if last then
        local i = place_of(list, known, counter + 0, period + 0)
        if i == 0 then return unweighed(m, json, first, false) end
        local room = most - list[i + 2]
        if room < least then least = room > 0 and room or 0 end
        is_whole = is_whole or whole == '1'
        count = count + 1
        rows[count] = i
      end
    until not last
    check_end(json, place)
  end
  _, place = find(json, '"counts":', first, true)
  if place then
    local counter, period, by
    repeat
      place = (last or place) + 1
      _, last, counter, period, by = find(json, '^[%[,]%[(%d+),(%d+),(%-?%d+)%]', place)
      if last then
        local i = place_of(list, known, counter + 0, period + 0)
        if i == 0 then return unweighed(m, json, first, false) end
        add(list, changes, i, by + 0)
      end
    until not last
    check_end(json, place)
  end
  local extra, save = finish(m, list, stood, changes)
  return is_trimmed and extra .. given_text(awards) or extra, save
end
