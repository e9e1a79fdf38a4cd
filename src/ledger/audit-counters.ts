/**
 * Counters against what they are made of: rows against the operations of their members, Redis against rows. A difference is no
 * matter of points, so its findings have none.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import { type CounterInBooks, hotCounters, ordersFrom } from '#src/wallet/counter-state.ts';
import type { Finding } from './audit-report.ts';
import { type Difference, differencesOf, type Figure, standingOf } from './audit-standing.ts';
import { countedQuery, counts } from './counter-rows.ts';

interface CounterPair {
  readonly member: MemberNumber;
  readonly counter: number;
  readonly period: number;
  readonly recomputed: number;
  readonly stored: number;
}

const operationsOfMembers = `
  select m.number as member, w.effect from unnest($1::bigint[]) as m(number)
  cross join lateral (select o.effect from operation o where o.member = m.number and ${counts('o.effect')} offset 0) w`;

const membersQuery = `
  with sums as (${countedQuery(operationsOfMembers, 'c.member = any($1::bigint[])')}),
  stored as (select c.member, c.counter, c.period, c.value from counter c where c.member = any($1::bigint[]))
  select member, counter, period, coalesce(s.value, 0) as recomputed, coalesce(t.value, 0) as stored
  from sums s full join stored t using (member, counter, period) where coalesce(s.value, 0) <> coalesce(t.value, 0)`;

/** Where the counters of these members are not what their operations counted. */
export async function auditMemberCounters(
  tx: Pick<pg.ClientBase, 'query'>,
  members: readonly MemberNumber[],
): Promise<Finding[]> {
  const { rows } = await tx.query<CounterPair>({
    name: 'audit-member-counters',
    text: membersQuery,
    values: [members],
  });
  return rows.map(({ member, counter, period, recomputed, stored }) => ({
    check: 'counters',
    where: { member, counter, period },
    detail: `the counter stands at ${stored}, its operations say ${recomputed}`,
    points: 0,
  }));
}

/** A member's counters in Redis (`inspect.lua`) and the newest of them in the books (`countersQuery`). */
export interface CountersOfMember {
  readonly member: MemberNumber;
  readonly list: readonly number[] | undefined;
  readonly inBooks: readonly CounterInBooks[] | null;
}

interface ValueRow {
  readonly member: MemberNumber;
  readonly counter: number;
  readonly period: number;
  readonly value: number;
}

/** A member keeps sixteen orders of a counter without a note that more were there. */
const ordersLookedAtMax = 17;

const placesQuery = `select c.member, c.counter, c.period, c.value
  from unnest($1::bigint[], $2::int[], $3::bigint[]) as w(member, counter, period) join counter c using (member, counter, period)`;
const ordersQuery = `select w.member, w.counter, o.period, o.value from unnest($1::bigint[], $2::int[]) as w(member, counter)
  cross join lateral (select c.period, c.value from counter c
    where c.member = w.member and c.counter = w.counter and c.period >= ${ordersFrom} order by c.period limit ${ordersLookedAtMax}) o`;

function figure({ member, counter, period, value }: ValueRow): Figure {
  return { where: { member, counter, period }, name: 'counter', points: 0, terms: `at ${value}` };
}

/** A place at zero is the same as one that is not there. */
function standing(rows: readonly ValueRow[]): ReturnType<typeof standingOf> {
  return standingOf(rows.filter(({ value }) => value !== 0).map(figure));
}

/**
 * Where counters in Redis are not what the books say: those that Redis has, and those that it would take for zero because it
 * neither has them nor notes that they were dropped. `tx` is the snapshot at the members' last records.
 */
export async function compareCounters(
  tx: Pick<pg.ClientBase, 'query'>,
  members: readonly CountersOfMember[],
): Promise<Difference[]> {
  const hot = members.map(({ member, list, inBooks }) => ({ member, inBooks, ...hotCounters(list) }));
  const inRedis = hot.flatMap(({ member, places }) =>
    places.map(([counter, period, value]): ValueRow => ({ member, counter, period, value })),
  );
  const unnoted = hot.flatMap(({ member, inBooks, covers }) =>
    (inBooks ?? [])
      .filter(([counter, , hasOrders]) => hasOrders && !covers(counter, ordersFrom))
      .map(([counter]) => ({ member, counter })),
  );
  const newest = hot.flatMap(({ member, inBooks, covers }) =>
    (inBooks ?? []).flatMap(([counter, calendar]) =>
      (calendar ?? [])
        .filter(([period]) => !covers(counter, period))
        .map(([period, value]): ValueRow => ({ member, counter, period, value })),
    ),
  );
  if (inRedis.length + unnoted.length + newest.length === 0) return [];
  const places = await tx.query<ValueRow>(placesQuery, [
    inRedis.map(({ member }) => member),
    inRedis.map(({ counter }) => counter),
    inRedis.map(({ period }) => period),
  ]);
  const orders = await tx.query<ValueRow>(ordersQuery, [
    unnoted.map(({ member }) => member),
    unnoted.map(({ counter }) => counter),
  ]);
  const inBooks = new Map(
    [...newest, ...orders.rows, ...places.rows].map((row) => [
      `${row.member}.${row.counter}.${row.period}`,
      row,
    ]),
  );
  return differencesOf(standing(inRedis), standing([...inBooks.values()]));
}
