-- Points of partners that are billed when members spend them (`settleOn: redemption`): what is spent of them, and what comes back, are
-- entries of their own, and what was given has the price `none`.
-- Safe while older code runs: it writes no such entries, as long as no such contract is applied before every process is new.
-- (Clearing waits while the entries of before are checked, a second for a million.)
alter table clearing_entry
  drop constraint clearing_entry_kind_check,
  add constraint clearing_entry_kind_check check (kind in ('accrual', 'redemption', 'exchange_in', 'exchange_out', 'reversal', 'correction',
    'cost_share', 'cost_share_reversal', 'spent', 'spent_reversal')),
  drop constraint clearing_entry_price_check,
  add constraint clearing_entry_price_check check (price in ('issue', 'redemption', 'none'));

insert into compatible_migration (migration) values ('20261125140000_spent_points');
