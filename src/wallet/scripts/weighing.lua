-- Sixth part of every script that counts while it awards points: how awards are trimmed to what caps leave.

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
local function given_text(json, first, trimmed)
  local given = {}
  for asked in string.gmatch(string.sub(json, 1, first), ',(%d+),%d+,%d+,%d+%]') do
    given[#given + 1] = trimmed[#given + 1] or asked
  end
  return ',"given":[' .. table.concat(given, ',') .. ']'
end

-- Ends the call where a list was not read to its end.
-- Rare.
local function check_end(json, place)
  if not string.find(json, '^%[?%]', place) then error('no numbers: ' .. json) end
end

-- Trims the awards of an accrual and counts. `first` is where, behind the awards, the rest of the input begins:
--   "limits":[[award (from 1, in order), counter, period, pointsMax, is all or nothing 0 | 1], …], "assumptions":[[counter,
--   period, from, to], …], "counts":[[counter, period, by], …], "known":[…]; each may be left out, no blanks
-- It is read by patterns, as awards are: the tables that cjson makes of it cost more than everything else here.
-- Returns the points, as text, of those awards that are given fewer, by their number; extra; save. Or nil, code, details.
-- Rare.
local function weigh(m, json, first)
  local find, list, changes, trimmed = string.find, counters_of(m), { 1, 0, 0, 0, 0, 0, 0 }, {}
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
    local award, reached, asked, least, is_whole, count, rows = 0, 1, nil, 0, false, 0, { 0, 0, 0, 0 }
    local number, counter, period, most, whole
    repeat
      place = (last or place) + 1
      _, last, number, counter, period, most, whole = find(json, '^[%[,]%[(%d+),(%d+),(%d+),(%d+),([01])%]', place)
      if not last or number + 0 ~= award then
        if count > 0 then
          if least < asked + 0 then
            if is_whole then least = 0 end
            trimmed[award] = text(least)
          end
          for k = 1, least > 0 and count or 0 do add(list, changes, rows[k], least) end
        end
        while last and award < number + 0 do
          _, reached, asked = find(json, ',(%d+),%d+,%d+,%d+%]', reached)
          if not reached or reached > first then error('no such award: ' .. json) end
          award = award + 1
        end
        if last and award ~= number + 0 then error('not in order: ' .. json) end
        least, is_whole, count = (asked or 0) + 0, false, 0
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
  return trimmed, next(trimmed) and extra .. given_text(json, first, trimmed) or extra, save
end
