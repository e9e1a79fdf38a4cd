-- What the entries of a month come to, kept as they come: drafts, statements and alerts read some rows where they added up the whole month.
-- A trigger keeps it, for whoever writes entries. `npm run settlement -- check` compares it with the entries.
-- Safe while older code runs: its entries are added too. (Clearing waits while the sums of before are made, a second for a million entries.)

-- One row for each shard, because shards are cleared beside one another.
create table clearing_sum (
  partner integer not null references partner,
  period date not null,
  shard smallint not null,
  kind text not null,
  price text not null,
  contract integer,
  currency smallint not null,
  rule text,
  share smallint not null,
  of_period date not null,
  entries bigint not null,
  points bigint not null,
  prepaid bigint not null,
  unique nulls not distinct (partner, period, shard, kind, price, contract, currency, rule, share, of_period)
) with (fillfactor = 70);

lock table clearing_entry in share row exclusive mode;
insert into clearing_sum (partner, period, shard, kind, price, contract, currency, rule, share, of_period, entries, points, prepaid)
select partner, period, shard, kind, price, contract, currency, rule, share, of_period, count(*), sum(points), sum(prepaid)
from clearing_entry group by partner, period, shard, kind, price, contract, currency, rule, share, of_period;

create function add_to_clearing_sums() returns trigger language plpgsql as $$
begin
  insert into clearing_sum as s (partner, period, shard, kind, price, contract, currency, rule, share, of_period, entries, points, prepaid)
  select partner, period, shard, kind, price, contract, currency, rule, share, of_period, count(*), sum(points), sum(prepaid)
  from added group by partner, period, shard, kind, price, contract, currency, rule, share, of_period
  on conflict (partner, period, shard, kind, price, contract, currency, rule, share, of_period) do update
    set entries = s.entries + excluded.entries, points = s.points + excluded.points, prepaid = s.prepaid + excluded.prepaid;
  return null;
end $$;
create trigger sums_kept after insert on clearing_entry referencing new table as added
  for each statement execute function add_to_clearing_sums();

insert into compatible_migration (migration) values ('20261125122000_clearing_sums');
