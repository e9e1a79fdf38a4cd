/**
 * Opens a new epoch of a shard, so that it can be served. Run by the writer that holds the shard's lease: at the very
 * first start, and whenever the shard's scripts are gone or another Redis answers (restarted, promoted, demoted and promoted
 * again), or its journal does not continue the books.
 *
 * The order is the point: (1) the fence, after which nobody decides anything in the shard (`fence.ts`); (2) what the
 * journal holds beyond the books is written (`lineage.ts`); (3) the opening record, which says everything about the new
 * epoch; (4) operations that were acknowledged on stale balances follow it under new numbers (`reissued.ts`); (5) the
 * epoch's row and position commit together; (6) what stands in the new epoch is written; (7) its scripts are loaded, of
 * every version that is in use. A crash anywhere leaves a shard that does not serve; the next recovery finds the opening record and goes on from it.
 *
 * Warm: the journal continues the books to its end, so members in Redis stay. Cold: it does not, so everything in Redis
 * counts as not loaded (`cold_below`), and members come back from the books; acknowledged numbers that the books do not
 * reach are named as lost. `LedgerBehind`: PostgreSQL is older than what the journal kept; a person decides.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { identityOf, replicationIdOf, rewriteFile } from '#src/platform/redis.ts';
import { changedChannel, keys } from '#src/wallet/keys.ts';
import { loadVersions, versionsInUse } from '#src/wallet/script-versions.ts';
import { loadedVersions, scriptsOf } from '#src/wallet/scripts.ts';
import { closeLeases } from './budget-rows.ts';
import { evenWhenFull, type Fence, fenceOff, type OpenEpoch, type RecoveryStores } from './fence.ts';
import { openingFields, openingOf } from './journal-entry.ts';
import { drainEpoch, type Walked, walk } from './lineage.ts';
import { movesAsked } from './move.ts';
import { rebookedEntries, unknownRecords } from './reissued.ts';
import { type Restoration, restore } from './restore.ts';
import { isAccepted } from './shard-state.ts';
import { LostLease, type ShardProgress } from './writer.ts';

/** PostgreSQL is older than the journal reaches back. */
export class LedgerBehind extends Error {
  constructor(shard: number, reason: string) {
    super(`shard ${shard}: ${reason}`);
    this.name = 'LedgerBehind';
  }
}

/** The shard is fenced; what the processes acknowledged last is noted by then, and recovery can name what is lost. */
export class NotesPending extends Error {
  readonly waitMs: number;
  constructor(waitMs: number) {
    super('the last notes of what was acknowledged have not come in');
    this.name = 'NotesPending';
    this.waitMs = waitMs;
  }
}

/** How an epoch begins. */
interface NewEpoch {
  readonly epoch: number;
  readonly coldBelow: number;
  readonly lostFrom: number | undefined;
  readonly lostTo: number | undefined;
}

/** Every API process notes what it acknowledged once a second; a loss is named when the last notes have come in. */
const notesMs = 1_300;

/** The highest position that any API process acknowledged, by its own note, and the highest of the books' epoch. */
async function acknowledgedThrough(
  { connection }: RecoveryStores,
  { shard, epoch }: ShardProgress,
): Promise<{ epoch: number; seq: number }> {
  const { rows } = await connection.query<{ epoch: number; seq: number }>(
    `select coalesce(max(epoch), 0)::int as epoch, coalesce(max(seq) filter (where epoch = $2), 0)::bigint as seq
     from acknowledged where shard = $1`,
    [shard, epoch],
  );
  return rows[0]!;
}

async function coldBelowOf({ connection }: RecoveryStores, { shard, epoch }: ShardProgress): Promise<number> {
  const { rows } = await connection.query<{ cold_below: number }>(
    'select cold_below from epoch where shard = $1 and epoch = $2',
    [shard, epoch],
  );
  return rows[0]?.cold_below ?? epoch + 1;
}

function reasonOf(walked: Walked, progress: ShardProgress, acknowledged: number): string | undefined {
  const stand = `the books end at ${progress.epoch}-${progress.seq}`;
  if (walked.lineage === 'behind') return `${stand} and the journal no longer holds what follows them`;
  if (acknowledged > progress.epoch)
    return `${stand}, but movements of epoch ${acknowledged} were acknowledged and no journal holds it`;
  return undefined;
}

/**
 * KEYS  journal, opened, evictedThrough; ARGV  epoch, coldBelow, entries as JSON, the fields of the opening record.
 * A script and not MULTI: where the journal is further already, XADD ends it and nothing else happens. A writer that stood
 * still must not lower `evictedThrough` under an epoch that is served.
 */
