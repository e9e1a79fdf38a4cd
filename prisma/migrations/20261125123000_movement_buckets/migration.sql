-- Movements by the bucket of the day's hash tree that they are in: a partner that asks for some buckets is answered from an index, where every page
-- of an answer had hashed the whole day.
-- Safe while older code runs: it does not ask for it. (Clearing waits while the index is built, some seconds for a million entries.)

-- The name of a bucket, as `/docs/partner-protocol` has it. Immutable, because the texts of a database have one encoding.
create function movement_bucket(side text, kind text, reference text) returns bytea
  language sql immutable strict parallel safe
  return substr(sha256(convert_to(side || E'\n' || kind || E'\n' || reference || E'\n', 'UTF8')), 1, 2);

-- Of the partner's calls on us the partner is the caller, as it is of the call that asks for them.
create index clearing_entry_bucket on clearing_entry (partner, movement_bucket('caller', kind, reference), occurred_at)
  where account = 'partner' and kind in ('accrual', 'redemption', 'reversal');

insert into compatible_migration (migration) values ('20261125123000_movement_buckets');
