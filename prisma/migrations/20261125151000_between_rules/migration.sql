-- Files were of the time at which movements happened, and since 20261125120000 are of the time at which they were booked. What happened before the end of
-- a partner's last file of before and was booked after it, such as in the last second of its day, was compared by that file already: it matched, or has a
-- line there. It would have been missing in the next file again, and for ever where the partner does not name it twice.
-- Safe while older code runs: it leaves them out of what is missing too, but calls a `duplicate` what the partner names in its next file.

-- Compared by a file of before: the partner may name it once more, by the time at which it has booked it.
alter table reconciliation_early add column may_repeat boolean not null default false;

with old as (
  select *, max(period_until) over (partition by partner) as last_until from reconciliation
  where source = 'file' and made_at < coalesce(
    (select min(finished_at) from _prisma_migrations where migration_name = '20261125120000_booked_periods'), now())
), ours as (
  select partner, 'them' as made_by, kind, reference, occurred_at, booked_at from clearing_entry
  where account = 'partner' and kind in ('accrual', 'redemption', 'reversal')
  union all
  select partner, 'us', case direction when 'out' then 'accrual' else 'redemption' end, 'exc_' || replace(exchange::text, '-', ''),
    to_timestamp(occurred_at / 1000), first_sent_at
  from exchange where first_sent_at is not null
)
insert into reconciliation_early (partner, made_by, kind, reference, booked_at, reconciliation, may_repeat)
select distinct on (partner, reference, kind, made_by) partner, o.made_by, o.kind, o.reference, o.booked_at, r.reconciliation, true
from old r join ours o using (partner)
where o.occurred_at >= r.period_from and o.occurred_at < r.period_until and o.booked_at >= r.last_until and o.booked_at < r.made_at
  -- What only the partner had waits for ours.
  and not exists (select from reconciliation_difference d where d.reconciliation = r.reconciliation and d.difference = 'missing_here'
    and (d.reference, d.kind, d.made_by) = (o.reference, o.kind, o.made_by))
order by partner, reference, kind, made_by, r.reconciliation
on conflict do nothing;

insert into compatible_migration (migration) values ('20261125151000_between_rules');
