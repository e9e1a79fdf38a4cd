-- Months that were taken out of the ledger (`npm run partitions`), and what the books need to go on without them.
-- Safe while older code runs that knows the partitions: as long as no month is archived, nothing here says anything.

create schema archive;

-- Only the oldest month can be archived and only the newest archived one comes back, so that everything below the largest
-- `end_id` is archived and nothing else.
create table archived_month (
  -- As in the names of its tables: `2026_11`; `until_2026_12` is what stood in `*_past`.
  month text primary key,
  -- Null: from the beginning.
  first_id uuid,
  end_id uuid not null unique,
  operations bigint not null,
  entries bigint not null,
  archived_at timestamptz not null default now()
);

-- Everything below it is archived.
create function archived_below() returns uuid language sql stable parallel safe as
$$ select coalesce((select end_id from archived_month order by end_id desc limit 1), '00000000-0000-0000-0000-000000000000') $$;

-- Which numbers of the journals are archived, so that the audit can tell them from missing ones.
create table archived_numbers (
  month text not null references archived_month on delete cascade,
  shard smallint not null,
  epoch integer not null,
  first_seq bigint not null,
  last_seq bigint not null,
  primary key (shard, epoch, first_seq)
);

-- Sums over all archived entries. What is spent again leaves no row, so this does not grow with the archive.
create table carried (
  shard smallint not null,
  program integer not null,
  currency smallint not null,
  account account not null,
  party integer,
  member bigint,
  lot integer,
  hold uuid,
  points numeric(38, 0) not null,
  unique nulls not distinct (member, shard, program, currency, account, party, lot, hold)
);

-- The last operation of everybody who has one in the archive, and the last that changed the member's status.
create table archived_member (
  member bigint primary key,
  shard smallint not null,
  epoch integer not null,
  seq bigint not null,
  at timestamptz not null,
  status_epoch integer,
  status_seq bigint,
  status json
);

insert into compatible_migration (migration) values ('20261122110000_archive');
