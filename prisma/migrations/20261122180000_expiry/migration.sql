-- What happened that callers want to hear of, such as points that are about to expire.
-- Safe while older code runs: it neither writes nor reads it.

-- Rows are added one after the other under a lock, so ids are committed in their order: whoever has read up to an id never
-- misses one below it. `key` says what an event is about; the same is not said twice.
create table event (
  id bigint generated always as identity primary key,
  program integer not null references program (number),
  type text not null,
  key text not null,
  member bigint not null,
  at timestamptz not null,
  made_at timestamptz not null default clock_timestamp(),
  content json not null
);
create unique index event_key on event (program, type, key);
create index event_of_program on event (program, id);
create index event_age on event (made_at);

insert into compatible_migration (migration) values ('20261122180000_expiry');
