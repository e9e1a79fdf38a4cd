/**
 * Compares a fenced journal with the books and writes what it holds beyond them.
 *
 * A journal holds one or more epochs, each opened by a record that says where the one before it ended. From the books'
 * position on this walks them: the record at the position must be the one that PostgreSQL has, the following ones are
 * written, and where the epoch ends as the next opening record says, the walk goes on there. So a PostgreSQL that came back
 * older is fed again through any number of epochs.
 *
 * What it may find instead:
 *   lost      the journal ends before the books, or is gone: Redis is older or was emptied
 *   diverged  another operation stands where the books have one: Redis was older and went on from there
 *   behind    the journal begins after the books end: PostgreSQL is older than the kept minutes, and only a person can say
 *             whether its copy is to be gone on with
 */

import { parseStreamId } from '#src/journal.ts';
import { keys } from '#src/wallet/keys.ts';
import type { Fence, RecoveryStores } from './fence.ts';
import { writeIsolating } from './isolating.ts';
import { type Opening, openingOf, readEntry } from './journal-entry.ts';
import type { ShardProgress } from './writer.ts';
import { announce, BrokenLineage, readTurns, recordsPerTurnMax, streamSeqMax, writeTurn } from './writer.ts';

export type Lineage = 'complete' | 'lost' | 'diverged' | 'behind';

export interface Walked {
  readonly lineage: Lineage;
  /** The journal may hold records that the books left behind: all of it must be looked through. */
  readonly hasLeftovers: boolean;
}

const turnsMax = 1_000_000;
const epochsMax = 10_000;

/** Writes what the journal holds of the position's epoch. False where it does not continue the books. */
export async function drainEpoch(
  stores: RecoveryStores,
  progress: ShardProgress,
  lastSeq: number | string = streamSeqMax,
): Promise<boolean> {
  for (let turn = 0; turn < turnsMax; turn += 1) {
    let broken: Error | undefined;
    const turns = await readTurns(
      stores.redis,
      [progress],
      (_, error) => {
        broken = error;
      },
      lastSeq,
    );
    if (broken instanceof BrokenLineage) return false;
    if (broken) throw broken;
    const written = turns[0]!.postings.length;
    await writeIsolating(turns[0]!, (each) => writeTurn(stores.connection, stores.owner, [each]));
    await announce({ of: () => stores.redis }, turns);
    stores.alive();
    if (written < recordsPerTurnMax) return true;
  }
  throw new Error(`shard ${progress.shard}: the journal does not end`);
}

/** The opening records below the fence that opened a serving epoch, and whether an epoch stands there without one. */
async function openingsOf(
  { redis }: RecoveryStores,
  shard: number,
  after: number,
  fence: Fence,
): Promise<{ openings: Opening[]; isCut: boolean }> {
  const openings: Opening[] = [];
  let isCut = false;
  let epoch = after;
  for (let i = 0; i < epochsMax; i += 1) {
    const [first] = await redis.xrange(keys.journal(shard), `${epoch + 1}-0`, `${fence.epoch}-0`, 'COUNT', 1);
    if (!first) return { openings, isCut };
    epoch = parseStreamId(first[0]).epoch;
    if (epoch >= fence.epoch) return { openings, isCut };
    const opening = openingOf(first[0], first[1]);
    if (!opening) isCut = true;
    else if (!opening.isFence) openings.push(opening);
  }
  throw new Error(`shard ${shard}: the journal holds more than ${epochsMax} epochs`);
}

/** What stands at the books' position: the same record, another one, nothing although later ones are there, or nothing. */
async function witness(
  { redis }: RecoveryStores,
  { shard, epoch, seq, operation }: ShardProgress,
): Promise<'same' | 'other' | 'trimmed' | 'none'> {
  if (epoch === 0) return 'same';
  const key = keys.journal(shard);
  const [found] = await redis.xrange(key, `${epoch}-${seq}`, `${epoch}-${streamSeqMax}`, 'COUNT', 1);
  if (!found) return 'none';
  if (found[0] !== `${epoch}-${seq}`) return 'trimmed';
  const { record } = readEntry(found[0], found[1]);
  return (record.kind === 'opened' ? null : record.operation) === operation ? 'same' : 'other';
}

