/**
 * The first act of every recovery: nobody may decide anything in the shard any more. An opening record of an epoch above
 * every number seen anywhere makes each script of an older epoch answer `fenced`; what the journal holds below it never
 * changes again and can be compared at leisure.
 *
 * Before that the Redis must be ours: a new database beside an old Redis, or the other way round, is two installations,
 * and fencing would stop a shard of somebody else.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Logger } from 'pino';
import { parseStreamId } from '#src/journal.ts';
import { identityOf } from '#src/platform/redis.ts';
import { keys } from '#src/wallet/keys.ts';
import { openingFields, openingOf, readEntry } from './journal-entry.ts';
import { BrokenLineage, LostLease, type ShardProgress } from './writer.ts';

/** What recovery works on. */
export interface RecoveryStores {
  /** The writer's own connection, on which the lease is checked with every commit. */
  readonly connection: pg.ClientBase;
  readonly owner: string;
  readonly redis: Redis;
  readonly log: Logger;
  /** Called whenever a long recovery has come a step further, so that the writer is not taken for stuck. */
  alive(): void;
  /** Told the term that the lease has from now on. */
  raised(term: number): void;
}

export interface Fence {
  /** Everything in the journal below this epoch is at rest. */
  readonly epoch: number;
  /** The epoch that recovery opens next; nobody else can open one of this number. */
  readonly opensAt: number;
  /** The shard's progress under the raised term. */
  readonly progress: ShardProgress;
}

async function installationId(connection: Pick<pg.ClientBase, 'query'>): Promise<string> {
  const { rows } = await connection.query<{ id: string }>('select id from installation');
  if (!rows[0]) throw new Error('the database holds no installation');
  return rows[0].id;
}

const knownReadMax = 1_000;

/** Whether the books know any of the newest records: how a journal is told that no installation is noted on. */
async function isContinued({ connection, redis }: RecoveryStores, shard: number): Promise<boolean> {
  const found = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', knownReadMax);
  const operations = found.flatMap(([streamId, fields]) => {
    const { record } = readEntry(streamId, fields);
    return record.kind === 'opened' ? [] : [record.operation];
  });
  if (operations.length === 0) return true;
  const known = await connection.query('select 1 from operation where operation = any($1::uuid[]) limit 1', [
    operations,
  ]);
  return known.rows.length > 0;
}

async function checkInstallation(stores: RecoveryStores, shard: number): Promise<void> {
  const { connection, redis } = stores;
  const own = await installationId(connection);
  const noted = await redis.hget(keys.opened(shard), 'installation');
  if (noted === own) return;
  if (noted !== null || !(await isContinued(stores, shard))) {
    throw new BrokenLineage(
      shard,
      'this Redis belongs to another installation than the database: its journal is refused; connect the Redis of this database, or an empty one',
    );
  }
  await redis.hset(keys.opened(shard), 'installation', own);
}

async function highestKnownEpoch(
  connection: pg.ClientBase,
  shard: number,
): Promise<{ opened: number; acknowledged: number }> {
  const { rows } = await connection.query<{ opened: number; acknowledged: number }>(
    `select (select coalesce(max(epoch), 0)::int from epoch where shard = $1) as opened,
       (select coalesce(max(epoch), 0)::int from acknowledged where shard = $1) as acknowledged`,
    [shard],
  );
  return rows[0]!;
}

/** A number above every epoch seen anywhere: the books, the processes' notes, the stream itself. */
async function epochAbove({ connection, redis }: RecoveryStores, progress: ShardProgress): Promise<number> {
  const key = keys.journal(progress.shard);
  const { opened, acknowledged } = await highestKnownEpoch(connection, progress.shard);
  const exists = (await redis.exists(key)) === 1;
  const info = exists ? ((await redis.xinfo('STREAM', key)) as unknown[]) : [];
  const generated = String(info[info.indexOf('last-generated-id') + 1] ?? '0-0');
  const noted = Number((await redis.hget(keys.opened(progress.shard), 'epoch')) ?? 0);
  const inStream = exists ? parseStreamId(generated).epoch : 0;
  return Math.max(opened, acknowledged, noted, inStream, progress.epoch);
}

/**
 * Reserves a number for the fence and the one after it for the epoch, by raising the lease's own term to that. A writer
 * that has lost its lease gets none, and one that stood still since holds numbers that nobody else has used: its late
 * opening record cannot pass for another one's. (What goes wrong otherwise: test/protocol.)
 */
async function reserve(stores: RecoveryStores, progress: ShardProgress): Promise<Fence> {
  const { shard, term } = progress;
  const { rows } = await stores.connection.query<{ term: number }>(
    `update lease set term = greatest(term, $4::bigint) + 2 where shard = $1 and owner = $2 and term = $3 returning term`,
    [shard, stores.owner, term, await epochAbove(stores, progress)],
  );
  const raised = rows[0]?.term;
  if (raised === undefined) throw new LostLease(`shard ${shard} has another writer`);
  stores.raised(raised);
  return { epoch: raised - 1, opensAt: raised, progress: { ...progress, term: raised } };
}

/** Fences the shard. A fence that stands already, because a recovery was interrupted, is used again. */
export async function fenceOff(stores: RecoveryStores, progress: ShardProgress): Promise<Fence> {
  const { redis } = stores;
  const { shard } = progress;
  await checkInstallation(stores, shard);
  const key = keys.journal(shard);
  const last = (await redis.xrevrange(key, '+', '-', 'COUNT', 1))[0];
  // Without a journal every script answers `fenced` by itself: only recovery creates one.
  const reserved = await reserve(stores, progress);
  if (!last && (await redis.exists(key)) === 0) return reserved;
  const standing = last && openingOf(last[0], last[1]);
  if (standing?.isFence) return { ...reserved, epoch: standing.epoch };
  const { epoch } = reserved;
  const fields = openingFields({
    previousEpoch: progress.epoch,
    previousLastSeq: progress.seq,
    coldBelow: epoch,
    lostFrom: undefined,
    lostTo: undefined,
    isFence: true,
  });
  await redis.xadd(key, `${epoch}-0`, ...fields);
  return reserved;
}

/** An epoch as a writer serves it: which Redis it was opened on, and one of its scripts as the mark of them all. */
export interface Served {
  readonly shard: number;
  readonly identity: string;
  readonly sha: string;
}

/** Of the shards served, those whose fence has fallen: another Redis answers, or it does not know their scripts. */
export async function fallenFences(redis: Redis, served: readonly Served[]): Promise<number[]> {
  if (served.length === 0) return [];
  const identity = await identityOf(redis);
  const exist = (await redis.script('EXISTS', ...served.map(({ sha }) => sha))) as number[];
  return served.filter((one, i) => exist[i] !== 1 || one.identity !== identity).map(({ shard }) => shard);
}
