-- Tiers, mended: what the diary has to have read before a day's members are looked at, references by what was asked for, trials
-- that remember how they ended, and a run of its own for each time that somebody asks for one.
-- Safe while older code runs: new columns have values for its rows, and what it wrote of an edit without its kind still answers
-- a repeat. Only an older process that is to begin a recalculation fails at it and says so; a newer one begins it.

-- Where the journals ended when somebody looked first after a day of the program had begun.
create table diary_day_end (
  program integer primary key references program,
  -- The day that has begun, in the program's zone.
  began_day integer not null,
  -- [[shard, epoch, seq], …]
  ends json not null,
  noted_at timestamptz not null default clock_timestamp()
);
-- Empty: an older process wrote it, which did not tell kinds apart.
alter table tier_order add column kind text not null default '';
alter table tier_order drop constraint tier_order_pkey;
alter table tier_order add primary key (program, client, kind, reference);

-- Whether something had to be reached in the trial, and the day on which it was.
alter table tier_match add column is_challenge boolean not null default false;
alter table tier_match add column met_on integer;
update tier_match m set is_challenge = true, met_on = (g -> 'challenge' ->> 'metOnDay')::int
  from tier_standing s, json_array_elements(s.standing -> 'grants') g
  where s.member = m.member and s.ladder = m.ladder and g ->> 'id' = m.match::text and g -> 'challenge' is not null;

alter table tier_run drop constraint tier_run_program_day_version_key;
create unique index tier_run_due on tier_run (program, day, version) where occasion <> 'demand';

-- A change always comes from a tier: the first one, where nothing was stored.
alter table tier_change alter column from_tier set not null;

-- Nobody asks for what is due by its day, nor for the changes of a run.
drop index tier_standing_due;
drop index tier_change_run;

insert into compatible_migration (migration) values ('20261124020000_tier_mending');
