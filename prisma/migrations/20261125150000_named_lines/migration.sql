-- What a partner has named in a file before, by its reference: of a call of ours that came to nothing no other row says whether the partner names it once
-- or twice. Safe while older code runs: it does not ask for it. (Of lines that differ, which are few.)
create index reconciliation_difference_named on reconciliation_difference (reference) where their_status is not null;

insert into compatible_migration (migration) values ('20261125150000_named_lines');
