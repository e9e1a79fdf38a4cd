-- Tiers: where members stand on the ladders of their program, every change with its reason, and the runs that look at all.
-- Days are numbers of days since 1970-01-01 in the program's zone, times are epoch ms of the program's clock.
-- Safe while older code runs: it does not know these tables, and its writers leave records of kind `tier` (format 3) to this
-- version's.

-- Only of members who are or were above the lowest tier: everybody else stands there without a row.
create table tier_standing (
  member bigint not null,
  ladder text not null,
  program integer not null,
  tier text not null,
  -- The standing as the ladder's rules read and write it.
  standing json not null,
  -- The first day on which time alone may change something, such as the end of the validity or a warning before it.
  due_day integer,
  -- Of the last change; 0 before the first.
  number integer not null,
  -- The version of the program by whose ladders it was looked at last.
  version integer not null,
  primary key (member, ladder)
) with (fillfactor = 80);
create index tier_standing_due on tier_standing (program, due_day) where due_day is not null;

-- Rows are added, and completed once: by the ledger writer when the member's journal says that the change is known.
create table tier_change (
  change uuid primary key,
  program integer not null,
  member bigint not null,
  ladder text not null,
  -- Of the standing: 1, 2, 3 …
  number integer not null,
  -- Null: there was no standing.
  from_tier text,
  to_tier text not null,
  since integer not null,
  -- The last day; null: no end is known.
  until integer,
  origin text not null,
  reason json not null,
  -- From when on receipts are judged by it, by the time at which they occurred.
  effective_at bigint not null,
  recorded_at bigint not null,
  made_at timestamptz not null default clock_timestamp(),
  run bigint,
  -- Whether receipts are judged otherwise than before; what only moves an end is told to no journal.
  is_move boolean not null,
  -- The record that made it known, and the version of the member's facts from which on it is.
  facts integer,
  epoch integer,
  seq bigint,
  -- When the event was written.
  told_at timestamptz,
  unique (member, ladder, number)
);
create index tier_change_silent on tier_change (recorded_at, change) where is_move and facts is null;
create index tier_change_untold on tier_change (recorded_at, change) where told_at is null;
create index tier_change_run on tier_change (run) where run is not null;

-- One recalculation of all members of a program: how far it is, and what came of it. The position moves in the same commit
-- as the changes before it.
create table tier_run (
  run bigint generated always as identity primary key,
  program integer not null references program,
  -- The day that it is for, and the version whose ladders it goes by.
  day integer not null,
  version integer not null,
  occasion text not null check (occasion in ('night', 'version', 'demand')),
  -- `overtaken`: another day or version began before it was through.
  status text not null default 'running' check (status in ('running', 'done', 'overtaken')),
  -- Members up to this number are done.
  through_member bigint not null default 0,
  members bigint not null default 0,
  changes bigint not null default 0,
  warnings bigint not null default 0,
  -- How many moved, by ladder, from and to: [[ladder, from, to, members], ...].
  moves json not null default '[]',
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (program, day, version)
);
create index tier_run_open on tier_run (program) where status = 'running';

-- What was asked for by hand, by its reference: the same again gives the first answer.
create table tier_order (
  program integer not null,
  client integer not null,
  reference text not null,
  fingerprint text not null,
  member bigint not null,
  answer json not null,
  made_at timestamptz not null default now(),
  primary key (program, client, reference)
);

create index tier_order_member on tier_order (member);

-- Matches of other programs' tiers and challenges, for their lock-out.
create table tier_match (
  match uuid primary key,
  program integer not null,
  member bigint not null,
  ladder text not null,
  offer text not null,
  source text not null,
  source_tier text not null,
  evidence text not null,
  tier text not null,
  since integer not null,
  until integer,
  made_at timestamptz not null default now()
);
create index tier_match_member on tier_match (member, offer);

-- Previews run as a role that can read what they look at and write nothing. Who migrates may not be allowed to make roles;
-- then they run in a transaction that writes nothing all the same.
do $$
begin
  if not exists (select from pg_roles where rolname = 'loyalty_reader') then
    create role loyalty_reader nologin;
  end if;
  grant select on program, program_version, member, diary_day, diary_points, tier_standing to loyalty_reader;
  execute format('grant loyalty_reader to %I', current_user);
exception when others then
  raise notice 'previews of tiers go without a role of their own: %', sqlerrm;
end $$;

insert into compatible_migration (migration) values ('20261123110000_tiers');
