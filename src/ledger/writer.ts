/**
 * The ledger writer: moves journal records into the books, exactly once and in order.
 *
 * A turn reads every shard that this process holds from its position on, inclusive: the record at the position must be
 * the one PostgreSQL has (lineage), the following ones must be dense. Pure `postings.ts` turns them into entries, and one
 * database transaction over all shards writes entries, balances, holds, block hashes and positions. Position and data
 * commit together, so after an unknown COMMIT the position, read again, tells the truth.
 * (One transaction over all shards writes 19.9k records/s where one a shard writes 8.1k: research/protocol.md §14.)
 *
 * States of a shard: recovering → serving → stopped. `stopped` is left only by a person: its journal has a record that
 * cannot be read, or does not continue what the books have. Nothing is ever skipped.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { JournalRecord } from '#src/journal.ts';
import { UnreadableRecord } from '#src/journal.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { keys, writtenChannel } from '#src/wallet/keys.ts';
import { isRedirection } from '#src/wallet/problems.ts';
import type { Conflict, ShardBatch } from './books.ts';
import { isReferenceUsed, prepare, sendPostings, usedReferences } from './books.ts';
import { blockHash } from './chain.ts';
import { readEntry, type Stale } from './journal-entry.ts';
import type { Posting } from './postings.ts';
import { postingOf, suspendedPosting, UnbalancedRecord } from './postings.ts';
import { type Statements, statementsOn } from './statements.ts';

export const recordsPerTurnMax = 1_000;
/** Largest sequence of a stream id, which is a 64-bit number. */
export const streamSeqMax = '18446744073709551615';

/** Where a shard stands in the books, as this writer knows it. */
export interface ShardProgress {
  readonly shard: number;
  readonly term: number;
  epoch: number;
  seq: number;
  hash: Buffer;
  /** The operation at the position; null at an opening record. */
  operation: string | null;
}

export interface Quarantined {
  readonly record: JournalRecord;
  readonly reason: string;
}

/** A record that was decided on stale balances and got another number. */
export interface DecidedStale {
  readonly record: JournalRecord;
  readonly stale: Stale;
}

/** What one shard contributes to a turn. */
export interface ShardTurn extends ShardBatch {
  readonly progress: ShardProgress;
  readonly quarantined: readonly Quarantined[];
  readonly decidedStale: readonly DecidedStale[];
  readonly hash: Buffer;
  /** Everything acknowledged before this time is in the batch or already written; undefined when more is waiting. */
  readonly readAt: number | undefined;
}

/** The journal does not continue what the books have. */
export class BrokenLineage extends Error {
  readonly shard: number;
  constructor(shard: number, reason: string) {
    super(`shard ${shard}: ${reason}`);
    this.name = 'BrokenLineage';
    this.shard = shard;
  }
}

/** Another writer holds the shard now. */
export class LostLease extends Error {}

function postingOrSuspense(record: JournalRecord, quarantined: Quarantined[]): Posting {
  try {
    return postingOf(record);
  } catch (error) {
    if (!(error instanceof UnbalancedRecord)) throw error;
    quarantined.push({ record, reason: error.message });
    return suspendedPosting(record);
  }
}

/** Checks lineage and density of what a shard's journal holds from the position on, and makes its postings. */
export function turnOf(
  progress: ShardProgress,
  entries: readonly [string, string[]][],
  readAt: number,
): ShardTurn {
  const { shard, epoch, seq } = progress;
  const first = entries[0];
  if (!first) throw new BrokenLineage(shard, `the journal has nothing at ${epoch}-${seq}`);
  const witness = readEntry(first[0], first[1]).record;
  if (witness.epoch !== epoch || witness.seq !== seq)
    throw new BrokenLineage(shard, `the journal starts at ${first[0]}, not at ${epoch}-${seq}`);
  const operation = witness.kind === 'opened' ? null : witness.operation;
  if (operation !== progress.operation)
    throw new BrokenLineage(shard, `another operation stands at ${epoch}-${seq}`);
  const postings: Posting[] = [];
  const quarantined: Quarantined[] = [];
  const decidedStale: DecidedStale[] = [];
  for (let i = 1; i < entries.length; i += 1) {
    const [streamId, fields] = entries[i]!;
    const { record, stale } = readEntry(streamId, fields);
    if (record.kind === 'opened')
      throw new BrokenLineage(shard, `an opening record stands inside epoch ${epoch}`);
    if (record.seq !== seq + i)
      throw new BrokenLineage(shard, `number ${seq + i} of epoch ${epoch} is missing`);
    postings.push(postingOrSuspense(record, quarantined));
    if (stale) decidedStale.push({ record, stale });
  }
  const hash =
    postings.length === 0
      ? progress.hash
      : blockHash(
          progress.hash,
          postings.map((p) => p.record),
        );
  return {
    shard,
    progress,
    postings,
    quarantined,
    decidedStale,
    hash,
    readAt: entries.length <= recordsPerTurnMax ? readAt : undefined,
  };
}

