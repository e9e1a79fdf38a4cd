-- Puts a lease of a budget into the shard that it was granted to, once.
-- ARGV    the budget ('<program>.<budget>'), the lease's epoch, its number, its points
-- answers installed | known (it was put in before, by whoever else was short) | fenced | outdated (it is of another epoch)
-- A lease that was granted and never put in is found by the next who is short: while there is one, no other is granted.
if fenced() then return 'fenced' end
if tonumber(ARGV[2]) ~= EPOCH then return 'outdated' end
local list, lease = leases_of(ARGV[1]), tonumber(ARGV[3])
if lease <= list[2] then return 'known' end
list[2] = lease
list[#list + 1], list[#list + 2] = lease, tonumber(ARGV[4])
keep_leases(ARGV[1], list)
return 'installed'
