-- Budgets of programs: what shards were granted of them (leases), and what operations gave from them and gave back.
-- Safe while older code runs: it knows no budgets, and its writers leave records that name one (format 2) to this version's.

-- One row a budget: its lock orders the grants. Of a budget that is spread over the day, what was taken when the day began.
create table budget (
  program integer not null,
  budget integer not null,
  day integer not null default 0,
  day_taken bigint not null default 0,
  primary key (program, budget)
);

-- What operations of a shard gave from a budget, and what came back; written by the ledger writer alone, from journal records.
create table budget_shard (
  program integer not null,
  budget integer not null,
  shard smallint not null,
  consumed bigint not null default 0,
  given_back bigint not null default 0,
  primary key (program, budget, shard)
) with (fillfactor = 70);

-- What a shard may give in an epoch. An open lease holds back granted - consumed; a closed one nothing.
create table budget_lease (
  program integer not null,
  budget integer not null,
  shard smallint not null,
  epoch integer not null,
  lease integer not null,
  granted bigint not null check (granted > 0),
  consumed bigint not null default 0,
  granted_at timestamptz not null default now(),
  closed_at timestamptz,
  primary key (program, budget, shard, epoch, lease)
) with (fillfactor = 70);
create index budget_lease_open on budget_lease (program, budget, shard) where closed_at is null;

-- Sums over the operations of archived months, as `carried` has them of entries.
create table carried_budget (
  program integer not null,
  budget integer not null,
  shard smallint not null,
  consumed numeric(38, 0) not null,
  given_back numeric(38, 0) not null,
  primary key (program, budget, shard)
);

insert into compatible_migration (migration) values ('20261122170000_budgets');
