/**
 * Moves a shard to another master of a Redis Cluster. A person asks (`npm run recover -- --move`), the writer that holds the
 * shard's lease does it, a step at a time so that the turns of other shards go on in between:
 *
 * (1) The fence, because in a slot that is on its way a script would find some keys and miss others half way through. (2) What
 * the journal holds is written to the books, so that whatever becomes of the keys now, nothing is lost. (3) The slot is
 * declared to be leaving the one and coming to the other master; all its keys follow. (4) The target, the source and then
 * the other masters are told that the slot is the target's. (5) Recovery opens the next epoch there, as after every change
 * of the Redis that answers: warm, because the journal and the members are all there.
 *
 * The row in `shard_move` stays until the target owns the slot, so a move that was interrupted (a writer died, a
 * master failed over) goes on by itself from where it stands: a slot that is leaving already is fenced and in the books. One
 * whose target is no master any more is given up.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { ClusterAccess, RedisNodes } from '#src/platform/redis-nodes.ts';
import { knowsMaster, placeOf, sayingOf } from '#src/platform/redis-topology.ts';
import { keys } from '#src/wallet/keys.ts';
import { isRedirection } from '#src/wallet/problems.ts';
import { fenceOff, type RecoveryStores } from './fence.ts';
import { drainEpoch } from './lineage.ts';
import type { ShardProgress } from './writer.ts';

const keysPerCall = 100;
/** A step is over after so long, so that other shards are written in between. */
const stepMs = 500;
const migrateTimeoutMs = 10_000;

/** A move that is asked for. */
export interface Move {
  readonly shard: number;
  readonly target: string;
  /** Keys may have left already; the shard is fenced and in the books. */
  readonly hasBegun: boolean;
}

/** Where the shards go that are to be moved. */
export async function movesAsked(
  connection: Pick<pg.ClientBase, 'query'>,
  shards: readonly number[],
): Promise<Map<number, Move>> {
  if (shards.length === 0) return new Map();
  const { rows } = await connection.query<Move>(
    'select shard, target, began_at is not null as "hasBegun" from shard_move where shard = any($1::int[])',
    [shards],
  );
  return new Map(rows.map((move) => [move.shard, move]));
}

/** Notes the word of a person; answers where the shard is going, which differs where it is under way already. */
export async function askMove(
  connection: Pick<pg.ClientBase, 'query'>,
  shard: number,
  target: string,
): Promise<string> {
  await connection.query(
    'insert into shard_move (shard, target) values ($1, $2) on conflict (shard) do nothing',
    [shard, target],
  );
  return (await movesAsked(connection, [shard])).get(shard)?.target ?? target;
}

/** The node's own name; throws where it cannot own slots. */
export async function masterId(redis: Redis, address: string): Promise<string> {
  const replication = await redis.info('replication');
  if (!/^role:master/m.test(replication)) throw new Error(`${address} is not a master of the cluster`);
  return String(await redis.cluster('MYID'));
}

/** (3) Moves keys until none is left or the step is over; answers whether none is left. */
async function moveKeys(
  source: Redis,
  cluster: ClusterAccess,
  slot: number,
  target: string,
): Promise<boolean> {
  const { host, port } = placeOf(target);
  const { username, password } = cluster;
  const login = password === '' ? [] : username === '' ? ['AUTH', password] : ['AUTH2', username, password];
  const until = performance.now() + stepMs;
  do {
    const names = await source.cluster('GETKEYSINSLOT', slot, keysPerCall);
    if (names.length === 0) return true;
    // A key that the last try has left at the target is the same one: nobody has changed it behind the fence.
    await source.call('MIGRATE', host, port, '', 0, migrateTimeoutMs, 'REPLACE', ...login, 'KEYS', ...names);
  } while (performance.now() < until);
  return false;
}

/** (4) The target first: from then on its claim is the higher one, also where the others are told by the nodes alone. */
async function handOver(
  cluster: ClusterAccess,
  slot: number,
  source: string,
  target: string,
  id: string,
): Promise<void> {
  const claim = (redis: Redis) => redis.cluster('SETSLOT', slot, 'NODE', id);
  await cluster.at(target, claim);
  await cluster.at(source, claim);
  const others = cluster.masters().filter((address) => address !== source && address !== target);
  await Promise.allSettled(others.map((address) => cluster.at(address, claim)));
}

/**
 * Ends a move whose target died and was replaced, or became a replica: what had left for it may not have reached its
 * successor. All of it is in the books, so the shard is recovered from them where it is; without its journal it is
 * recovered cold, and so are the references that Redis may have lost on the way.
 */
async function giveUp(stores: RecoveryStores, source: Redis, slot: number, move: Move): Promise<void> {
  const { shard, target, hasBegun } = move;
  if (hasBegun) {
    // Before the slot is whole again, so that a death in between is not taken for a shard that has everything.
    await source.del(keys.journal(shard)).catch((error: unknown) => {
      // What is not there any more is looked for at the target: then the journal has left.
      if (!isRedirection(error)) throw error;
    });
    await source.cluster('SETSLOT', slot, 'STABLE');
  }
  await stores.connection.query('delete from shard_move where shard = $1', [shard]);
  stores.log.error(
    { shard, target },
    'the move is given up: its target is no master of the cluster any more',
  );
}

/**
 * Takes a step of a move. Answers whether the shard is where it is to be, or stays: recovery goes on there.
 */
export async function moveStep(
  stores: RecoveryStores,
  nodes: RedisNodes,
  progress: ShardProgress,
  move: Move,
): Promise<boolean> {
  const { shard, target } = move;
  const { cluster } = nodes;
  if (!cluster) throw new Error(`shard ${shard} cannot be moved: there is one Redis and no cluster`);
  const source = nodes.nodeOf(shard).address;
  if (source === target) {
    await stores.connection.query('delete from shard_move where shard = $1', [shard]);
    stores.log.info({ shard, target }, 'shard moved');
    return true;
  }
  const slot = cluster.slotOf(shard);
  const hasEnded = await cluster.at(source, async (redis) => {
    const text = String(await redis.cluster('NODES'));
    const saying = sayingOf(text, slot);
    // It was handed over a moment ago; the next reading of the topology says so.
    if (saying === 'not owned') return false;
    if (!knowsMaster(text, target)) {
      await giveUp(stores, redis, slot, move);
      return true;
    }
    const id = await cluster.at(target, (other) => masterId(other, target));
    if (saying === 'owned') {
      const fence = await fenceOff(stores, progress);
      if (fence.progress.epoch > 0) await drainEpoch(stores, fence.progress);
    }
    await stores.connection.query(
      'update shard_move set began_at = coalesce(began_at, now()) where shard = $1',
      [shard],
    );
    const sourceId = await masterId(redis, source);
    await cluster.at(target, (other) => other.cluster('SETSLOT', slot, 'IMPORTING', sourceId));
    await redis.cluster('SETSLOT', slot, 'MIGRATING', id);
    stores.alive();
    if (await moveKeys(redis, cluster, slot, target)) await handOver(cluster, slot, source, target, id);
    return false;
  });
  nodes.reread();
  return hasEnded;
}
