/**
 * Opens a new epoch of a shard, so that it can be served. Run by the writer that holds the shard's lease: at the very
 * first start, and whenever the shard's scripts are gone (Redis restarted, was promoted, lost its cache) or its journal
 * does not continue the books.
 *
 * The order is the point: (1) the opening record, which makes every script of an older epoch answer `fenced`; (2) what the
 * surviving journal still holds is written to the books; (3) the epoch's row and position commit together; (4) the new
 * scripts are loaded. A crash anywhere leaves a shard that does not serve and is recovered again.
 *
 * Warm: the journal still has the record at the books' position and all after it, so members in Redis stay. Cold: it has
 * not, so everything in Redis counts as not loaded (`cold_below`), and members come back from the books.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Logger } from 'pino';
import { parseStreamId } from '#src/journal.ts';
import { changedChannel, keys } from '#src/wallet/keys.ts';
import { loadScripts, scriptsOf } from '#src/wallet/scripts.ts';
import type { ShardProgress } from './writer.ts';
import {
  announce,
  BrokenLineage,
  readTurns,
  recordsPerTurnMax,
  streamSeqMax,
  writeIsolating,
  writeTurn,
} from './writer.ts';

const drainTurnsMax = 1_000_000;

interface Books {
  readonly connection: pg.ClientBase;
  readonly owner: string;
  readonly redis: Redis;
  readonly log: Logger;
}

async function lastIdUpTo(
  redis: Redis,
  shard: number,
  end: string,
): Promise<{ epoch: number; seq: number } | undefined> {
  const found = (await redis.xrevrange(keys.journal(shard), end, '-', 'COUNT', 1))[0];
  return found && parseStreamId(found[0]);
}

/** (1) The opening record of an epoch above every number seen anywhere. */
async function open(
  books: Books,
  progress: ShardProgress,
): Promise<{ epoch: number; previousLastSeq: number }> {
  const { connection, redis } = books;
  const known = await connection.query<{ epoch: number }>(
    'select coalesce(max(epoch), 0)::int as epoch from epoch where shard = $1',
    [progress.shard],
  );
  const last = await lastIdUpTo(redis, progress.shard, '+');
  const previous = await lastIdUpTo(redis, progress.shard, `${progress.epoch}-${streamSeqMax}`);
  const epoch = Math.max(known.rows[0]!.epoch, last?.epoch ?? 0, progress.epoch) + 1;
  const previousLastSeq = previous?.epoch === progress.epoch ? previous.seq : 0;
  await redis.xadd(
    keys.journal(progress.shard),
    `${epoch}-0`,
    'kind',
    'opened',
    'previousEpoch',
    progress.epoch,
    'previousLastSeq',
    previousLastSeq,
  );
  return { epoch, previousLastSeq };
}

/** (2) Writes what the old epoch's journal holds beyond the books. False when the journal does not continue them. */
async function drain(books: Books, progress: ShardProgress): Promise<boolean> {
  let broken: Error | undefined;
  for (let turn = 0; turn < drainTurnsMax; turn += 1) {
    const turns = await readTurns(books.redis, [progress], (_, error) => {
      broken = error;
    });
    if (broken && !(broken instanceof BrokenLineage)) throw broken;
    if (broken) return false;
    await writeIsolating(turns[0]!, (each) => writeTurn(books.connection, books.owner, [each]));
    await announce(books.redis, turns);
    if (turns[0]!.postings.length < recordsPerTurnMax) return true;
  }
  throw new Error(`shard ${progress.shard}: the journal does not end`);
}

const strangersReadMax = 100_000;

/**
 * Records in the journal that the books do not have although the journal does not continue them: operations that would be
 * lost, or the journal of another installation.
 */
async function strangers(books: Books, shard: number, from: string): Promise<number> {
  // From the newest on: what the books lack is at the end.
  const found = await books.redis.xrevrange(keys.journal(shard), '+', from, 'COUNT', strangersReadMax);
  const operations = found
    .map(([, fields]) => fields[1]?.split('\t', 3)[2])
    .filter((operation) => operation !== undefined && /^[0-9a-f]{32}$/.test(operation));
  if (operations.length === 0) return 0;
  const known = await books.connection.query<{ count: number }>(
    'select count(*)::int as count from operation where operation = any($1::uuid[])',
    [operations],
  );
  return operations.length - known.rows[0]!.count;
}

