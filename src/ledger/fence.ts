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
import {
  digestsIn,
  type Script,
  type ScriptName,
  type ScriptVersion,
  type ShardEpoch,
} from '#src/wallet/scripts.ts';
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

/**
 * First line of every script by which a recovery writes. A Redis at its maxmemory refuses writes that need memory, and who
 * makes room (eviction, trimming) needs an open epoch: without this a shard that falls while Redis is full stays closed for
 * good. A recovery writes a few hundred bytes, and what it books again.
 */
export const evenWhenFull = '#!lua flags=allow-oom';

/** KEYS  opened; ARGV  the installation's id. */
const noteInstallation = `${evenWhenFull}
redis.call('HSET', KEYS[1], 'installation', ARGV[1])
`;

/** KEYS  journal; ARGV  epoch, the fields of the record. */
const appendFence = `${evenWhenFull}
redis.call('XADD', KEYS[1], ARGV[1] .. '-0', unpack(ARGV, 2))
`;

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
  await redis.eval(noteInstallation, 1, keys.opened(shard), own);
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
  await redis.eval(appendFence, 1, key, epoch, ...fields);
  return reserved;
}

/** An epoch as Redis serves it. */
export interface OpenEpoch extends ShardEpoch {
  /** Those of this version. */
  readonly scripts: Readonly<Record<ScriptName, Script>>;
  /** Which Redis the epoch was opened on. */
  readonly identity: string;
}

/** What became of the epochs that a writer serves. */
export interface Fences {
  /** Shards whose fence has fallen: another Redis answers, or it knows the scripts of no version. */
  readonly fallen: readonly number[];
  /** Epochs in which a version has come into use since it was looked at last, with the versions to be loaded. */
  readonly lacking: readonly { readonly open: OpenEpoch; readonly versions: readonly ScriptVersion[] }[];
}

/** By version. A digest costs a few microseconds, and there are hundreds of them four times a second. */
const digests = new WeakMap<OpenEpoch, Map<string, readonly string[]>>();

function digestsOf(open: OpenEpoch, version: ScriptVersion): readonly string[] {
  const ofEpoch = digests.get(open) ?? new Map<string, readonly string[]>();
  digests.set(open, ofEpoch);
  const found = ofEpoch.get(version.version) ?? digestsIn(open, version);
  ofEpoch.set(version.version, found);
  return found;
}

/** Looks whether Redis still serves these epochs, in all versions. */
export async function fencesOf(
  redis: Redis,
  served: readonly OpenEpoch[],
  versions: readonly ScriptVersion[],
): Promise<Fences> {
  if (served.length === 0) return { fallen: [], lacking: [] };
  const identity = await identityOf(redis);
  const shas = new Set(served.flatMap((open) => versions.flatMap((version) => digestsOf(open, version))));
  const exist = (await redis.script('EXISTS', ...shas)) as number[];
  const present = new Set([...shas].filter((_, i) => exist[i] === 1));
  const fallen: number[] = [];
  const lacking: { open: OpenEpoch; versions: ScriptVersion[] }[] = [];
  for (const open of served) {
    // Two versions share the scripts that no change has touched, so a version is there with all of them or not at all.
    const missing = versions.filter((version) => !digestsOf(open, version).every((sha) => present.has(sha)));
    if (missing.length === versions.length || open.identity !== identity) fallen.push(open.shard);
    else if (missing.length > 0) lacking.push({ open, versions: missing });
  }
  return { fallen, lacking };
}