const openJournal = `${evenWhenFull}
redis.call('XADD', KEYS[1], ARGV[1] .. '-0', unpack(ARGV, 4))
local entries = cjson.decode(ARGV[3])
for i = 1, #entries do redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. i, unpack(entries[i])) end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'coldBelow', ARGV[2])
-- A member that was read in the books before these entries are in them must not be installed.
if #entries > 0 then redis.call('SET', KEYS[3], ARGV[1] .. '-' .. #entries) end
`;

/** (3) and (4): the opening record and what recovery itself puts behind it, all or nothing. */
async function openEpochInJournal(
  { redis }: RecoveryStores,
  progress: ShardProgress,
  opened: NewEpoch,
  entries: readonly (readonly string[])[],
): Promise<void> {
  const { shard, epoch, seq } = progress;
  const fields = openingFields({
    previousEpoch: epoch,
    previousLastSeq: seq,
    coldBelow: opened.coldBelow,
    lostFrom: opened.lostFrom,
    lostTo: opened.lostTo,
    isFence: false,
  });
  const names = [keys.journal(shard), keys.opened(shard), keys.evictedThrough(shard)];
  const entriesText = JSON.stringify(entries);
  await redis.eval(openJournal, 3, ...names, opened.epoch, opened.coldBelow, entriesText, ...fields);
}

/** Throws where another Redis answers than at the beginning of the recovery: what was found out then says nothing about it. */
async function checkIdentity(redis: Redis, shard: number, identity: string): Promise<void> {
  if ((await identityOf(redis)) !== identity)
    throw new Error(`shard ${shard}: another Redis answers than at the beginning of its recovery`);
}

