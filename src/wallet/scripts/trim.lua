-- Forgets journal records that have been in the books for the time they are kept; the last written one always stays,
-- as the witness of lineage.
-- ARGV    sequence of this epoch from which records stay
-- answers the number removed, or fenced
if fenced() then return 'fenced' end
return redis.call('XTRIM', JOURNAL, 'MINID', EPOCH .. '-' .. ARGV[1])
