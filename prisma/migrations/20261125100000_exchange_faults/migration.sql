-- How often in a row an exchange could not be gone on with, so that its repeats have an end; and a break of its own for what a partner
-- could never be asked about once more.
-- Safe while older code runs: it neither counts nor writes such breaks, and lists and closes them as all others. (Of exchanges that
-- come in and are refused here see the changelog: stop the older process `alliance` first.)

alter table exchange add column faults integer not null default 0;

alter table exchange_break drop constraint exchange_break_kind_check;
alter table exchange_break add constraint exchange_break_kind_check
  check (kind in ('late_success', 'late_refusal', 'reply_differs', 'unasked')) not valid;
alter table exchange_break validate constraint exchange_break_kind_check;

insert into compatible_migration (migration) values ('20261125100000_exchange_faults');
