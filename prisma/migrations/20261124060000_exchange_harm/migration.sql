-- What exchanges were counted for and why they were judged is forgotten after 400 days, found by its time.
-- Safe while older code runs: it asks for both by other columns.

create index exchange_use_made on exchange_use (made_at);
create index exchange_judgement_made on exchange_judgement (made_at);

insert into compatible_migration (migration) values ('20261124060000_exchange_harm');
