-- Who ended a place in a pool, and an index that nobody asks.
-- Safe while older code runs: it writes no such column, and asks member by member who is in a segment.

-- The key that asked for it; null where a place followed its member, or was ended before this was kept.
alter table pool_place add column left_by text;

-- Promotions that give and exports go over members, and look for each of them in the primary key.
drop index member_segment_members;

insert into compatible_migration (migration) values ('20261124030000_places');
