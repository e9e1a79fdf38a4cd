/**
 * Writes a turn although a record in it cannot be stored, so that no request's content can stop a shard: the record is found
 * by halves and goes into quarantine under its number.
 */
import { blockHash } from './chain.ts';
import type { Posting } from './postings.ts';
import { bare, postingOf, unwritablePosting } from './postings.ts';
import type { ShardTurn } from './writer.ts';

/** Classes 22 and 23, but not a repeated key: that is our own repeat, never a request's content. */
const dataFault = /^(22|23(?!505))/;

/** Data that PostgreSQL refuses, as opposed to a PostgreSQL that is away. */
export function isDataFault(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && dataFault.test(String(error.code));
}

function part(turn: ShardTurn, postings: readonly Posting[], readAt: number | undefined): ShardTurn {
  const hash = blockHash(
    turn.progress.hash,
    postings.map((posting) => posting.record),
  );
  const own = new Set(postings.map((posting) => posting.record.seq));
  const quarantined = turn.quarantined.filter(({ record }) => own.has(record.seq));
  const decidedStale = turn.decidedStale.filter(({ record }) => own.has(record.seq));
  return { ...turn, postings, quarantined, decidedStale, hash, readAt };
}

/** Books a single record that cannot be stored: with its legs where they are not the fault, else by its number alone. */
async function quarantine(
  turn: ShardTurn,
  reason: string,
  write: (turn: ShardTurn) => Promise<unknown>,
): Promise<void> {
  const { record } = turn.postings[0]!;
  const quarantined = [{ record, reason }];
  const withLegs = part(turn, [postingOf({ ...record, ...bare(record) })], turn.readAt);
  try {
    await write({ ...withLegs, quarantined });
  } catch (error) {
    if (!isDataFault(error)) throw error;
    await write({ ...part(turn, [unwritablePosting(record)], turn.readAt), quarantined });
  }
}

/**
 * Writes a shard's turn although a record in it cannot be stored: halves it until that record stands alone and puts it
 * into quarantine under its number, so that no request content can stop a shard. Other errors are thrown.
 */
export async function writeIsolating(
  turn: ShardTurn,
  write: (turn: ShardTurn) => Promise<unknown>,
): Promise<void> {
  try {
    await write(turn);
  } catch (error) {
    if (!isDataFault(error) || turn.postings.length === 0) throw error;
    if (turn.postings.length === 1) {
      await quarantine(turn, `PostgreSQL cannot store it: ${error.message}`, write);
      return;
    }
    const middle = turn.postings.length >> 1;
    await writeIsolating(part(turn, turn.postings.slice(0, middle), undefined), write);
    await writeIsolating(part(turn, turn.postings.slice(middle), turn.readAt), write);
  }
}
