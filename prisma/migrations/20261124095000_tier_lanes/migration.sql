-- What a receipt brings is announced beside the changes of a night, however many of those wait.
-- Safe while older code runs: it announces both in one order.
create index tier_change_brought on tier_change (recorded_at, change) where is_move and facts is null and run is null;

insert into compatible_migration (migration) values ('20261124095000_tier_lanes');
