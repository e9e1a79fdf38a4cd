-- Reads members and operations as they are stored, for the audit. Run by EVAL_RO: it can write nothing and, unlike every
-- other script, belongs to no epoch; whoever reads compares the epoch in the state with the shard's `cold_below`.
-- KEYS    keys of one shard: members ('m:7') and operations ('o:<operation>')
-- answers for each key nothing (not there), 'unreadable' or the state as a JSON array, without remembered refusals:
--         member     [epoch, seq, at, status, facts, frozen, merged, wallets, holds, counters?] as in member.lua, with the
--                    counters as a list (counters.lua); none where a version that does not count has loaded the member
--         operation  [epoch, seq, version, note, parts] as in undo.lua
local STORED_MAX, COUNTERS = 9, 11

local function json(value)
  if type(value) == 'string' then return cjson.encode(value) end
  if type(value) == 'number' then return string.format(value == math.floor(value) and '%.0f' or '%.17g', value) end
  local items = {}
  for i = 1, #value do items[i] = json(value[i]) end
  return '[' .. table.concat(items, ',') .. ']'
end

local function inspect(packed)
  local state, first = { cmsgpack.unpack(packed) }, {}
  for i = 1, math.min(#state, STORED_MAX) do first[i] = state[i] end
  local counters = state[COUNTERS]
  if counters then first[#first + 1] = counters == '' and {} or { cmsgpack.unpack(counters) } end
  return json(first)
end

local results = {}
for i, key in ipairs(KEYS) do
  local packed = redis.call('GET', key)
  if packed then
    local read, text = pcall(inspect, packed)
    results[i] = read and text or 'unreadable'
  else
    results[i] = false
  end
end
return results
