-- A part of every script that undoes: points that have ended unused, of lots that are gone. Nothing in Redis remembers them, so
-- the caller reads them in the books (`ended-lots.ts`):
-- past = [epoch, sequence, member, original member, [[currency, lot, [[place, points at most], …]], …],
--         [[currency, member, lot, points], …]]
-- The first list names, for each lot that the original gave to its member, the lots in which its points may have ended, by their
-- places in the second list from 0, and how many of theirs may be its. The second has the points that ended in each and that no
-- record has taken back.

-- Whether the caller has read all records of the member; read = [epoch, sequence, …] or nothing.
local function is_read(m, read)
  if not read or read[1] ~= EPOCH or (m[EPOCH_AT] == EPOCH and m[SEQ] > read[2]) then return false end
  -- Of a member that was loaded anew nothing says which its last record was, but that no later one was evicted.
  local epoch, seq = string.match(redis.call('GET', PREFIX .. 'evictedThrough') or '0-0', '^(%d+)-(%d+)$')
  return not (tonumber(epoch) == EPOCH and tonumber(seq) > read[2])
end

-- What the caller has read, where it read all records of the member, and what expired in this very moment. `asked` becomes what
-- must be read, `taken` what the record says: [currency, points, member, lot, member of the original, its lot].
local function past_of(m, read, expired)
  local past = { asked = {}, taken = {} }
  if not is_read(m, read) then return past end
  past.of, past.rows, past.lots = read[4], read[5], read[6]
  for _, row in ipairs(expired or {}) do
    for _, lot in ipairs(past.lots) do
      if lot[1] == row[1] and lot[2] == read[3] and lot[3] == row[2] then lot[4] = lot[4] + row[3] end
    end
  end
  return past
end

-- How many points of a part have ended and were not taken back yet. Each counts once.
local function take_ended(past, operation, part, points)
  for _, row in ipairs(past.rows or {}) do
    if row[1] == part[1] and row[2] == part[2] then
      local rest = points
      for _, ended in ipairs(row[3]) do
        local lot = past.lots[ended[1] + 1]
        local share = math.min(rest, ended[2], lot[4])
        if share > 0 then
          ended[2], lot[4], rest = ended[2] - share, lot[4] - share, rest - share
          past.taken[#past.taken + 1] = format('[%d,%d,%d,%d,%d,%d]', part[1], share, lot[2], lot[3], past.of, part[2])
        end
      end
      return points - rest
    end
  end
  past.asked[#past.asked + 1] = format('["%s",%d,%d]', operation, part[1], part[2])
  return 0
end