/** Enters an epoch that the journal has and the books, being older, do not. */
async function adopt(
  { connection }: RecoveryStores,
  progress: ShardProgress,
  opening: Opening,
): Promise<void> {
  await connection.query('begin');
  try {
    await connection.query(
      `insert into epoch (shard, epoch, previous_epoch, previous_last_seq, cold_below, lost_from, lost_to)
       values ($1, $2, $3, $4, $5, $6, $7)`,
      [
        progress.shard,
        opening.epoch,
        opening.previousEpoch,
        opening.previousLastSeq,
        opening.coldBelow,
        opening.lostFrom ?? null,
        opening.lostTo ?? null,
      ],
    );
    await connection.query(
      'update position set epoch = $2, seq = 0 where shard = $1 and epoch = $3 and seq = $4',
      [progress.shard, opening.epoch, progress.epoch, progress.seq],
    );
    await connection.query('commit');
  } catch (error) {
    await connection.query('rollback').catch(() => {});
    throw error;
  }
  Object.assign(progress, { epoch: opening.epoch, seq: 0, operation: null });
}

/**
 * Whether the journal has more of a closed epoch than the books. A Redis does that by itself: it drops the last script from
 * a file that was cut within its EXEC, but leaves the script's commands in the file, and at the next start they are
 * carried out (seen with 7.0.15; `rewriteFile` closes that hole).
 */
async function exceedsBooks(
  { connection, redis }: RecoveryStores,
  progress: ShardProgress,
): Promise<boolean> {
  const { shard } = progress;
  const closed = await connection.query<{ epoch: number; seq: number }>(
    'select previous_epoch as epoch, previous_last_seq as seq from epoch where shard = $1 and previous_epoch > 0',
    [shard],
  );
  const [first] = await redis.xrange(keys.journal(shard), '-', '+', 'COUNT', 1);
  const from = first ? parseStreamId(first[0]).epoch : Number.POSITIVE_INFINITY;
  for (const { epoch, seq } of closed.rows.filter((row) => row.epoch >= from)) {
    const range = [`${epoch}-${streamSeqMax}`, `${epoch}-0`] as const;
    const [last] = await redis.xrevrange(keys.journal(shard), ...range, 'COUNT', 1);
    if (last && parseStreamId(last[0]).seq > seq) return true;
  }
  return false;
}

/** Walks the journal from the books' position to the fence; moves `progress` and the books as far as it comes. */
export async function walk(stores: RecoveryStores, progress: ShardProgress, fence: Fence): Promise<Walked> {
  let hasLeftovers = await exceedsBooks(stores, progress);
  for (let i = 0; i < epochsMax; i += 1) {
    const { openings, isCut } = await openingsOf(stores, progress.shard, progress.epoch, fence);
    // Of several recoveries that began at the same epoch only the last one can have come to its end.
    const next = openings.findLast((opening) => opening.previousEpoch === progress.epoch);
    const isAtEnd = next?.previousLastSeq === progress.seq;
    // What a cold recovery left behind is not the journal of the books: it is entered only where they already end there.
    const isCold = next !== undefined && next.coldBelow === next.epoch;
    if (isCold && !isAtEnd) return { lineage: 'behind', hasLeftovers };
    if (!isCold) {
      const found = await witness(stores, progress);
      // Not behind but replaced: the opening record came into another Redis than the one that was found to be warm.
      if (isAtEnd && found !== 'same') return { lineage: 'diverged', hasLeftovers };
      if (found === 'trimmed') return { lineage: 'behind', hasLeftovers };
      if (found === 'other') return { lineage: 'diverged', hasLeftovers };
      if (found === 'none')
        return { lineage: isCut || openings.length > 0 ? 'behind' : 'lost', hasLeftovers };
      const isDense = progress.epoch === 0 || (await drainEpoch(stores, progress, next?.previousLastSeq));
      if (!isDense) return { lineage: 'diverged', hasLeftovers };
    }
    if (!next) return { lineage: isCut || openings.length > 0 ? 'behind' : 'complete', hasLeftovers };
    if (next.previousLastSeq !== progress.seq) return { lineage: 'behind', hasLeftovers };
    hasLeftovers ||= isCold;
    await adopt(stores, progress, next);
  }
  throw new Error(`shard ${progress.shard}: the journal holds more than ${epochsMax} epochs`);
}
