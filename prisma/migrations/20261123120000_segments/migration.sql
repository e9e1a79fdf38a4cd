-- Segments: what members are like as buyers, measured each night from the diary, and which named groups they are in.
-- Safe while older code runs: it does not know the tables, and the column of `program` has no value for it.

-- The days of one program, measured through the end of one of them by one version of its file. A run goes over the members in
-- the order of their numbers, twice: it counts, and it decides. Each range of members is one database transaction together with
-- the row's place, so a run that is killed goes on where it was, and whoever holds the row works on it.
create table segment_run (
  run bigint generated always as identity primary key,
  program integer not null references program,
  -- Days since 1970-01-01 in the program's zone.
  through_day integer not null,
  version integer not null,
  status text not null default 'fitting' check (status in ('fitting', 'counting', 'cutting', 'deciding', 'done')),
  -- The last member of the present pass that is done.
  member_through bigint not null default 0,
  -- Members of the program when the run began, for its progress, and those who have ever bought.
  members_before bigint not null,
  members bigint not null default 0,
  models json,
  cuts json,
  -- Members, spend and expected value by fact and value.
  tally json not null default '{}',
  entered bigint not null default 0,
  -- `left` is a word of SQL.
  gone bigint not null default 0,
  alerts bigint not null default 0,
  planned_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  -- From when rules judge by it: epoch ms by the program's own clock.
  in_force_from bigint,
  unique (program, through_day, version)
);
-- One at a time, so that the numbers of a program's runs are in the order in which they came into force.
create unique index segment_run_open on segment_run (program) where status <> 'done';

-- What was counted of each member who has ever bought. Those of a program's newest finished run are kept.
create table segment_fact (
  run bigint not null,
  member bigint not null,
  first_day integer not null,
  last_day integer not null,
  purchase_days integer not null,
  frequency bigint not null,
  monetary bigint not null,
  trend_spend bigint not null,
  trend_before bigint not null,
  repeat_spend bigint not null,
  rhythm_days integer,
  back_day integer,
  alive double precision,
  expected_purchases double precision,
  expected_value double precision,
  primary key (run, member)
);

-- In which named segments a member is, and was: from a run on, and until another. A run writes what is different alone.
create table member_segment (
  member bigint not null,
  segment text not null,
  from_run bigint not null references segment_run,
  until_run bigint references segment_run,
  primary key (member, segment, from_run)
);
create unique index member_segment_open on member_segment (member, segment) where until_run is null;
-- Those who are in a segment, for exports and for promotions that give.
create index member_segment_members on member_segment (segment, member) where until_run is null;

-- The newest finished run: processes read it with the program, so that no receipt asks for it.
alter table program add column segment_run bigint references segment_run;

insert into compatible_migration (migration) values ('20261123120000_segments');
