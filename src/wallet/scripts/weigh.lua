-- Says what an accrual would be given under its member's counters, and writes nothing.
-- input   as that of accrue
-- answers {'weighed', given}: the points of each award as a JSON array, or nothing where none is trimmed; what accrue refuses
--         for the counters, it refuses; 'cold' and 'cold_counter' as accrue
local function apply(base)
  local m = load_member(ARGV[base + MEMBER])
  if not m then return { 'cold' } end
  local json = ARGV[base + INPUT]
  local awards, place = awards_in(json)
  local rest = string.find(json, '"', place, true)
  if not rest then return { 'weighed', '' } end
  local extra, code, details = weigh(m, json, rest, awards)
  if extra then return { 'weighed', string.match(extra, '"given":(%b[])') or '' } end
  if code == 'cold_counter' then return { code, details } end
  return { 'refused', code, details }
end

return run(nil, apply)
