-- Removes members and operations from Redis whose last record is in the books.
-- ARGV    written sequence of this epoch, then key suffixes ('m:7', 'o:<operation>')
-- answers the number removed, or fenced
-- A state that cannot be read, or that names a record the journal does not have, does not say what its last record is: it
-- goes at once, and whatever is loaded afterwards must be as new as the whole journal is now.
if fenced() then return 'fenced' end
local newest = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)
local last = tonumber(string.match(newest[1][1], '-(%d+)$'))
local written, removed, through = tonumber(ARGV[1]), 0, 0

-- The sequence of a state's last record in this epoch.
local function sequence(packed)
  local read, epoch, seq = pcall(cmsgpack.unpack, packed)
  if not read or type(epoch) ~= 'number' or type(seq) ~= 'number' then return last, true end
  if epoch < EPOCH then return 0, false end
  if epoch > EPOCH or seq > last then return last, true end
  return seq, false
end

for i = 2, #ARGV do
  local packed = redis.call('GET', PREFIX .. ARGV[i])
  if packed then
    local seq, senseless = sequence(packed)
    if seq <= written or senseless then
      redis.call('DEL', PREFIX .. ARGV[i])
      removed = removed + 1
      through = math.max(through, seq)
    end
  end
end
if removed > 0 then
  local evicted = redis.call('GET', PREFIX .. 'evictedThrough')
  local epoch, seq = string.match(evicted or '0-0', '^(%d+)-(%d+)$')
  if tonumber(epoch) == EPOCH then through = math.max(through, tonumber(seq)) end
  redis.call('SET', PREFIX .. 'evictedThrough', EPOCH .. '-' .. text(through))
end
return removed
