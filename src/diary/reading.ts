/**
 * What members did over stretches of days. A day is the number of days since 1970-01-01 in the program's zone; stretches
 * include both ends.
 *
 * Everything counts on the day of the purchase or flight, whenever it was booked: points too, also while they are pending.
 * What came back is not in it, so a sum over the past may fall, and rise with a late receipt.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import type { Measure } from './measures.ts';

/** One sum: of a member and measure, from a day through another. */
export interface Ask {
  readonly member: MemberNumber;
  readonly measure: Measure;
  readonly fromDay: number;
  readonly throughDay: number;
}

/** What is summed of a member's days; `active_months` counts months in which anything is left. */
const columns = {
  spend: 'sum(d.spend)',
  visits: 'sum(d.visits)',
  flights: 'sum(d.flights)',
  distance: 'sum(d.distance)',
  active_months: `count(distinct date_trunc('month', (date '1970-01-01' + d.day)::timestamp))
    filter (where d.visits > 0 or d.flights > 0)`,
} as const;

/** SQL of a sum that JavaScript carries; whoever has more has reached everything. */
export function carriedSum(sum: string): string {
  return `least(coalesce(${sum}, 0), ${Number.MAX_SAFE_INTEGER})::bigint`;
}

/** Each ask is one range of the primary key, whatever PostgreSQL thinks of the numbers. */
function queryOf(measure: keyof typeof columns): string {
  return `select a.ask, s.sum from unnest($1::int[], $2::bigint[], $3::int[], $4::int[]) a (ask, member, from_day, through_day)
    cross join lateral (select ${carriedSum(columns[measure])} as sum from diary_day d
      where d.member = a.member and d.day between a.from_day and a.through_day) s where s.sum <> 0`;
}

const pointsQuery = `
  select a.ask, s.sum from unnest($1::int[], $2::bigint[], $3::int[], $4::int[], $5::smallint[]) a (ask, member, from_day, through_day, currency)
  cross join lateral (select ${carriedSum('sum(d.earned)')} as sum from diary_points d
    where d.member = a.member and d.currency = a.currency and d.day between a.from_day and a.through_day) s where s.sum <> 0`;

const daysMax = 2_147_483_647;

/** Days without an end fit PostgreSQL's integer. */
function dayInTable(day: number): number {
  return Math.max(-daysMax, Math.min(daysMax, Math.trunc(day)));
}

interface Numbered extends Ask {
  readonly index: number;
}

async function ask(db: pg.Pool | pg.ClientBase, asks: readonly Numbered[], sums: number[]): Promise<void> {
  const { measure } = asks[0]!;
  const values: unknown[] = [
    asks.map(({ index }) => index),
    asks.map(({ member }) => member),
    asks.map(({ fromDay }) => dayInTable(fromDay)),
    asks.map(({ throughDay }) => dayInTable(throughDay)),
  ];
  if (typeof measure !== 'string')
    values.push(asks.map((each) => (typeof each.measure === 'string' ? 0 : each.measure.points)));
  const query = typeof measure === 'string' ? queryOf(measure) : pointsQuery;
  const { rows } = await db.query<{ ask: number; sum: number }>(query, values);
  for (const { ask: index, sum } of rows) sums[index] = sum;
}

/** The sums, in the order of the asks: one query for each kind of measure that is asked, whatever their number. */
export async function sumsOf(db: pg.Pool | pg.ClientBase, asks: readonly Ask[]): Promise<number[]> {
  const sums = asks.map(() => 0);
  const numbered = asks.map((each, index): Numbered => ({ ...each, index }));
  const byMeasure = Map.groupBy(numbered, ({ measure }) =>
    typeof measure === 'string' ? measure : 'points',
  );
  for (const group of byMeasure.values()) await ask(db, group, sums);
  return sums;
}
