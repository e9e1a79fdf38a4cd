-- What became of quarantined records, and what the continuous audit found and how far it has come.
-- Safe while older code runs: new columns may be null, new tables are unknown to it.

alter table quarantine
  add column resolution text check (resolution in ('retried', 'voided')),
  -- Who said so, the operation that booked it, and when.
  add column resolved_by text,
  add column correction uuid,
  add column resolved_at timestamptz,
  add constraint quarantine_resolved check ((resolution is null) = (resolved_at is null));
create index quarantine_open on quarantine (member) where resolution is null;

-- A member whose balance in Redis, rows and entries do not say the same. Open until all three agree again.
create table audit_finding (
  number bigint generated always as identity primary key,
  member bigint not null references member,
  found_at timestamptz not null default now(),
  -- Redis is reloaded from the books; books that contradict their entries are left to a person.
  fault text not null check (fault in ('redis', 'books')),
  detail text not null,
  points numeric(38, 0) not null,
  settled_at timestamptz
);
create unique index audit_finding_open on audit_finding (member) where settled_at is null;
create index audit_finding_latest on audit_finding (found_at);

-- Where each part of the continuous audit goes on, so that a restart does not begin again.
create table audit_place (
  part text primary key,
  place json not null,
  version bigint not null default 0,
  pass_started_at timestamptz not null default now(),
  -- How long the last whole pass took.
  pass_seconds double precision,
  passes bigint not null default 0,
  changed_at timestamptz not null default now()
);
