-- Installs what the books say about a member or an operation, only where Redis has nothing of this epoch.
-- ARGV    key suffix ('m:7' or 'o:<operation>'), the snapshot's epoch, its sequence, the state as a JSON array
-- answers installed | present | fenced | outdated (the snapshot is older than an eviction: take a new one)
-- Why `outdated` suffices: a record written after the snapshot belongs to a member that was hot then; if that member is
-- absent now it was evicted with its last sequence above the snapshot's, and evictedThrough covers it.
if fenced() then return 'fenced' end
local key = PREFIX .. ARGV[1]
local packed = redis.call('GET', key)
if packed and (cmsgpack.unpack(packed)) >= COLD_BELOW then return 'present' end
local evicted = redis.call('GET', PREFIX .. 'evictedThrough')
if tonumber(ARGV[2]) ~= EPOCH then return 'outdated' end
if evicted then
  local epoch, seq = string.match(evicted, '^(%d+)-(%d+)$')
  if tonumber(epoch) == EPOCH and tonumber(ARGV[3]) < tonumber(seq) then return 'outdated' end
end
local state = cjson.decode(ARGV[4])
state[1] = EPOCH
-- A member's counters are a list here, and a text as they are stored.
if state[11] then state[11] = state[11][1] and cmsgpack.pack(unpack(state[11])) or '' end
redis.call('SET', key, cmsgpack.pack(unpack(state)))
return 'installed'
