/**
 * Moves a shard to another master of a Redis Cluster. A person asks (`npm run recover -- --move`), the writer that holds the
 * shard's lease does it, a step at a time so that the turns of other shards go on in between:
 *
 * (1) The fence, because in a slot that is on its way a script would find some keys and miss others half way through. (2) What
 * the journal holds is written to the books, so that whatever becomes of the keys now, nothing is lost. (3) The slot is
 * declared to be leaving the one and coming to the other master; all its keys follow, the journal last. (4) The target, the
 * source and then the other masters are told that the slot is the target's. (5) Recovery opens the next epoch there, as after
 * every change of the Redis that answers: warm, because the journal and the members are all there.
 *
 * The row in `shard_move` stays until the target owns the slot, so a move that was interrupted (a writer died, a
 * master failed over) goes on by itself from where it stands: one that has begun is fenced and in the books. One whose target
 * is no master any more, or that a person takes back, is given up, and the shard comes back cold where it is.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { ClusterAccess, RedisNodes } from '#src/platform/redis-nodes.ts';
import { knowsMaster, placeOf, sayingOf, viewOf } from '#src/platform/redis-topology.ts';
import { keys } from '#src/wallet/keys.ts';
import { fenceOff, type RecoveryStores } from './fence.ts';
import { drainEpoch } from './lineage.ts';
import type { ShardProgress } from './writer.ts';

const keysPerCall = 100;
/** A step is over after so long, so that other shards are written in between. */
const stepMs = 500;
/** Both servers stand still while keys travel, and a target that does not answer is waited for so long. */
const migrateTimeoutMs = 1_000;
/** For a source that sends a large journal. */
const sourceTimeoutMs = 15_000;

/** A move that is asked for. */
export interface Move {
  readonly shard: number;
  readonly target: string;
  /** Keys may have left already; the shard is fenced and in the books. */
  readonly hasBegun: boolean;
  /** The shard stays where it is. */
  readonly isGivenUp: boolean;
}

/** Where the shards go that are to be moved. */
export async function movesAsked(
  connection: Pick<pg.ClientBase, 'query'>,
  shards: readonly number[],
): Promise<Map<number, Move>> {
  if (shards.length === 0) return new Map();
  const { rows } = await connection.query<Move>(
    `select shard, target, began_at is not null as "hasBegun", given_up_at is not null as "isGivenUp"
     from shard_move where shard = any($1::int[])`,
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

/** Notes the word of a person that a shard stays where it is. False where it was not on its way. */
export async function askStay(connection: Pick<pg.ClientBase, 'query'>, shard: number): Promise<boolean> {
  const { rowCount } = await connection.query(
    'update shard_move set given_up_at = coalesce(given_up_at, now()) where shard = $1',
    [shard],
  );
  return rowCount === 1;
}

/** The node's own name; throws where it cannot own slots, or where the other nodes know it by another address. */
export async function masterId(redis: Redis, address: string): Promise<string> {
  const nodes = viewOf(String(await redis.cluster('NODES')), placeOf(address).host);
  const own = nodes.find(({ isMyself }) => isMyself);
  if (!own?.isMaster) throw new Error(`${address} is not a master of the cluster`);
  if (own.address !== address)
    throw new Error(`${address} is known as ${own.address} in the cluster: name it so`);
  return own.id;
}

/**
 * (3) Moves keys until none is left or the step is over; answers whether none is left. The journal goes last: where it stands
 * at the target, or at a replica of the target that takes its place, everything else stands too.
 */
async function moveKeys(
  source: Redis,
  cluster: ClusterAccess,
  slot: number,
  { shard, target }: Move,
): Promise<boolean> {
  const { host, port } = placeOf(target);
  const { username, password } = cluster;
  const login = password === '' ? [] : username === '' ? ['AUTH', password] : ['AUTH2', username, password];
  const until = performance.now() + stepMs;
  do {
    const names = await source.cluster('GETKEYSINSLOT', slot, keysPerCall);
    if (names.length === 0) return true;
    const others = names.filter((name) => name !== keys.journal(shard));
    // A key that the last try has left at the target is the same one: nobody has changed it behind the fence.
    await source.call(
      'MIGRATE',
      host,
      port,
      '',
      0,
      migrateTimeoutMs,
      'REPLACE',
      ...login,
      'KEYS',
      ...(others.length > 0 ? others : names),
    );
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
 * Ends a move whose target died and was replaced, or became a replica, or that a person has taken back: what had left may not
 * have reached anybody who keeps it. All of it is in the books. That the shard's next epoch must be cold is noted in PostgreSQL
 * first, because the source can fail over before its replica hears of anything.
 */
async function giveUp(stores: RecoveryStores, source: Redis, slot: number, move: Move): Promise<void> {
  const { shard, target, hasBegun } = move;
  if (hasBegun) {
    await askStay(stores.connection, shard);
    await source.cluster('SETSLOT', slot, 'STABLE');
  } else await stores.connection.query('delete from shard_move where shard = $1', [shard]);
  stores.log.error({ shard, target }, 'the move is given up; the shard stays where it is');
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
  if (source === target && !move.isGivenUp) {
    await stores.connection.query('delete from shard_move where shard = $1', [shard]);
    stores.log.info({ shard, target }, 'shard moved');
    return true;
  }
  const slot = cluster.slotOf(shard);
  const hasEnded = await cluster.at(
    source,
    async (redis) => {
      const text = String(await redis.cluster('NODES'));
      const saying = sayingOf(text, slot);
      // It was handed over a moment ago; the next reading of the topology says so.
      if (saying === 'not owned') return false;
      if (move.isGivenUp || !knowsMaster(text, target)) {
        await giveUp(stores, redis, slot, move);
        return true;
      }
      const id = await cluster.at(target, (other) => masterId(other, target));
      if (!move.hasBegun) {
        const fence = await fenceOff(stores, progress);
        // A journal that does not continue the books is a matter for recovery; the move goes on afterwards.
        if (fence.progress.epoch > 0 && !(await drainEpoch(stores, fence.progress))) return true;
      }
      await stores.connection.query(
        'update shard_move set began_at = coalesce(began_at, now()) where shard = $1',
        [shard],
      );
      const sourceId = await masterId(redis, source);
      await cluster.at(target, (other) => other.cluster('SETSLOT', slot, 'IMPORTING', sourceId));
      await redis.cluster('SETSLOT', slot, 'MIGRATING', id);
      stores.alive();
      if (await moveKeys(redis, cluster, slot, move)) await handOver(cluster, slot, source, target, id);
      return false;
    },
    sourceTimeoutMs,
  );
  nodes.reread();
  return hasEnded;
}
