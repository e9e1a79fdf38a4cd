-- What lets two versions run beside each other: the scripts that are in use, and which migrations older processes stand.
-- Safe while older code runs, but code from before it refuses to start on any schema that is newer than its own.

-- Every process that calls scripts notes the sources of its own, as templates without the literals of shard and epoch.
-- Ledger writers load all that are in use, so that no version is fenced by another one.
create table script_version (
  -- Digest of the sources.
  version text primary key,
  -- Of the journal records that they append; a writer loads only what it can read.
  format integer not null check (format > 0),
  sources json not null,
  seen_at timestamptz not null default now()
);

-- Migrations after which processes of the version before go on and may be started again. Each migration from here on
-- inserts its own name, or says in a comment why it stops older versions.
create table compatible_migration (
  migration text primary key
);
insert into compatible_migration (migration) values ('20261122060000_versions');
