-- What members' counters stand at: points of a rule in a month, purchases, spending, "this order has had it".
-- Safe while older code runs: it does not count, its writers leave records that do (format 2) to this version's. Only a month
-- must not be archived by an older `npm run partitions` once something was counted.

-- Written by the ledger writer alone, from journal records. No index looks at the value, so that changes stay on their page.
create table counter (
  member bigint not null,
  period bigint not null,
  value bigint not null,
  counter integer not null,
  primary key (member, counter, period)
) with (fillfactor = 70);

-- Sums over the operations of archived months, as `carried` has them of entries.
create table carried_counter (
  member bigint not null,
  counter integer not null,
  period bigint not null,
  value numeric(38, 0) not null,
  primary key (member, counter, period)
);

insert into compatible_migration (migration) values ('20261122140000_counters');
