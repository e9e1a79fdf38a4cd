-- Of what was paid or netted, whether that was before the days were over in which the statement could be disputed: only what the partner has agreed to.
-- Safe while older code runs: what it settles early is not said to be. Nor is what was settled before.
alter table settlement_step add column early boolean not null default false;

insert into compatible_migration (migration) values ('20261125153000_settled_early');
