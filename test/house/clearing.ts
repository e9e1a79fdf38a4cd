/** Clearing in tests: a follower of the books in this process, and what it and the ledger say of a partner. */
import type pg from 'pg';
import type { App } from '#src/app.ts';
import { type ClearingFollower, createClearingFollower } from '#src/partners/clearing/follower.ts';
import { unread } from '#src/partners/clearing/reading.ts';
import { entriesBetween, type StoredEntry } from '#src/partners/clearing/store.ts';
import { waitFor } from './waiting.ts';

export function clearingOf({ pool, programs, telemetry }: App): ClearingFollower {
  return createClearingFollower({ pool, programs, ...telemetry });
}

/** Reads everything that is booked. */
export async function clearAll(pool: pg.Pool, follower: ClearingFollower): Promise<void> {
  await waitFor(
    'clearing has read the books',
    async () => {
      await follower.turn();
      return !(await unread.hasUnread(pool));
    },
    30_000,
  );
}

/** Every entry of a partner, in the order of its operations. */
export async function allEntries(pool: pg.Pool, partner: number): Promise<StoredEntry[]> {
  const found: StoredEntry[] = [];
  const always = { from: 0, until: Date.UTC(2100, 0, 1) };
  for await (const chunk of entriesBetween(pool, { partner, by: 'at', ...always })) found.push(...chunk);
  return found;
}

/** The partner's account in the ledger, by currency. */
export async function accountOf(pool: pg.Pool, partner: number): Promise<Record<number, number>> {
  const { rows } = await pool.query<{ currency: number; points: number }>(
    `select currency, sum(points)::float8 as points from account_balance
     where account = 'partner' and party = $1 group by currency having sum(points) <> 0`,
    [partner],
  );
  return Object.fromEntries(rows.map(({ currency, points }) => [currency, points]));
}

export function sumByCurrency(entries: readonly { currency: number; points: number }[]) {
  const sums: Record<number, number> = {};
  for (const { currency, points } of entries) sums[currency] = (sums[currency] ?? 0) + points;
  return Object.fromEntries(Object.entries(sums).filter(([, points]) => points !== 0));
}
