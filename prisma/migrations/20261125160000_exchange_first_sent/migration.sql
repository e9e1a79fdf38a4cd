-- 20261125130000 says that nothing changes that an index is about while an exchange goes on. Its first send is the exception, and the first
-- send of what takes it back: both stand in indexes, set by the trigger `first_send`. BRIN indexes would let PostgreSQL keep these versions of the row on
-- their page as well, but when the first exchange of a partner was sent could then only be found by reading all (decision 63 has the counts).
-- Safe while older code runs: only what is said of the indexes changes.
comment on index exchange_first_sent is 'Reconciliation finds by it what was booked in a period. The first send changes it: that version of the row is in every index.';
comment on index exchange_undo_sent is 'As exchange_first_sent, of the first send of what takes an exchange back.';

insert into compatible_migration (migration) values ('20261125160000_exchange_first_sent');
