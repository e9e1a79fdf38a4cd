-- What recovery needs to name: the installation that a Redis belongs to, the Redis process that an epoch was opened on,
-- operations decided on stale balances, shards that wait for a person, and what a restore left unexplained.
-- Every change is one that the version before ignores, so it may run beside this one.

-- A new database beside an old Redis is another installation: its journals are refused, not booked.
alter table installation add column id uuid not null default gen_random_uuid();

-- run_id and master_replid of the Redis that the epoch was opened on; another one is a fence although its scripts are there.
alter table epoch add column redis_identity text;

-- Operations that a Redis older than the books acknowledged. They stand in the books under the number that recovery gave
-- them; the one under which they were answered is kept here.
create table decided_stale (
  operation uuid primary key,
  shard smallint not null,
  member bigint not null,
  answered_epoch integer not null,
  answered_seq bigint not null,
  -- [[currency, points], …] that the books could not take from lots and booked as debt.
  shortfall json not null,
  found_at timestamptz not null default now()
);
create index decided_stale_member on decided_stale (member);

-- Shards that wait for a person. No row: nothing to say.
create table shard_state (
  shard smallint primary key,
  state text not null check (state in ('ledger_behind', 'stopped')),
  reason text not null,
  since timestamptz not null default now(),
  -- Set by `npm run recover -- --accept-restore`; the writer that holds the shard then rebuilds it.
  accepted_at timestamptz
);

-- What a rebuild after a restore of PostgreSQL did and could not explain.
create table restoration (
  shard smallint not null,
  epoch integer not null,
  at timestamptz not null default now(),
  report json not null,
  primary key (shard, epoch)
);
