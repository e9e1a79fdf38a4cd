-- Forgets journal records that have been in the books for the time they are kept; the last written one always stays,
-- as the witness of lineage.
-- ARGV    sequence of this epoch from which records stay, the written sequence
-- answers the number removed, or fenced; also where the journal ends before what is written: then this Redis is older than
--         the books, and what would be removed are records that it has issued again
if fenced() then return 'fenced' end
local last = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)
if tonumber(string.match(last[1][1], '%-(%d+)$')) < tonumber(ARGV[2]) then return 'fenced' end
return redis.call('XTRIM', JOURNAL, 'MINID', EPOCH .. '-' .. ARGV[1])
