-- Events also of exchanges that are under way: those whose state was not told yet, whatever it is.
-- Safe while older code runs: what it tells are some of these, found by the same index.

drop index exchange_untold;
create index exchange_untold on exchange (exchange) where state <> 'quoted' and told is distinct from state;

insert into compatible_migration (migration) values ('20261125101000_exchange_told');