/** Highest sequence of an epoch that any API process acknowledged, by its own note (a second behind at most). */
async function acknowledgedThrough(books: Books, progress: ShardProgress): Promise<number> {
  const result = await books.connection.query<{ seq: number }>(
    'select coalesce(max(seq), 0)::bigint as seq from acknowledged where shard = $1 and epoch = $2',
    [progress.shard, progress.epoch],
  );
  return result.rows[0]!.seq;
}

/** Recovers a shard and answers its progress in the new epoch. Throws where a person must look first. */
export async function recover(books: Books, progress: ShardProgress): Promise<ShardProgress> {
  const { shard } = progress;
  const opened = await open(books, progress);
  const previousEpoch = progress.epoch;
  // A shard without an epoch has nothing in the books: whatever Redis holds is not ours.
  const warm = previousEpoch > 0 && (await drain(books, progress));
  // Warm or cold, no record may stay behind: after a restore of PostgreSQL the journal can hold later epochs too.
  const unknown = await strangers(books, shard, warm ? `${previousEpoch + 1}-0` : '-');
  if (unknown > 0) {
    throw new BrokenLineage(
      shard,
      `${unknown} records in the journal are unknown to the books and do not continue them: is this the Redis of another installation?`,
    );
  }
  const lost = await acknowledgedThrough(books, progress);
  const lostFrom = lost > progress.seq ? progress.seq + 1 : null;
  const { connection } = books;
  await connection.query('begin');
  try {
    await connection.query('select 1 from position where shard = $1 for update', [shard]);
    const written = await connection.query<{ cold_below: number }>(
      `insert into epoch (shard, epoch, previous_epoch, previous_last_seq, cold_below, lost_from, lost_to)
       values ($1, $2, $3, $4, case when $5 then coalesce((select cold_below from epoch where shard = $1 order by epoch desc limit 1), 1) else $2 end, $6, $7)
       returning cold_below`,
      [
        shard,
        opened.epoch,
        previousEpoch,
        warm ? progress.seq : opened.previousLastSeq,
        warm,
        lostFrom,
        lostFrom === null ? null : lost,
      ],
    );
    await connection.query(
      'update position set epoch = $2, seq = 0, written_through_at = now() where shard = $1',
      [shard, opened.epoch],
    );
    await connection.query('commit');
    await loadScripts(books.redis, { shard, epoch: opened.epoch, coldBelow: written.rows[0]!.cold_below });
  } catch (error) {
    await connection.query('rollback').catch(() => {});
    throw error;
  }
  await books.redis.publish(changedChannel, 'epoch');
  books.log.info(
    { shard, epoch: opened.epoch, warm, lostFrom, lostTo: lostFrom === null ? undefined : lost },
    'shard recovered',
  );
  return { ...progress, epoch: opened.epoch, seq: 0, operation: null };
}

/**
 * Whether a shard is open as it stands: its journal is in the books' epoch and Redis knows the epoch's scripts. Then a
 * writer that takes the lease over just goes on. Answers the epoch's scripts, or undefined where recovery is needed.
 */
export async function openEpoch(
  connection: Pick<pg.ClientBase, 'query'>,
  redis: Redis,
  progress: ShardProgress,
): Promise<ReturnType<typeof scriptsOf> | undefined> {
  const { shard, epoch } = progress;
  const found = await connection.query<{ cold_below: number }>(
    'select cold_below from epoch where shard = $1 and epoch = $2 and epoch = (select max(epoch) from epoch where shard = $1)',
    [shard, epoch],
  );
  const row = found.rows[0];
  const last = await lastIdUpTo(redis, shard, '+');
  if (!row || last?.epoch !== epoch) return undefined;
  const scripts = scriptsOf({ shard, epoch, coldBelow: row.cold_below });
  // All of them: whoever loaded them may have died in between.
  const shas = Object.values(scripts).map((script) => script.sha);
  const exist = (await redis.script('EXISTS', ...shas)) as number[];
  return exist.every((one) => one === 1) ? scripts : undefined;
}