/**
 * Reads what the journals of these shards hold from their positions on, through a number where one is given; an error
 * belongs to its shard alone.
 */
export async function readTurns(
  redis: Redis,
  shards: readonly ShardProgress[],
  onBroken: (shard: number, error: Error) => void,
  lastSeq: number | string = streamSeqMax,
): Promise<ShardTurn[]> {
  const readAt = Date.now();
  const pipeline = redis.pipeline();
  for (const { shard, epoch, seq } of shards) {
    pipeline.xrange(
      keys.journal(shard),
      `${epoch}-${seq}`,
      `${epoch}-${lastSeq}`,
      'COUNT',
      recordsPerTurnMax + 1,
    );
  }
  const replies = (await pipeline.exec()) ?? [];
  const turns: ShardTurn[] = [];
  shards.forEach((progress, i) => {
    const [error, entries] = replies[i] ?? [new Error('no reply'), []];
    if (error && !isRedirection(error)) throw error;
    try {
      if (error) throw error;
      turns.push(turnOf(progress, entries as [string, string[]][], readAt));
    } catch (fault) {
      const isOfShard = fault instanceof BrokenLineage || fault instanceof UnreadableRecord;
      if (!isOfShard && fault !== error) throw fault;
      onBroken(progress.shard, fault as Error);
    }
  });
  return turns;
}

const lockPositions = `select p.shard, p.epoch, p.seq, l.term, l.owner from position p join lease l using (shard)
  where p.shard = any($1::int[]) order by p.shard for update of p`;

interface LockedRow {
  shard: number;
  epoch: number;
  seq: number;
  term: number;
  owner: string | null;
}

/** Throws where the positions that were locked are not those that the turns were read from, or not ours. */
function checkLocked(locked: readonly LockedRow[], owner: string, turns: readonly ShardTurn[]): void {
  for (const { progress } of turns) {
    const row = locked.find((r) => r.shard === progress.shard);
    if (row?.owner !== owner || row.term !== progress.term)
      throw new LostLease(`shard ${progress.shard} has another writer`);
    if (row.epoch !== progress.epoch || row.seq !== progress.seq) {
      throw new LostLease(
        `shard ${progress.shard} stands at ${row.epoch}-${row.seq}, not at ${progress.epoch}-${progress.seq}`,
      );
    }
  }
}

function sendPositions(tx: Statements, turns: readonly ShardTurn[]): void {
  tx.send(
    `update position p set seq = n.seq, hash = n.hash, operation = n.operation, written_through_at = coalesce(to_timestamp(n.read_at / 1000.0), p.written_through_at)
     from unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::float8[], $5::uuid[]) as n(shard, seq, hash, read_at, operation) where p.shard = n.shard`,
    [
      turns.map((t) => t.shard),
      turns.map((t) => t.progress.seq + t.postings.length),
      turns.map((t) => t.hash),
      turns.map((t) => t.readAt ?? null),
      turns.map((t) => t.postings.at(-1)?.record.operation ?? t.progress.operation),
    ],
    'positions',
  );
  const filled = turns.filter((turn) => turn.postings.length > 0);
  if (filled.length === 0) return;
  tx.send(
    `insert into block (shard, epoch, first_seq, last_seq, previous_hash, hash)
     select * from unnest($1::smallint[], $2::int[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])`,
    [
      filled.map((t) => t.shard),
      filled.map((t) => t.progress.epoch),
      filled.map((t) => t.progress.seq + 1),
      filled.map((t) => t.progress.seq + t.postings.length),
      filled.map((t) => t.progress.hash),
      filled.map((t) => t.hash),
    ],
    'blocks',
  );
}

function sendQuarantine(tx: Statements, { shard, quarantined, decidedStale }: ShardTurn): void {
  for (const { record, reason } of quarantined)
    tx.send(
      'insert into quarantine (shard, epoch, seq, member, reason, record) values ($1, $2, $3, $4, $5, $6)',
      [shard, record.epoch, record.seq, record.member, reason, JSON.stringify(record)],
    );
  for (const { record, stale } of decidedStale)
    tx.send(
      'insert into decided_stale (operation, shard, member, answered_epoch, answered_seq, shortfall) values ($1, $2, $3, $4, $5, $6)',
      [
        record.operation,
        shard,
        record.member,
        stale.answered.epoch,
        stale.answered.seq,
        JSON.stringify(stale.shortfall),
      ],
    );
}

