-- Accounts in money of each partner, double entry: what a statement says, and what was paid or netted of it, as postings that sum to zero.
-- A view over rows that are only ever added, so it needs no second writing and cannot lag behind; `npm run settlement -- check` compares it with
-- what statements say is open. Positive is a debit: `receivable` is what the partner owes on statements that have a number (negative: it is owed).
-- Safe while older code runs: it does not know the view.
create view partner_posting as
  select s.program, s.partner, s.currency, s.settlement, s.issued_at as at, 'statement' as cause, l.line as number, a.account, a.amount
  from settlement s join settlement_line l using (settlement)
  cross join lateral (values
    (case s.status when 'carried' then 'carried' else 'receivable' end, l.amount + l.tax),
    -- What is carried over was posted by its own lines before.
    (case when l.kind in ('carried', 'credit') then l.kind when l.kind like 'cost_share%' then 'cost_share' else l.price end,
      - l.amount - case l.kind when 'carried' then l.tax else 0 end),
    ('tax', case l.kind when 'carried' then 0 else - l.tax end)) a (account, amount)
  where a.amount <> 0
  union all
  select s.program, s.partner, s.currency, s.settlement, t.at, t.action, null, a.account, a.amount
  from settlement_step t join settlement s using (settlement)
  cross join lateral (values
    ('receivable', - t.amount),
    (case t.action when 'paid' then 'bank' else 'netting' end, t.amount)) a (account, amount)
  where t.action in ('paid', 'netted') and a.amount <> 0;

insert into compatible_migration (migration) values ('20261125121000_partner_money');
