-- Takes the rests of a budget's leases out of a shard, for others who are short.
-- ARGV    the budget ('<program>.<budget>'), the epoch, the highest lease of the shard in the books
-- answers {'recalled', highest lease, the journal's last sequence} | {'fenced'} | {'outdated'}
-- From then on no record takes anything from a lease up to the highest: once the books have the sequence, what their leases
-- consumed is final and they can be closed. One that was granted and not put in yet never will be.
if fenced() then return { 'fenced' } end
if tonumber(ARGV[2]) ~= EPOCH then return { 'outdated' } end
local list = leases_of(ARGV[1])
local highest = math.max(list[2], tonumber(ARGV[3]))
keep_leases(ARGV[1], { EPOCH, highest })
local last = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)[1][1]
return { 'recalled', highest, tonumber(string.match(last, '-(%d+)$')) }
