/** The diary in tests: a follower of the books in this process, and what it says of a member. */
import type pg from 'pg';
import type { App } from '#src/app.ts';
import { createFollower, type Follower, type Hook } from '#src/diary/follower.ts';
import { unread } from '#src/diary/unread.ts';
import { type MemberNumber, parseMemberId } from '#src/values.ts';
import type { Answer } from './client.ts';
import { waitFor } from './waiting.ts';

/** What members did on their days: [day, visits, spend, flights, distance], without days of which nothing is left. */
export type Days = readonly (readonly [
  day: number,
  visits: number,
  spend: number,
  flights: number,
  distance: number,
])[];

export function followerOf(app: App, hook?: Hook): Follower {
  const { pool, programs, telemetry } = app;
  return createFollower({ pool, programs, ...telemetry, ...(hook ? { hook } : {}) });
}

/** Reads everything that is booked. */
export async function readAll(app: App, follower: Follower): Promise<void> {
  await waitFor(
    'the diary has read the books',
    async () => {
      await follower.turn();
      return !(await unread.hasUnread(app.pool));
    },
    30_000,
  );
}

export async function daysOf(pool: pg.Pool, member: MemberNumber): Promise<Days> {
  const { rows } = await pool.query<Record<'day' | 'visits' | 'spend' | 'flights' | 'distance', number>>(
    `select day, visits, spend, flights, distance from diary_day
     where member = $1 and (visits, spend, flights, distance) <> (0, 0, 0, 0) order by day`,
    [member],
  );
  return rows.map(({ day, visits, spend, flights, distance }) => [day, visits, spend, flights, distance]);
}

/** [currency, day, points] where anything is left. */
export async function pointsOf(
  pool: pg.Pool,
  member: MemberNumber,
): Promise<(readonly [currency: number, day: number, points: number])[]> {
  const { rows } = await pool.query<Record<'currency' | 'day' | 'earned', number>>(
    'select currency, day, earned from diary_points where member = $1 and earned <> 0 order by currency, day',
    [member],
  );
  return rows.map(({ currency, day, earned }) => [currency, day, earned]);
}

export function memberIn(answer: Answer): MemberNumber {
  return parseMemberId(String(answer.body.member))!;
}

/** The number of a date such as 2026-11-23. */
export function dayOf(date: string): number {
  return Date.parse(date) / 86_400_000;
}
