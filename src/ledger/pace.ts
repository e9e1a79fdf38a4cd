/** PURE. The pace of a writer. */

/** What a turn wrote, and whether somebody waited for any of it. */
export interface Wrote {
  readonly records: number;
  readonly isAwaited: boolean;
}

export const nothing: Wrote = { records: 0, isAwaited: false };

/**
 * How long a turn waits for company, by the one before. Turns of 20 records cost writer and PostgreSQL 180 µs a record,
 * full ones 80 (two cores, 2026-11-22). Single movements are written at once; under load the price is half of this more on
 * the mean wait for `ledger`, so turns grow further only where nobody waits for them.
 */
export function gatherMs({ records, isAwaited }: Wrote): number {
  if (records < 4 || records >= 1_000) return 0;
  if (records < 32) return 8;
  return isAwaited ? 20 : 80;
}
