-- Member days: points that workers give to everybody who is selected, and what they need to know of members for it.
-- Safe while older code runs: it does not know the tables, and the trigger keeps the new column right when older code
-- changes or destroys a profile.

-- ── Birthdays ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Month * 100 + day of the birthday, 0 where there is none: the profile is encrypted, and a birthday run must not open a
-- million of them to find three thousand. Without the year it names nobody. Null beside a profile: not read yet; a worker
-- reads it before the next run.
alter table member add column birth_day smallint check (birth_day between 0 and 1231);

-- Who changes a profile and leaves the birthday as it was may be an older version, or may have changed something else; then
-- it is read again. A profile that is destroyed takes the birthday with it.
create function keep_birth_day() returns trigger language plpgsql as $$
begin
  if new.profile is null then
    new.birth_day := null;
  elsif new.birth_day is not distinct from old.birth_day then
    new.birth_day := null;
  end if;
  return new;
end $$;
create trigger member_birth_day before update of profile on member
  for each row when (old.profile is distinct from new.profile) execute function keep_birth_day();

create index member_birth_day on member (program, birth_day, number) where birth_day > 0;
create index member_birth_day_unread on member (program, number) where birth_day is null and profile is not null;
create index member_joined on member (program, joined_at);
-- Members of a program in order; whoever only wants those of a program reads it as well.
create index member_program_number on member (program, number);
drop index member_program;

-- ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- How far a program's occurrences have been made into runs; epoch ms by the program's own clock.
create table give_plan (
  program integer primary key references program,
  planned_through bigint not null
);

-- One occurrence of one promotion: there is never a second run for it.
create table give_run (
  run bigint generated always as identity primary key,
  program integer not null references program,
  promotion text not null,
  occurrence date not null,
  version integer not null,
  -- When the giving begins: who is a member then is meant; epoch ms by the program's own clock.
  due_at bigint not null,
  -- `planned`: members have not been selected yet.
  status text not null default 'planned' check (status in ('planned', 'running', 'paused', 'done')),
  points bigint not null check (points > 0),
  currency text not null,
  planned_at timestamptz not null default now(),
  selected_at timestamptz,
  ended_at timestamptz,
  unique (program, promotion, occurrence)
);
create index give_run_open on give_run (program, due_at) where status <> 'done';

-- Members who were selected, in pieces that one worker gives to at a time. Who is in it is fixed, so that what a killed
-- worker left is done by the next one for the same members.
create table give_chunk (
  run bigint not null references give_run,
  chunk integer not null,
  -- Null when the chunk is done.
  members bigint[],
  member_count integer not null,
  due_at bigint not null,
  status text not null default 'waiting' check (status in ('waiting', 'working', 'done')),
  attempts integer not null default 0,
  owner text,
  lease_until timestamptz,
  -- After an attempt that failed.
  not_before timestamptz,
  last_error text,
  given integer not null default 0,
  -- How many were refused, by the word of the refusal.
  refused json not null default '{}',
  ended_at timestamptz,
  primary key (run, chunk)
);
create index give_chunk_open on give_chunk (run, due_at) where status <> 'done';

insert into compatible_migration (migration) values ('20261122160000_gives');