/** Where a shard stands when a turn of it has been written. */
export function progressAfter({ progress, postings, hash }: ShardTurn): ShardProgress {
  const last = postings.at(-1);
  return last
    ? { ...progress, seq: last.record.seq, hash, operation: last.record.operation }
    : { ...progress };
}

async function writeOnce(
  connection: pg.ClientBase,
  owner: string,
  turns: readonly ShardTurn[],
  references: { readonly mayBeUsed: boolean },
): Promise<Conflict[]> {
  const filled = turns.filter((turn) => turn.postings.length > 0);
  const tx = statementsOn(connection);
  let used: ReadonlyMap<string, string> | undefined;
  try {
    const begun = tx.send('begin');
    const locked = tx.send<LockedRow>(lockPositions, [turns.map((turn) => turn.shard)], 'lock-positions');
    tx.flush();
    for (const turn of filled) prepare(turn);
    // Without a BEGIN that stands, each statement behind it would be a database transaction of its own.
    await begun;
    checkLocked((await locked).rows, owner, turns);
    if (references.mayBeUsed) used = await usedReferences(connection, filled);
    sendPostings(tx, filled, used);
    for (const turn of filled) sendQuarantine(tx, turn);
    sendPositions(tx, turns);
    await tx.answered();
    await connection.query('commit');
  } catch (error) {
    tx.flush();
    await connection.query('rollback').catch(() => {});
    throw error;
  }
  for (const turn of filled) Object.assign(turn.progress, progressAfter(turn));
  return [...(used ?? [])].map(([operation, first]) => ({ operation, first }));
}

/** Writes a turn in one database transaction on the writer's own connection, and moves the progress on. */
export async function writeTurn(
  connection: pg.ClientBase,
  owner: string,
  turns: readonly ShardTurn[],
): Promise<Conflict[]> {
  try {
    return await writeOnce(connection, owner, turns, { mayBeUsed: false });
  } catch (error) {
    if (!isReferenceUsed(error)) throw error;
    return writeOnce(connection, owner, turns, { mayBeUsed: true });
  }
}

/** Tells everybody who waits how far the books reach now. */
export async function announce(nodes: Pick<RedisNodes, 'of'>, turns: readonly ShardTurn[]): Promise<void> {
  const reached = turns
    .filter((t) => t.postings.length > 0)
    .map(({ progress }) => [progress.shard, progress.epoch, progress.seq] as const);
  const first = reached[0];
  // The nodes of a cluster pass on to each other what is published on any of them.
  if (first) await nodes.of(first[0]).publish(writtenChannel, JSON.stringify(reached));
}

/**
 * Announcements of turns one after the other. Redis answers one only when it has synced its file, so nobody waits for that
 * but the next announcement: a tenth more accruals a second that wait for the books, 6 % more of the others (medians of four
 * pairs of runs, 256 connections, a busy machine).
 */
export function createAnnouncer(nodes: Pick<RedisNodes, 'of'>, failed: (error: unknown) => void) {
  let last: Promise<void> = Promise.resolve();
  return {
    async announce(turns: readonly ShardTurn[]): Promise<void> {
      await last;
      last = announce(nodes, turns).catch(failed);
    },
    ended: () => last,
  };
}

interface ProgressRow {
  shard: number;
  epoch: number;
  seq: number;
  hash: Buffer;
  operation: string | null;
}

/** Reads where the books stand, for shards whose lease this writer has just taken or whose COMMIT is unknown. */
export async function readProgress(
  connection: Pick<pg.ClientBase, 'query'>,
  leases: readonly { shard: number; term: number }[],
): Promise<ShardProgress[]> {
  const shards = leases.map((lease) => lease.shard);
  // Two statements: one that waits for a lock would still see the operations of before the wait.
  await connection.query('rollback');
  await connection.query('begin');
  await connection.query('select 1 from position where shard = any($1::int[]) order by shard for update', [
    shards,
  ]);
  const result = await connection.query<ProgressRow>(
    `select shard, epoch, seq, hash, case when seq > 0 then replace(operation::text, '-', '') end as operation
     from position where shard = any($1::int[]) order by shard`,
    [shards],
  );
  await connection.query('commit');
  return result.rows.map((row) => ({
    ...row,
    term: leases.find((lease) => lease.shard === row.shard)!.term,
  }));
}
