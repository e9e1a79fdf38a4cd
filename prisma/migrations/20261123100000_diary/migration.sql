-- The diary: what members did on each day of their program's calendar, read out of the books by `workers/tiers.ts`. Tiers
-- and segments are sums over it. Everything here can be made again from the books (`npm run diary -- rebuild`).
-- Safe while older code runs: it does not know these tables, and nothing older writes what they are made of in another way.

-- `day` is the number of days since 1970-01-01 of `occurredAt` in the program's zone. A row may be all zero: everything of
-- that day came back.
create table diary_day (
  member bigint not null,
  day integer not null,
  -- Orders of which something is left; a receipt without an order is one of its own.
  visits integer not null default 0,
  -- Smallest units of the program's money: what was bought or flown and has not come back.
  spend bigint not null default 0,
  flights integer not null default 0,
  distance bigint not null default 0,
  primary key (member, day)
) with (fillfactor = 80);

-- Points that accruals of the day gave, pending ones too, less what was taken back of them.
create table diary_points (
  member bigint not null,
  day integer not null,
  currency smallint not null,
  earned bigint not null,
  primary key (member, currency, day)
) with (fillfactor = 80);

-- An order is one visit, on the day of its first receipt in the books, for as long as anything of any of its receipts is
-- left. Under the number of the member who made the purchase, also after a merge.
create table diary_order (
  member bigint not null,
  -- As counters of an order have it: the first 48 bits of its name's SHA-256.
  order_key bigint not null,
  -- Null as long as only returns of it were read: a merged member's come from another shard.
  day integer,
  -- Of which something is left.
  receipts integer not null,
  primary key (member, order_key)
) with (fillfactor = 90);

-- What is left of accruals of which something came back, and of those that were in quarantine before they were booked.
create table diary_return (
  accrual uuid primary key,
  -- The least that any return left. So returns may be read in any order, and one that a stale Redis repeated takes nothing twice.
  spend_left bigint not null,
  is_gone boolean not null default false,
  -- Points by number of their currency, as returns took them.
  taken json not null default '{}'
);

-- Members whose days were moved to another one, because they were merged.
create table diary_moved (
  member bigint primary key,
  into_member bigint not null
);

-- How far a shard's operations are in the diary: all up to this number of this epoch, and all of every epoch before.
create table diary_position (
  shard smallint primary key,
  epoch integer not null default 0,
  seq bigint not null default 0,
  -- The last operation that was read, so that nobody looks for what follows in every month; null before the first.
  operation uuid,
  -- When the newest operation that is in the diary was booked.
  read_through_at timestamptz not null default '-infinity'
);

insert into compatible_migration (migration) values ('20261123100000_diary');
