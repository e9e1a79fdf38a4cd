/**
 * The books of counters: their rows, written from journal records, and what of them Redis or an audit is compared with. A row
 * is the sum of what the operations of its member added to the place.
 */
import type pg from 'pg';
import type { CounterRow } from '#src/journal.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Posting } from './postings.ts';
import type { Statements } from './statements.ts';

export interface CounterDelta {
  readonly member: MemberNumber;
  readonly counter: number;
  readonly period: number;
  by: number;
}

/** PURE. Changes of counters over a batch, one row a place however often it was counted. */
export function counterDeltas(postings: readonly Posting[]): CounterDelta[] {
  const deltas = new Map<string, CounterDelta>();
  for (const { record, effect } of postings) {
    if (effect.counters === undefined) continue;
    for (const [counter, period, by] of effect.counters) {
      const key = `${record.member}.${counter}.${period}`;
      const delta = deltas.get(key);
      if (delta) delta.by += by;
      else deltas.set(key, { member: record.member, counter, period, by });
    }
  }
  // In the order of the key, so that rows of one member come to lie together.
  return [...deltas.values()].sort(
    (a, b) => a.member - b.member || a.counter - b.counter || a.period - b.period,
  );
}

/** Nobody else writes counters of the writer's shards; so it is as with lots (`books.ts`). */
export function upsertCounters(tx: Statements, deltas: readonly CounterDelta[]): void {
  if (deltas.length === 0) return;
  const list = (of: (delta: CounterDelta) => number) => `{${deltas.map(of).join(',')}}`;
  tx.send(
    `merge into counter c using unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[]) as n(member, counter, period, by)
       on c.member = n.member and c.counter = n.counter and c.period = n.period
     when matched then update set value = c.value + n.by
     when not matched then insert (member, counter, period, value) values (n.member, n.counter, n.period, n.by)`,
    [list((d) => d.member), list((d) => d.counter), list((d) => d.period), list((d) => d.by)],
    'counters',
  );
}

/** PURE. What is to be counted so that `booked` becomes `wanted`: rows of the input of `correct.lua`. */
export function counterDifference(
  booked: readonly CounterRow[] | undefined,
  wanted: readonly CounterRow[] | undefined,
): [counter: number, period: number, by: number][] {
  const sums = new Map<string, [number, number, number]>();
  const add = (rows: readonly CounterRow[] | undefined, sign: 1 | -1) => {
    for (const [counter, period, by] of rows ?? []) {
      const before = sums.get(`${counter}.${period}`)?.[2] ?? 0;
      sums.set(`${counter}.${period}`, [counter, period, before + sign * by]);
    }
  };
  add(wanted, 1);
  add(booked, -1);
  return [...sums.values()].filter(([, , by]) => by !== 0);
}

export type CountersByPlace = ReadonlyMap<string, number>;

/** PURE. How a place is named in maps. */
export function placeKey(counter: number, period: number): string {
  return `${counter}.${period}`;
}

/** All counters of members as the books have them. */
export async function countersInBooks(
  connection: Pick<pg.ClientBase, 'query'>,
  members: readonly MemberNumber[],
): Promise<ReadonlyMap<MemberNumber, CountersByPlace>> {
  const { rows } = await connection.query<{
    member: MemberNumber;
    counter: number;
    period: number;
    value: number;
  }>('select member, counter, period, value from counter where member = any($1::bigint[])', [members]);
  const byMember = Map.groupBy(rows, (row) => row.member);
  return new Map(
    members.map((member) => [
      member,
      new Map(
        (byMember.get(member) ?? []).map(({ counter, period, value }) => [placeKey(counter, period), value]),
      ),
    ]),
  );
}

/**
 * What the operations of members counted, with what was carried over from archived months; `$1` are the members, `which` says
 * which operations. Most effects count nothing, and looking for the word costs less than reading the JSON.
 */
export const countedQuery = (operations: string, carried: string) => `
  select member, counter, period, sum(by)::bigint as value from (
    select o.member, (r ->> 0)::int as counter, (r ->> 1)::bigint as period, (r ->> 2)::numeric as by
      from (${operations} offset 0) o cross join json_array_elements(o.effect -> 'counters') r
    union all select member, counter, period, value from carried_counter c where ${carried}) counted group by 1, 2, 3`;

/** The condition that an operation's effect counts anything. */
export const counts = (effect: string) => `strpos(${effect}::text, '"counters":[[') > 0`;
