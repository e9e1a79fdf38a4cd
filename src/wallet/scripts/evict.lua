-- Removes members and operations from Redis whose last record is in the books.
-- ARGV    written sequence of this epoch, then key suffixes ('m:7', 'o:<operation>')
-- answers the number removed, or fenced
if fenced() then return 'fenced' end
local written, removed, through = tonumber(ARGV[1]), 0, 0
for i = 2, #ARGV do
  local packed = redis.call('GET', PREFIX .. ARGV[i])
  if packed then
    local epoch, last = cmsgpack.unpack(packed)
    local seq = epoch == EPOCH and last or 0
    if seq <= written then
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
