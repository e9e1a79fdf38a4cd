/**
 * Forgets journal records that are in the books. They are kept for some minutes first, so that a PostgreSQL that comes
 * back a little older can be fed again; a journal over its size keeps nothing that is written. The record at the books'
 * position always stays: it is the witness of lineage.
 */
import type { Redis } from 'ioredis';
import { keys } from '#src/wallet/keys.ts';
import type { ShardProgress } from './writer.ts';

/** A position and when it was reached. */
export interface Reached {
  readonly at: number;
  readonly seq: number;
}

export interface Trimming {
  readonly number: number;
  /** Digest of the epoch's trim script, which refuses a journal of another epoch. */
  readonly sha: string;
  readonly progress: ShardProgress;
  /** Oldest first; what is used up is removed. */
  readonly reached: Reached[];
  readonly journalKeepMs: number;
  readonly journalBytesMax: number;
}

/** Trims one journal; answers how many of its records are not in the books. */
export async function trimJournal(redis: Redis, trimming: Trimming): Promise<number> {
  const { number, sha, progress, reached } = trimming;
  const key = keys.journal(number);
  const now = Date.now();
  let keepFrom: number | undefined;
  while (reached[0] && reached[0].at < now - trimming.journalKeepMs) keepFrom = reached.shift()!.seq;
  const bytes = await redis.memory('USAGE', key, 'SAMPLES', 2);
  if (Number(bytes) > trimming.journalBytesMax) keepFrom = progress.seq;
  if (keepFrom !== undefined && keepFrom > 0) await redis.evalsha(sha, 1, key, keepFrom, progress.seq);
  const last = await redis.xrevrange(key, '+', '-', 'COUNT', 1);
  const lastSeq = Number(last[0]?.[0].split('-')[1] ?? progress.seq);
  return Math.max(0, lastSeq - progress.seq);
}
