/**
 * What members did, counted from the diary: one statement a range of members, with one walk over each member's days in the
 * order of the diary's key. Memory is that of the range, however many members and receipts there are.
 */
import type pg from 'pg';
import { carriedSum } from '#src/diary/reading.ts';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Counted } from './scores.ts';

/** Quantiles of ten million members take PostgreSQL half a minute. */
export const longQueryMsMax = 600_000;
export const longQuery = { query_timeout: longQueryMsMax } as const;

/** Members of a program after a number, at most so many; undefined where there are none. */
export async function rangeAfter(
  db: pg.ClientBase,
  program: number,
  after: number,
  membersMax: number,
): Promise<number | undefined> {
  const { rows } = await db.query<{ last: number | null }>({
    name: 'segment-range',
    text: `select max(number) as last from (
      select number from member where program = $1 and number > $2 order by number limit $3) range`,
    values: [program, after, membersMax],
  });
  return rows[0]?.last ?? undefined;
}

/** On a day without visits something may have been spent: the later receipt of an order is no visit. */
const buys = 'd.visits + d.flights > 0';

/**
 * A member is looked up by itself (`offset 0`), so that the plan does not depend on how numbers of programs lie between one
 * another. The frame that ends before the row needs no second walk.
 */
const countQuery = `
  select m.number as member, s.* from member m cross join lateral (
    select min(day) filter (where buys) as first_day,
      max(day) filter (where buys) as last_day,
      count(*) filter (where buys)::int as purchase_days,
      ${carriedSum('sum(times) filter (where day > $4::int - $5::int)')} as frequency,
      ${carriedSum('sum(spend) filter (where day > $4::int - $5::int)')} as monetary,
      ${carriedSum('sum(spend) filter (where day > $4::int - $6::int)')} as trend_spend,
      ${carriedSum('sum(spend) filter (where day > $4::int - 2 * $6::int and day <= $4::int - $6::int)')} as trend_before,
      ${carriedSum('sum(spend) filter (where not (buys and before is null))')} as repeat_spend,
      count(*) filter (where buys and day > $4::int - $5::int)::int as window_days,
      percentile_disc(0.5) within group (order by day - before) filter (where buys and before is not null and day > $4::int - $5::int) as rhythm_days,
      max(day) filter (where buys and day - before > $7::int) as back_day
    from (
      select d.day, d.spend, d.visits + d.flights as times, ${buys} as buys,
        max(d.day) filter (where ${buys}) over (order by d.day rows between unbounded preceding and 1 preceding) as before
      from diary_day d where d.member = m.number and d.day <= $4::int offset 0) days) s
  where m.program = $1 and m.number > $2 and m.number <= $3 and m.status in ('active', 'suspended') and s.purchase_days > 0
  order by m.number`;

interface CountedRow {
  readonly member: MemberNumber;
  readonly first_day: number;
  readonly last_day: number;
  readonly purchase_days: number;
  readonly frequency: number;
  readonly monetary: number;
  readonly trend_spend: number;
  readonly trend_before: number;
  readonly repeat_spend: number;
  readonly window_days: number;
  readonly rhythm_days: number | null;
  readonly back_day: number | null;
}

export interface Range {
  readonly after: number;
  readonly last: number;
}

/** Counts what the members of a range did through a day; those who never bought are left out. */
export async function countMembers(
  db: pg.ClientBase,
  program: number,
  { after, last }: Range,
  segments: Segments,
  throughDay: number,
): Promise<Counted[]> {
  const { windowDays, lifecycle, rhythm } = segments;
  const { rows } = await db.query<CountedRow>({
    name: 'segment-count',
    text: countQuery,
    values: [program, after, last, throughDay, windowDays, lifecycle.trendDays, lifecycle.lapsedDays],
  });
  return rows.map((row) => ({
    member: row.member,
    firstDay: row.first_day,
    lastDay: row.last_day,
    purchaseDays: row.purchase_days,
    frequency: row.frequency,
    monetary: row.monetary,
    trendSpend: row.trend_spend,
    trendBefore: row.trend_before,
    repeatSpend: row.repeat_spend,
    rhythmDays: row.window_days >= rhythm.purchasesMin ? (row.rhythm_days ?? undefined) : undefined,
    backDay: row.back_day ?? undefined,
  }));
}
