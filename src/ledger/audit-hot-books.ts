/** What the books say about members and operations that are hot, for comparison. */
import type pg from 'pg';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { countersQuery } from '#src/wallet/counter-state.ts';
import { clockSkewMsMax, deadlineMs } from '#src/wallet/limits.ts';
import { newestAtQuery } from '#src/wallet/load.ts';
import type { OperationInBooks } from '#src/wallet/operation-state.ts';
import type { Difference, MemberRow } from './audit-standing.ts';

/**
 * A member's last operation by the numbers of its journal. A movement gets its id when it is looked up, which its script
 * allows to be `deadlineMs` and two clocks' skew earlier, so only an operation of the minute before the newest id can have a
 * higher number than that.
 */
const lastOperation = `
  (select o.epoch, o.seq, (extract(epoch from o.at) * 1000)::bigint as at from operation o
  where o.member = m.number and o.operation >= (
    select first_id_of_ms(id_ms(n.operation) - ${deadlineMs + 6 * clockSkewMsMax}) from operation n
    where n.member = m.number order by n.operation desc limit 1)
  order by o.epoch desc, o.seq desc limit 1)
  union all
  select a.epoch, a.seq, (extract(epoch from a.at) * 1000)::bigint from archived_member a
  where a.member = m.number and not exists (select from operation o where o.member = m.number)
  limit 1`;

const membersQuery = `
  select m.number, m.status, m.frozen, m.facts_version, m.merged_into, o.at, o.epoch as last_epoch, o.seq as last_seq,
    ${newestAtQuery('m.number')} as newest_at,
    (select json_agg(json_build_array(currency, lot, points, expires_at, available_at, party)) from lot l where l.member = m.number and l.points <> 0) as lots,
    (select json_agg(json_build_array(currency, next)) from (select currency, max(lot) + 1 as next from lot l where l.member = m.number group by currency) n) as next_lots,
    (select json_agg(json_build_array(currency, points)) from debt d where d.member = m.number and d.points <> 0) as debts,
    (select json_agg(json_build_array(replace(hold::text, '-', ''), expires_at, lots)) from hold h where h.member = m.number and h.status = 'held') as holds,
    ${countersQuery('m.number')} as counters
  from member m left join lateral (${lastOperation}) o on true
  where m.number = any($1::bigint[])`;

/** Members as the writer's rows have them. */
export async function memberRows(tx: pg.ClientBase, members: readonly MemberNumber[]): Promise<MemberRow[]> {
  const { rows } = await tx.query<MemberRow>({
    name: 'audit-members',
    text: membersQuery,
    values: [members],
  });
  return rows;
}

// Operations of two shards are ordered by time: numbers of different shards say nothing about which came first.
const operationsQuery = `
  select w.original, json_agg(json_build_object('shard', o.shard, 'operation', replace(o.operation::text, '-', ''), 'kind', o.kind, 'member', o.member,
    'effect', o.effect, 'request', o.request) order by o.at, o.epoch, o.seq) as operations
  from (select u.original, u.original as operation from unnest($1::uuid[]) as u(original)
    union select c.origin, c.operation from consequence c where c.origin = any($1::uuid[])) w
  cross join lateral (select * from operation o where o.operation = w.operation offset 0) o
  group by w.original`;

/** An operation, and the shard in which it was decided. */
export interface PlacedOperation extends OperationInBooks {
  readonly shard: number;
}

/** Each operation with those that followed from it, oldest first. */
export async function operationRows(
  tx: pg.ClientBase,
  operations: readonly OperationHex[],
): Promise<Map<OperationHex, PlacedOperation[]>> {
  const { rows } = await tx.query<{ original: string; operations: PlacedOperation[] }>({
    name: 'audit-operation-states',
    text: operationsQuery,
    values: [operations],
  });
  return new Map(rows.map((row) => [row.original.replaceAll('-', '') as OperationHex, row.operations]));
}

interface LegSum {
  readonly account: 'wallet' | 'held' | 'debt';
  readonly currency: number;
  readonly lot: number | null;
  readonly hold: string | null;
  readonly points: number;
}

const sumsQuery = `select account::text as account, currency, lot, replace(hold::text, '-', '') as hold, sum(points)::bigint as points
  from (select e.account, e.currency, e.lot, e.hold, e.points from operation o
      cross join lateral (select * from entry e where e.operation = o.operation offset 0) e
      where o.member = $1 and e.account in ('wallet', 'held', 'debt')
    union all select account, currency, lot, hold, points from carried where member = $1) legs
  group by 1, 2, 3, 4`;

const accountOfName: Readonly<Record<string, LegSum['account']>> = {
  lot: 'wallet',
  part: 'held',
  debt: 'debt',
};

/**
 * Those differences of a member where Redis says what the entries say, so that not Redis but the writer's row is wrong;
 * other checks name it. Adds up the member's whole history, so it is asked only where something differs.
 */
export async function blamedOnBooks(
  tx: pg.ClientBase,
  member: MemberNumber,
  differences: readonly Difference[],
): Promise<ReadonlySet<Difference>> {
  const { rows } = await tx.query<LegSum>(sumsQuery, [member]);
  const keyOf = (account: string, currency: number | undefined, lot?: number | null, hold?: string | null) =>
    `${account}.${currency}.${lot ?? ''}.${hold ?? ''}`;
  const sums = new Map(
    rows.map(({ account, currency, lot, hold, points }) => [
      keyOf(account, currency, lot, hold),
      account === 'debt' ? -points : points,
    ]),
  );
  return new Set(
    differences.filter(({ figure, redis, books }) => {
      const account = accountOfName[figure.name];
      if (account === undefined || redis?.points === books?.points) return false;
      const { currency, lot, hold } = figure.where;
      return (sums.get(keyOf(account, currency, lot, hold)) ?? 0) === (redis?.points ?? 0);
    }),
  );
}
