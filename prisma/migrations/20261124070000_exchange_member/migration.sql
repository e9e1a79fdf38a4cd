-- An erasure takes the partner's account out of the member's exchanges: without an index of all of them it read every exchange.
-- Safe while older code runs: it only finds them faster.

create index exchange_of_member on exchange (member);

insert into compatible_migration (migration) values ('20261124070000_exchange_member');
