/**
 * The writer's rows against entries, a bounded stretch at a time: some members' lots, debts and holds, and some transfers.
 * `audit-sums.ts` adds up the whole ledger for `npm run audit`; this follows the index of a member's operations instead, so
 * that the continuous audit can take a few hundred members in a run.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import { auditMemberCounters } from './audit-counters.ts';
import type { Finding } from './audit-report.ts';

interface MemberPair {
  readonly member: MemberNumber;
  readonly account: 'wallet' | 'debt' | 'held';
  readonly currency: number;
  readonly lot: number | null;
  readonly hold: string | null;
  readonly recomputed: number;
  readonly stored: number;
}

const membersQuery = `
  with sums as (
    select o.member, e.account::text as account, e.currency, case when e.account <> 'debt' then e.lot end as lot,
      case when e.account = 'held' then e.hold end as hold, sum(case when e.account = 'debt' then -e.points else e.points end) as points
    -- \`offset 0\` keeps to the indexes also where PostgreSQL has no statistics yet.
    from unnest($1::bigint[]) as m(number)
    cross join lateral (select member, operation from operation where member = m.number offset 0) o
    cross join lateral (select * from entry e where e.operation = o.operation offset 0) e
    where e.account in ('wallet', 'debt', 'held') group by 1, 2, 3, 4, 5
    union all select c.member, c.account::text, c.currency, case when c.account <> 'debt' then c.lot end, case when c.account = 'held' then c.hold end, case when c.account = 'debt' then -c.points else c.points end
    from carried c where c.member = any($1::bigint[])),
  stored as (
    select member, 'wallet' as account, currency, lot, null::uuid as hold, points from lot where member = any($1::bigint[])
    union all select member, 'debt', currency, null, null, points from debt where member = any($1::bigint[])
    union all select h.member, 'held', (p ->> 0)::smallint, (p ->> 1)::int, h.hold, sum((p ->> 2)::bigint)
      from hold h cross join json_array_elements(h.lots) p where h.member = any($1::bigint[]) and h.status = 'held' group by 1, 2, 3, 4, 5),
  pairs as (
    select member, account, currency, lot, hold, sum(recomputed)::bigint as recomputed, sum(points)::bigint as stored from (
      select member, account, currency, lot, hold, points as recomputed, 0 as points from sums
      union all select member, account, currency, lot, hold, 0, points from stored) both_sides group by 1, 2, 3, 4, 5)
  select member, account, currency, lot, replace(hold::text, '-', '') as hold, recomputed, stored from pairs
  where recomputed <> stored or stored < 0`;

const checkOf = { wallet: 'lots', debt: 'debts', held: 'holds' } as const;

/** Where the rows of these members are not what their entries say, or their counters not what their operations counted. */
export async function auditMemberRows(
  tx: Pick<pg.ClientBase, 'query'>,
  members: readonly MemberNumber[],
): Promise<Finding[]> {
  const { rows } = await tx.query<MemberPair>({
    name: 'audit-member-rows',
    text: membersQuery,
    values: [members],
  });
  const found = rows.map(({ member, account, currency, lot, hold, recomputed, stored }) => ({
    check: checkOf[account],
    where: { member, currency, ...(lot === null ? {} : { lot }), ...(hold === null ? {} : { hold }) },
    detail:
      stored < 0 ? `below zero: ${stored} points` : `has ${stored} points, its entries say ${recomputed}`,
    points: Math.max(Math.abs(recomputed - stored), stored < 0 ? -stored : 0),
  }));
  return [...found, ...(await auditMemberCounters(tx, members))];
}

/** The members after a number, in order. */
export async function membersAfter(
  tx: Pick<pg.ClientBase, 'query'>,
  after: number,
  limit: number,
): Promise<MemberNumber[]> {
  const { rows } = await tx.query<{ number: MemberNumber }>(
    'select number from member where number > $1 order by number limit $2',
    [after, limit],
  );
  return rows.map((row) => row.number);
}

