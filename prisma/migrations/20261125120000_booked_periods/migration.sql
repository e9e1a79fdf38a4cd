-- Periods of reconciliation files go by the time at which each side booked a movement, so that what is claimed late is in the file of
-- the day on which it came; and what one side books in a period and the other in the next is matched by the next file.
-- Safe while older code runs: a trigger notes first sends for it too. It compares files by the time at which movements happened, so no file
-- should be handed in until the last one is replaced. (Exchanges are written anew once, and the indexes are built while clearing and
-- exchanges wait: some seconds for a million.)

-- When a call on a partner was sent for the first time, and when the one that takes it back was: from then on it may stand in the
-- books there. `sent_at` is the last send.
alter table exchange add column first_sent_at timestamptz, add column undo_sent_at timestamptz;
update exchange e set first_sent_at = coalesce(
    (select min(s.at) from exchange_step s where s.exchange = e.exchange and s.action = 'call'), e.sent_at),
  undo_sent_at = (select min(s.at) from exchange_step s where s.exchange = e.exchange and s.action = 'undo')
where e.sent_at is not null;

create function note_first_send() returns trigger language plpgsql as $$
begin
  new.first_sent_at = coalesce(new.first_sent_at, new.sent_at);
  if new.state = 'undoing' and tg_op = 'UPDATE' then
    new.undo_sent_at = coalesce(new.undo_sent_at, new.sent_at);
  end if;
  return new;
end $$;
create trigger first_send before insert or update of sent_at on exchange
  for each row when (new.sent_at is not null) execute function note_first_send();

create index exchange_first_sent on exchange (partner, first_sent_at) where first_sent_at is not null;
create index exchange_undo_sent on exchange (partner, undo_sent_at) where undo_sent_at is not null;
create index clearing_entry_booked on clearing_entry (partner, booked_at);

-- How many lines of earlier files a file has matched that only one side had then.
alter table reconciliation add column matched_late integer not null default 0;

-- Which lines these are.
create table reconciliation_match (
  reconciliation bigint not null,
  number integer not null,
  matched_by bigint not null references reconciliation,
  primary key (reconciliation, number),
  foreign key (reconciliation, number) references reconciliation_difference
);
select make_append_only('reconciliation_match');
create index reconciliation_difference_missing on reconciliation_difference (reference, reconciliation)
  where difference in ('missing_here', 'missing_there');

-- Movements that a file has named before the period in which we have booked them: they are not missing in the file of that one.
create table reconciliation_early (
  partner integer not null references partner,
  made_by text not null,
  kind text not null,
  reference text not null,
  booked_at timestamptz not null,
  reconciliation bigint not null references reconciliation,
  primary key (partner, reference, kind, made_by)
);
create index reconciliation_early_booked on reconciliation_early (partner, booked_at);
select make_append_only('reconciliation_early');

insert into compatible_migration (migration) values ('20261125120000_booked_periods');
