/** PURE. The pace of a writer. */

/** What a turn wrote, and for how much of it somebody waited. */
export interface Wrote {
  readonly records: number;
  readonly awaited: number;
}

export const nothing: Wrote = { records: 0, awaited: 0 };

/**
 * How long a turn waits for company, by the one before. Turns of 20 records cost writer and PostgreSQL 180 µs a record,
 * full ones 80 (two cores, 2026-11-22). Single movements are written at once; under load the price is half of this more on
 * the mean wait for `ledger`, so turns grow further only where nobody waits for them. Where most wait they come no faster than
 * they are answered: what arrives during one turn is company enough for the next.
 */
export function gatherMs({ records, awaited }: Wrote): number {
  if (records < 4 || records >= 1_000) return 0;
  if (records < 32) return 8;
  if (awaited === 0) return 80;
  return awaited * 2 > records ? 4 : 20;
}
