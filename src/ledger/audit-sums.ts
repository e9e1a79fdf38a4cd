/**
 * Checks where a sum suffices: PostgreSQL adds up the entries and compares them with the rows that the writer keeps
 * beside them, so only what differs leaves the database. Each check's query ends in `pairs`: the names of the row, what
 * the entries say (`recomputed`), what the row says (`stored`) and whether the two disagree (`bad`).
 *
 * $1 is the shard, or null for all; $2 the number of shards.
 */
import type pg from 'pg';
import { type CheckName, type Collector, listedMax, type Where } from './audit-report.ts';
import { isOnline, unclaimedText } from './audit-rows.ts';
import { givenQuery, touchesBudgets } from './budget-rows.ts';
import { countedQuery, counts } from './counter-rows.ts';

interface Pair extends Where {
  readonly recomputed: number;
  readonly stored: number;
  /** Why the row is wrong where it is not the sum. */
  readonly reason: string | null;
  readonly bad: boolean;
}

interface SumCheck {
  readonly check: CheckName;
  /** How the two sides differ, in words. */
  readonly difference: (recomputed: number, stored: number) => string;
  readonly pairs: string;
}

const hasBut = (row: string) => (recomputed: number, stored: number) =>
  `${row} has ${stored} points, its entries say ${recomputed}`;

/** Every entry there ever was: those of archived months as the sums that were carried forward. */
const everyEntry = `(select shard, program, currency, account, party, member, lot, hold, points from entry
      union all select shard, program, currency, account, party, member, lot, hold, points from carried) entry`;

const lots: SumCheck = {
  check: 'lots',
  difference: hasBut('the lot'),
  pairs: `
    sums as (select member, currency, lot, sum(points)::bigint as points from ${everyEntry}
      where account = 'wallet' and ($1::int is null or shard = $1) group by 1, 2, 3),
    lots as (select member, currency, lot, points from lot where $1::int is null or member % $2::int = $1),
    pairs as (select member % $2::int as shard, member, currency, lot,
        coalesce(s.points, 0) as recomputed, coalesce(l.points, 0) as stored,
        case when l.points is null then 'there is no such lot' when l.points < 0 then 'a lot below zero' end as reason,
        l.points is null or l.points < 0 or coalesce(s.points, 0) <> l.points as bad
      from sums s full join lots l using (member, currency, lot))`,
};

const debts: SumCheck = {
  check: 'debts',
  difference: hasBut('the debt'),
  pairs: `
    sums as (select member, currency, -sum(points)::bigint as points from ${everyEntry}
      where account = 'debt' and ($1::int is null or shard = $1) group by 1, 2),
    debts as (select member, currency, points from debt where $1::int is null or member % $2::int = $1),
    pairs as (select member % $2::int as shard, member, currency, coalesce(s.points, 0) as recomputed, coalesce(d.points, 0) as stored,
        case when d.points < 0 then 'a debt below zero' end as reason,
        coalesce(s.points, 0) <> coalesce(d.points, 0) or coalesce(d.points, 0) < 0 as bad
      from sums s full join debts d using (member, currency))`,
};

const holds: SumCheck = {
  check: 'holds',
  difference: hasBut('the part of an open hold'),
  pairs: `
    sums as (select hold, currency, lot, sum(points)::bigint as points from ${everyEntry}
      where account = 'held' and ($1::int is null or shard = $1) group by 1, 2, 3),
    parts as (select h.hold, (p ->> 0)::smallint as currency, (p ->> 1)::int as lot, sum((p ->> 2)::bigint)::bigint as points
      from hold h cross join json_array_elements(h.lots) p
      where h.status = 'held' and ($1::int is null or h.member % $2::int = $1) group by 1, 2, 3),
    pairs as (select h.member % $2::int as shard, h.member, replace(hold::text, '-', '') as hold, currency, lot,
        coalesce(s.points, 0) as recomputed, coalesce(p.points, 0) as stored,
        case when h.hold is null then 'there is no such hold' when h.status <> 'held' then 'the hold is ' || h.status end as reason,
        h.hold is null or coalesce(s.points, 0) <> coalesce(p.points, 0) as bad
      from sums s full join parts p using (hold, currency, lot) left join hold h using (hold))`,
};

const accounts: SumCheck = {
  check: 'accounts',
  difference: hasBut('the balance'),
  pairs: `
    sums as (select shard, program, currency, account, coalesce(party, 0) as party, sum(points)::bigint as points from ${everyEntry}
      where $1::int is null or shard = $1 group by 1, 2, 3, 4, 5),
    balances as (select shard, program, currency, account, party, points from account_balance where $1::int is null or shard = $1),
    pairs as (select shard, program, currency, account, party, coalesce(s.points, 0) as recomputed, coalesce(b.points, 0) as stored,
        null as reason, coalesce(s.points, 0) <> coalesce(b.points, 0) as bad
      from sums s full join balances b using (shard, program, currency, account, party))`,
};

