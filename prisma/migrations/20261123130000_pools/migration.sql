-- Pools: members of a household who may spend one another's points. Every lot stays in its own member's wallet; here stands who
-- belongs together, and how far a movement over several wallets has come.
-- Safe while older code runs: it does not know the tables. (An older process that closes a member releases all of the member's
-- holds, also that of a pool's redemption which is under way at that moment: replace all API processes before opening pools.)

create table pool (
  pool bigint generated always as identity primary key,
  program integer not null references program,
  -- Who opened it; after the head has left, whoever has been in it longest.
  head bigint not null references member,
  policy json not null,
  -- Epoch ms by the program's own clock, as all times of pools.
  opened_at bigint not null,
  dissolved_at bigint,
  client integer not null,
  actor text not null,
  reference_key uuid not null unique,
  fingerprint text not null
);

-- A place of a member in a pool. It is ended, never removed.
create table pool_place (
  place bigint generated always as identity primary key,
  pool bigint not null references pool,
  member bigint not null references member,
  may_spend boolean not null,
  joined_at bigint not null,
  -- Type of the identifier that was shown, and the key that says so.
  consent text not null,
  actor text not null,
  left_at bigint,
  left_why text check (left_why in ('left', 'dissolved', 'closed', 'merged')),
  -- From when on the member may take a place again.
  may_join_at bigint,
  check ((left_at is null) = (left_why is null) and (left_at is null) = (may_join_at is null))
);
-- A member is in one pool at a time.
create unique index pool_place_open on pool_place (member) where left_at is null;
create index pool_place_pool on pool_place (pool, place);
create index pool_place_cooling on pool_place (member, may_join_at) where left_at is not null;

-- A redemption over the members of a pool. Its row decides: what happens to the holds of its parts follows from its state.
create table pool_redemption (
  redemption uuid primary key,
  program integer not null references program,
  pool bigint not null references pool,
  spender bigint not null,
  client integer not null,
  reference_key uuid not null unique,
  fingerprint text not null,
  -- What was asked for without its member, and what it was judged to be worth.
  request json not null,
  worth json,
  -- [[currency, points], …], and all of it together.
  price json not null,
  points bigint not null check (points > 0),
  -- The day of the program's zone that it counts in.
  day date not null,
  made_at bigint not null,
  -- Where the points are to be held first: until when.
  hold_until bigint,
  state text not null check (state in ('collecting', 'giving_back', 'refused', 'held', 'capturing', 'redeemed', 'releasing', 'released')),
  -- The problem that a refusal is to its caller.
  refusal json,
  -- How a hold ended, under which reference, and what of it was captured: {price, points, worth?, value?}.
  hold_end text check (hold_end in ('captured', 'released', 'expired')),
  end_key uuid unique,
  end_fingerprint text,
  captured json,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);
-- The points of one pool are collected for one redemption at a time.
create unique index pool_redemption_turn on pool_redemption (pool) where state in ('collecting', 'giving_back');
create index pool_redemption_open on pool_redemption (changed_at) where state in ('collecting', 'giving_back', 'capturing', 'releasing');
create index pool_redemption_due on pool_redemption (hold_until) where state = 'held';
create index pool_redemption_pool on pool_redemption (pool, redemption);
create index pool_redemption_day on pool_redemption (pool, spender, day);

-- What one member gives to it: a hold, which is captured or released.
create table pool_part (
  redemption uuid not null references pool_redemption,
  part smallint not null,
  member bigint not null,
  -- [[currency, points], …]
  points json not null,
  state text not null default 'planned' check (state in ('planned', 'void', 'held', 'returning', 'returned', 'captured')),
  -- Why it is void: the word of the wallet.
  reason text,
  hold uuid,
  capture uuid,
  primary key (redemption, part),
  check ((state in ('planned', 'void')) = (hold is null) and (state = 'captured') = (capture is not null))
);

-- Points of a redemption that go back to the lots they came from, part by part, the last first. It needs no decision: points that
-- are back are back, and what one part cannot give any more comes from another.
create table pool_refund (
  refund uuid primary key,
  redemption uuid not null references pool_redemption,
  client integer not null,
  reference_key uuid not null unique,
  fingerprint text not null,
  request json not null,
  -- [[currency, points], …]
  wanted json not null,
  made_at bigint not null,
  state text not null check (state in ('refunding', 'refunded')),
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);
-- One after the other.
create unique index pool_refund_turn on pool_refund (redemption) where state = 'refunding';
create table pool_refund_part (
  refund uuid not null references pool_refund,
  part smallint not null,
  operation uuid not null,
  -- [[currency, points], …]
  points json not null,
  primary key (refund, part)
);
create index pool_refund_redemption on pool_refund (redemption);
create index pool_refund_open on pool_refund (changed_at) where state = 'refunding';

insert into compatible_migration (migration) values ('20261123130000_pools');
