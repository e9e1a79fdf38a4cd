-- While an exchange goes on, only its first send changes what an index is about, conditions included (`first_sent_at`: reconciliation finds by it
-- what was booked in a period). PostgreSQL keeps every other new version of the row on its page and touches none of ten indexes. The state
-- and the time of the last change stand in none any more, and pages have room for versions. Safe while older code runs, which finds open
-- exchanges by reading all; it rewrites the table, some 10 s a million.
alter table exchange
  add column is_open boolean not null generated always as (state not in ('quoted', 'completed', 'refused', 'reversed')) stored,
  -- From its beginning on, until the state that it rests in is told.
  add column is_untold boolean not null generated always as (state <> 'quoted' and told is distinct from state) stored;

drop index exchange_open;
create index exchange_open on exchange (created_at) where is_open;
drop index exchange_untold;
create index exchange_untold on exchange (exchange) where is_untold;
-- A quote is what has no reference yet (a check of the table says so).
drop index exchange_quoted;
create index exchange_quoted on exchange (created_at) where reference_key is null;
drop index exchange_occurred;
create index exchange_occurred on exchange (partner, occurred_at) where occurred_at is not null;
-- Nothing asks by it: caps count in exchange_use.
drop index exchange_member;

-- With the account first: whoever asks by an account alone finds it, whatever partner it belongs to.
drop index partner_link_account;
create unique index partner_link_account on partner_link (account_hash, client) where unlinked_at is null;

alter table exchange set (fillfactor = 50);
alter table exchange_step set (fillfactor = 80);

insert into compatible_migration (migration) values ('20261125130000_exchange_indexes');