/** (5) Row and position of the epoch, in one database transaction that only the holder of the lease can commit. */
async function openEpochInBooks(
  { connection, owner }: RecoveryStores,
  progress: ShardProgress,
  opened: NewEpoch,
  identity: string,
  restoration: Restoration | undefined,
): Promise<ShardProgress> {
  const { shard, term, epoch, seq } = progress;
  await connection.query('begin');
  try {
    const held = await connection.query(
      `select 1 from position p join lease l using (shard)
       where p.shard = $1 and l.owner = $2 and l.term = $3 and p.epoch = $4 and p.seq = $5 for update of p`,
      [shard, owner, term, epoch, seq],
    );
    if (held.rows.length === 0) throw new LostLease(`shard ${shard} has another writer`);
    await connection.query(
      `insert into epoch (shard, epoch, previous_epoch, previous_last_seq, cold_below, lost_from, lost_to, redis_identity)
       values ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [
        shard,
        opened.epoch,
        epoch,
        seq,
        opened.coldBelow,
        opened.lostFrom ?? null,
        opened.lostTo ?? null,
        identity,
      ],
    );
    await connection.query(
      'update position set epoch = $2, seq = 0, written_through_at = now() where shard = $1',
      [shard, opened.epoch],
    );
    await connection.query('delete from shard_state where shard = $1', [shard]);
    await connection.query('delete from shard_move where shard = $1 and given_up_at is not null', [shard]);
    if (restoration) {
      await connection.query('insert into restoration (shard, epoch, report) values ($1, $2, $3)', [
        shard,
        opened.epoch,
        JSON.stringify(restoration),
      ]);
    }
    await connection.query('commit');
  } catch (error) {
    await connection.query('rollback').catch(() => {});
    throw error;
  }
  return { ...progress, epoch: opened.epoch, seq: 0, operation: null };
}

/** (6) and (7): writes what recovery put into the new epoch and lets the shard serve. */
async function letServe(
  stores: RecoveryStores,
  progress: ShardProgress,
  opened: NewEpoch,
  identity: string,
): Promise<void> {
  const { redis } = stores;
  const { shard } = progress;
  const isWritten = await drainEpoch(stores, progress);
  if (!isWritten) throw new Error(`shard ${shard}: the journal lost the epoch that was just opened`);
  // Before anybody can be granted more in the new epoch; whoever dies before the scripts are loaded recovers again.
  await closeLeases(stores.connection, shard, opened.epoch);
  const { loadable } = await versionsInUse(stores.connection);
  await checkIdentity(redis, shard, identity);
  const { epoch, coldBelow } = opened;
  await loadVersions(redis, { shard, epoch, coldBelow, replicationId: replicationIdOf(identity) }, loadable);
  // A Redis that was replaced while the scripts were on their way has them, and has lost the opening record.
  await checkIdentity(redis, shard, identity);
  await redis.publish(changedChannel, 'epoch');
  await rewriteFile(redis, identity);
}

interface Findings {
  /** What recovery itself puts into the new epoch. */
  readonly entries: readonly (readonly string[])[];
  readonly isWarm: boolean;
  readonly lostTo: number | undefined;
  /** Only after a restore of PostgreSQL that a person has accepted. */
  readonly restoration?: Restoration;
}

/** Compares journal and books. Throws LedgerBehind where PostgreSQL is the older one and nobody has accepted that. */
async function compare(stores: RecoveryStores, progress: ShardProgress, fence: Fence): Promise<Findings> {
  const { shard } = progress;
  const isFirst = progress.epoch === 0;
  const walked = await walk(stores, progress, fence);
  const isComplete = walked.lineage === 'complete';
  const acknowledged = await acknowledgedThrough(stores, progress);
  const lostTo = acknowledged.seq > progress.seq ? acknowledged.seq : undefined;
  const behind = reasonOf(walked, progress, acknowledged.epoch);
  if (behind !== undefined) {
    if (!(await isAccepted(stores.connection, shard))) throw new LedgerBehind(shard, behind);
    const { entries, restoration } = await restore(stores, progress, fence.opensAt);
    return { entries, isWarm: false, lostTo: restoration.lostTo ?? lostTo, restoration };
  }
  const unknown = isComplete && !walked.hasLeftovers ? [] : await unknownRecords(stores, shard);
  return {
    entries: await rebookedEntries(stores, shard, unknown),
    isWarm:
      isComplete &&
      unknown.length === 0 &&
      !(isFirst && progress.epoch === 0) &&
      !(await movesAsked(stores.connection, [shard])).get(shard)?.isGivenUp,
    lostTo,
  };
}

/**
 * Recovers a shard and answers its progress in the new epoch. `lossSeenAt` is when it was noticed (on the clock of
 * `performance.now()`, which nobody sets): before the processes have noted what they acknowledged until then it only fences and throws NotesPending. Throws LedgerBehind or
 * BrokenLineage where a person must look first.
 */
export async function recover(
  stores: RecoveryStores,
  before: ShardProgress,
  lossSeenAt: number,
): Promise<ShardProgress> {
  const { shard } = before;
  const identity = await identityOf(stores.redis);
  const fence = await fenceOff(stores, before);
  const { progress } = fence;
  const waitMs = lossSeenAt + notesMs - performance.now();
  if (progress.epoch > 0 && waitMs > 0) throw new NotesPending(waitMs);
  const { entries, isWarm, lostTo, restoration } = await compare(stores, progress, fence);
  const epoch = fence.opensAt;
  const coldBelow = isWarm ? await coldBelowOf(stores, progress) : epoch;
  const opened = { epoch, coldBelow, lostFrom: lostTo === undefined ? undefined : progress.seq + 1, lostTo };
  await openEpochInJournal(stores, progress, opened, entries);
  // An opening record that calls an older copy warm must not become the books' epoch.
  await checkIdentity(stores.redis, shard, identity);
  const next = await openEpochInBooks(stores, progress, opened, identity, restoration);
  await letServe(stores, next, opened, identity);
  stores.log.info(
    { shard, epoch, warm: isWarm, rebooked: entries.length, lostFrom: opened.lostFrom, lostTo },
    'shard recovered',
  );
  return next;
}

/**
 * Whether a shard is open as it stands: its journal is in the books' epoch, Redis is the one that the epoch was opened on
 * and knows the scripts of any version in use. Then a writer that takes the lease over just goes on, and loads the others.
 * Undefined where recovery is needed.
 */
export async function openEpoch(
  connection: Pick<pg.ClientBase, 'query'>,
  redis: Redis,
  progress: Pick<ShardProgress, 'shard' | 'epoch'>,
): Promise<OpenEpoch | undefined> {
  const { shard, epoch } = progress;
  const found = await connection.query<{ cold_below: number; redis_identity: string | null }>(
    'select cold_below, redis_identity from epoch where shard = $1 and epoch = $2 and epoch = (select max(epoch) from epoch where shard = $1)',
    [shard, epoch],
  );
  const row = found.rows[0];
  const last = (await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1))[0];
  const redisIdentity = row?.redis_identity;
  if (!redisIdentity || !last?.[0].startsWith(`${epoch}-`) || openingOf(last[0], last[1])?.isFence)
    return undefined;
  // A demoted and promoted master keeps its scripts, so they alone say nothing.
  const identity = await identityOf(redis);
  if (redisIdentity !== identity) return undefined;
  const replicationId = replicationIdOf(redisIdentity);
  const shardEpoch = { shard, epoch, coldBelow: row.cold_below, replicationId };
  const { loadable } = await versionsInUse(connection);
  const loaded = await loadedVersions(redis, shardEpoch, loadable);
  return loaded.length > 0 ? { ...shardEpoch, scripts: scriptsOf(shardEpoch), identity } : undefined;
}