const counters: SumCheck = {
  check: 'counters',
  difference: () => '',
  pairs: `
    sums as (${countedQuery(
      `select member, effect from operation where ($1::int is null or shard = $1) and ${counts('effect')}`,
      '$1::int is null or c.member % $2::int = $1',
    )}),
    counters as (select member, counter, period, value from counter c where $1::int is null or c.member % $2::int = $1),
    pairs as (select member % $2::int as shard, member, counter, period, 0 as recomputed, 0 as stored,
        format('the counter stands at %s, its operations say %s', coalesce(c.value, 0), coalesce(s.value, 0)) as reason,
        coalesce(s.value, 0) <> coalesce(c.value, 0) as bad
      from sums s full join counters c using (member, counter, period))`,
};

const budgets: SumCheck = {
  check: 'budgets',
  difference: () => '',
  pairs: `
    sums as (${givenQuery(
      `select program, shard, effect from operation where ($1::int is null or shard = $1) and ${touchesBudgets('effect')}`,
      '$1::int is null or c.shard = $1',
    )}),
    stored as (select program, budget, shard, consumed, given_back from budget_shard where $1::int is null or shard = $1),
    leased as (select program, budget, shard, sum(consumed)::bigint as consumed from budget_lease where $1::int is null or shard = $1 group by 1, 2, 3),
    pairs as (select shard, program, budget, 0 as recomputed, 0 as stored,
        format('gave %s from the budget and back %s, its operations say %s and %s, its leases %s', coalesce(b.consumed, 0),
          coalesce(b.given_back, 0), coalesce(s.consumed, 0), coalesce(s.given_back, 0), coalesce(l.consumed, 0)) as reason,
        coalesce(s.consumed, 0) <> coalesce(b.consumed, 0) or coalesce(s.given_back, 0) <> coalesce(b.given_back, 0)
          or coalesce(l.consumed, 0) > coalesce(b.consumed, 0) as bad
      from sums s full join stored b using (program, budget, shard) full join leased l using (program, budget, shard))`,
};

const overdrawnLeases: SumCheck = {
  check: 'budgets',
  difference: () => '',
  pairs: `
    pairs as (select shard, epoch, program, budget, lease, 0 as recomputed, 0 as stored,
        format('the lease gave %s of %s points', consumed, granted) as reason, consumed > granted as bad
      from budget_lease where $1::int is null or shard = $1)`,
};

const zeroSum: SumCheck = {
  check: 'zero sum',
  difference: (_, stored) => `the balances of all accounts sum to ${stored}, not 0`,
  pairs: `
    pairs as (select shard, program, currency, 0 as recomputed, sum(points)::bigint as stored, null as reason, sum(points) <> 0 as bad
      from account_balance where $1::int is null or shard = $1 group by 1, 2, 3)`,
};

/** What the legs of each transfer leave in clearing: nothing once it is settled; party 0 is the clearing between members. */
const clearingOfTransfers = `
    steps as (select transfer, state, from_member, transfer as operation from transfer where ${isOnline}
      union all select transfer, state, from_member, credit from transfer where credit is not null and ${isOnline}),
    clearing as (select s.transfer, s.state, s.from_member, e.program, e.currency, sum(e.points)::bigint as points
      from steps s join entry e using (operation)
      where e.account = 'clearing' and e.party = 0 group by 1, 2, 3, 4, 5)`;

const settledTransfers: SumCheck = {
  check: 'transfers',
  difference: (recomputed) => `the settled transfer left ${recomputed} points in clearing`,
  pairs: `${clearingOfTransfers},
    pairs as (select from_member % $2::int as shard, replace(transfer::text, '-', '') as transfer, program, currency,
        points as recomputed, case when state in ('debited', 'refused') then points else 0 end as stored,
        null as reason, state in ('credited', 'returned') and points <> 0 as bad
      from clearing where $1::int is null or from_member % $2::int = $1)`,
};

const transfersInFlight: SumCheck = {
  check: 'transfers',
  difference: (recomputed, stored) =>
    `clearing has ${recomputed} points, transfers in flight account for ${stored}`,
  pairs: `${clearingOfTransfers},
    flying as (select program, currency, sum(points)::bigint as points from clearing where state in ('debited', 'refused') group by 1, 2),
    balances as (select program, currency, sum(points)::bigint as points from account_balance where account = 'clearing' and party = 0 group by 1, 2),
    pairs as (select 'clearing' as account, program, currency, coalesce(b.points, 0) as recomputed, coalesce(f.points, 0) as stored,
        null as reason, coalesce(b.points, 0) <> coalesce(f.points, 0) as bad
      from flying f full join balances b using (program, currency) where $1::int is null)`,
};

