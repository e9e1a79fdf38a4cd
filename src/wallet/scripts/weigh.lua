-- Says what an accrual would be given under its member's counters, and writes nothing.
-- input   as that of accrue
-- answers {'weighed', given}: the points of each award as a JSON array, or nothing where none is trimmed; what accrue refuses
--         for the counters, it refuses; 'cold' and 'cold_counter' as accrue
local function apply(base)
  local m = load_member(ARGV[base + MEMBER])
  if not m then return { 'cold' } end
  local json = ARGV[base + INPUT]
  local rest = string.find(json, '"', #'{"awards":[', true)
  if not rest then return { 'weighed', '' } end
  local trimmed, extra, details = weigh(m, json, rest)
  if trimmed then return { 'weighed', string.match(extra, '"given":(%b[])') or '' } end
  if extra == 'cold_counter' then return { extra, details } end
  return { 'refused', extra, details }
end

return run(nil, apply)