/** Entries after one operation whose operation is not there, and where the next stretch begins; undefined at the end. */
export async function auditUnclaimed(
  tx: Pick<pg.ClientBase, 'query'>,
  after: string,
  limit: number,
): Promise<{ readonly last: string | undefined; readonly looked: number; readonly findings: Finding[] }> {
  const { rows } = await tx.query<{ id: string; looked: number; unclaimed: UnclaimedRow[] | null }>({
    name: 'audit-unclaimed',
    text: `with stretch as materialized (select operation, line, shard, account, currency, points from entry
        where operation > $1 order by operation, line limit $2)
      select (select max(operation::text) from stretch) as id, (select count(*) from stretch)::int as looked,
        (select json_agg(json_build_object('shard', s.shard, 'operation', replace(s.operation::text, '-', ''), 'line', s.line,
           'account', s.account, 'currency', s.currency, 'points', s.points) order by s.operation, s.line)
         from stretch s left join lateral (select 1 as one from operation o where o.operation = s.operation offset 0) o on true
         where o.one is null) as unclaimed`,
    values: [after, limit],
  });
  const { id, looked, unclaimed } = rows[0]!;
  const findings = (unclaimed ?? []).map(({ points, ...where }) => ({
    check: 'entries' as const,
    where,
    detail: unclaimedText(points),
    points: Math.abs(points),
  }));
  return { last: looked < limit ? undefined : id, looked, findings };
}

interface UnclaimedRow {
  readonly shard: number;
  readonly operation: string;
  readonly line: number;
  readonly account: string;
  readonly currency: number;
  readonly points: number;
}

/** What is wrong with an entry that no operation claims. */
export function unclaimedText(points: number): string {
  return `an entry of ${points} points too many: there is no such operation`;
}

/** Whether all entries of a transfer are there; the archived ones were checked before they left, and none is on its way. */
export const isOnline = 'least(transfer, credit) >= archived_below()';

const clearingOf = (which: string) => `
  steps as (select transfer, from_member, transfer as operation from transfer where ${which} and ${isOnline}
    union all select transfer, from_member, credit from transfer where ${which} and ${isOnline} and credit is not null),
  clearing as (select s.transfer, s.from_member, e.program, e.currency, sum(e.points)::bigint as points
    from steps s
    cross join lateral (select * from entry e where e.operation = s.operation offset 0) e
    where e.account = 'clearing' and e.party = 0 group by 1, 2, 3, 4)`;

/** Settled transfers after one that left points on the way, and the last transfer that was looked at. */
export async function auditSettledTransfers(
  tx: Pick<pg.ClientBase, 'query'>,
  after: string,
  limit: number,
): Promise<{ readonly last: string | undefined; readonly looked: number; readonly findings: Finding[] }> {
  const found = await tx.query<{ transfer: string }>(
    'select transfer from transfer where transfer > $1 order by transfer limit $2',
    [after, limit],
  );
  const transfers = found.rows.map((row) => row.transfer);
  const { rows } = await tx.query<{
    transfer: string;
    from_member: MemberNumber;
    currency: number;
    points: number;
  }>(
    `with ${clearingOf(`transfer = any($1::uuid[]) and state in ('credited', 'returned')`)}
     select replace(transfer::text, '-', '') as transfer, from_member, currency, points from clearing where points <> 0`,
    [transfers],
  );
  const findings = rows.map(({ transfer, from_member, currency, points }) => ({
    check: 'transfers' as const,
    where: { member: from_member, transfer, currency },
    detail: `the settled transfer left ${points} points in clearing`,
    points: Math.abs(points),
  }));
  return { last: transfers.at(-1), looked: transfers.length, findings };
}

/** Whether the points in clearing are those of the transfers in flight. `tx` is one snapshot. */
export async function auditTransfersInFlight(tx: Pick<pg.ClientBase, 'query'>): Promise<Finding[]> {
  const { rows } = await tx.query<{ program: number; currency: number; held: number; flying: number }>(
    `with ${clearingOf(`state in ('debited', 'refused')`)},
     flying as (select program, currency, sum(points)::bigint as points from clearing group by 1, 2),
     balances as (select program, currency, sum(points)::bigint as points from account_balance
       where account = 'clearing' and party = 0 group by 1, 2)
     select program, currency, coalesce(b.points, 0) as held, coalesce(f.points, 0) as flying
     from flying f full join balances b using (program, currency) where coalesce(b.points, 0) <> coalesce(f.points, 0)`,
  );
  return rows.map(({ program, currency, held, flying }) => ({
    check: 'transfers' as const,
    where: { account: 'clearing', program, currency },
    detail: `clearing has ${held} points, transfers in flight account for ${flying}`,
    points: Math.abs(held - flying),
  }));
}