const unclaimedEntries: SumCheck = {
  check: 'entries',
  difference: (_, stored) => unclaimedText(stored),
  pairs: `
    pairs as (select e.shard, replace(e.operation::text, '-', '') as operation, e.line, e.account::text as account, e.currency,
        0 as recomputed, e.points as stored, null as reason, true as bad
      from entry e where ($1::int is null or e.shard = $1)
        and not exists (select from operation o where o.operation = e.operation))`,
};

const referencesOfOperations: SumCheck = {
  check: 'references',
  difference: () => '',
  pairs: `
    pairs as (select o.shard, o.epoch, o.seq, replace(o.operation::text, '-', '') as operation,
        replace(o.reference_key::text, '-', '') as reference, 0 as recomputed, 0 as stored,
        case when r.operation is null then 'the reference of this operation is not kept'
          else 'the reference belongs to operation ' || replace(r.operation::text, '-', '') end as reason,
        r.operation is distinct from coalesce(o.conflict_with, o.operation) as bad
      from operation o left join reference r using (reference_key)
      where o.reference_key is not null and ($1::int is null or o.shard = $1))`,
};

const operationsOfReferences: SumCheck = {
  check: 'references',
  difference: () => '',
  pairs: `
    pairs as (select replace(r.reference_key::text, '-', '') as reference, replace(r.operation::text, '-', '') as operation,
        0 as recomputed, 0 as stored, 'there is no operation of this reference' as reason, o.operation is null as bad
      from reference r left join operation o on o.operation = r.operation and o.reference_key = r.reference_key
      where $1::int is null and r.operation >= archived_below())`,
};

const statuses: SumCheck = {
  check: 'statuses',
  difference: () => '',
  pairs: `
    statuses as (select shard, member, epoch, seq, effect from operation where kind in ('status', 'tier') and effect ->> 'status' is not null
      union all select shard, member, status_epoch, status_seq, status from archived_member where status is not null),
    latest as (select distinct on (member) shard, member, effect ->> 'status' as status, effect ->> 'frozen' = '1' as frozen,
        (effect ->> 'facts')::int as facts, nullif((effect ->> 'into')::bigint, 0) as merged_into
      from statuses where $1::int is null or shard = $1
      order by member, epoch desc, seq desc),
    pairs as (select shard, l.member, 0 as recomputed, 0 as stored,
        format('is %s, frozen %s, facts %s, merged into %s; its last status record says %s, %s, %s, %s', m.status, m.frozen,
          m.facts_version, coalesce(m.merged_into, 0), l.status, l.frozen, l.facts, coalesce(l.merged_into, 0)) as reason,
        (m.status, m.frozen, m.facts_version, coalesce(m.merged_into, 0)) is distinct from (l.status, l.frozen, l.facts, coalesce(l.merged_into, 0)) as bad
      from latest l left join member m on m.number = l.member)`,
};

const sumChecks: readonly SumCheck[] = [
  lots,
  debts,
  holds,
  accounts,
  counters,
  budgets,
  overdrawnLeases,
  zeroSum,
  settledTransfers,
  transfersInFlight,
  unclaimedEntries,
  referencesOfOperations,
  operationsOfReferences,
  statuses,
];

interface Totals {
  readonly compared: number;
  readonly findings: number;
  readonly drift: number;
  readonly listed: readonly Pair[] | null;
}

function detailOf({ difference }: SumCheck, { recomputed, stored, reason }: Pair): string {
  const sums = recomputed === stored ? '' : difference(recomputed, stored);
  return [sums, reason ?? ''].filter((part) => part !== '').join('; ');
}

function whereOf({ recomputed: _, stored: _stored, reason: _reason, bad: _bad, ...where }: Pair): Where {
  return Object.fromEntries(Object.entries(where).filter(([, value]) => value !== null)) as Where;
}

/** Runs every check that is a sum. `tx` is one snapshot. */
export async function auditSums(
  tx: pg.ClientBase,
  shard: number | undefined,
  shardCount: number,
  collector: Collector,
): Promise<void> {
  for (const sum of sumChecks) {
    const { rows } = await tx.query<Totals>(
      `with ${sum.pairs}
       select (select count(*) from pairs) as compared, (select count(*) from pairs where bad) as findings,
         (select coalesce(sum(abs(recomputed - stored)), 0)::bigint from pairs where bad) as drift,
         (select json_agg(worst) from (select * from pairs where bad limit ${listedMax}) worst) as listed
       where $2::int > 0`,
      [shard ?? null, shardCount],
    );
    const totals = rows[0]!;
    const listed = totals.listed ?? [];
    collector.compared(sum.check, totals.compared);
    let drift = 0;
    for (const pair of listed) {
      const points = Math.abs(pair.recomputed - pair.stored);
      drift += points;
      collector.found({ check: sum.check, where: whereOf(pair), detail: detailOf(sum, pair), points });
    }
    collector.foundMore(sum.check, totals.findings - listed.length, totals.drift - drift);
  }
}
