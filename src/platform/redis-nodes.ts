/**
 * The Redis servers that hold the shards: one, or the masters of a Redis Cluster (`redis-cluster.ts`).
 *
 * A shard's keys lie in one slot and a slot has one master, so every shard is served through a plain connection to that
 * master, and all that is said of "the Redis" elsewhere (identity, scripts, settings, SCAN) holds for each master by itself. A
 * redirection is never followed: it says that nothing was carried out, and that the topology must be read again.
 */
import { Cluster, type Redis } from 'ioredis';
import { createBlockingRedis, createRedis } from './redis.ts';
import { clusterClient, nodeAt, openCluster } from './redis-cluster.ts';
import { isClusterUrl } from './redis-topology.ts';

/** One server that holds shards. */
export interface RedisNode {
  /** `host:port`; empty where there is one Redis and no cluster. */
  readonly address: string;
  readonly redis: Redis;
}

export interface RedisNodes {
  /** The connection to the server that holds a shard. It may change at any time; who does several steps keeps it. */
  of(shard: number): Redis;
  /** A connection for blocking reads, opened when it is first asked for: one for all shards, or in a cluster one each. */
  blocking(shard: number): Redis;
  nodeOf(shard: number): RedisNode;
  /** Every server that holds a shard. */
  all(): readonly RedisNode[];
  /** Which server answers for a shard (`watchIdentity`); undefined while that is not known for sure. */
  identity(shard: number): string | undefined;
  /** Whether what is known of the owners is what most masters say; always where there is one Redis. */
  isConfirmed(): boolean;
  /** Whether an answer that just came from this connection is the shard's. */
  believes(shard: number, redis: Redis): boolean;
  /**
   * From when on nobody believes an earlier owner of the shard, on the clock of `performance.now()`, which nobody sets; 0
   * where there is one Redis.
   */
  ownedSince(shard: number): number;
  /** Reads the topology again soon, because an answer said that it has changed. */
  reread(): void;
  /** Undefined where there is one Redis. */
  readonly cluster: ClusterAccess | undefined;
  close(): void;
}

/** What moving a slot needs. */
export interface ClusterAccess {
  slotOf(shard: number): number;
  /** Every master that owns slots. */
  masters(): readonly string[];
  /** Does something at any node, over a connection of its own. */
  at<T>(address: string, work: (redis: Redis) => Promise<T>, timeoutMs?: number): Promise<T>;
  /** How nodes log in at each other. */
  readonly username: string;
  readonly password: string;
}

export interface NodesOptions {
  readonly redisUrl: string;
  /** The slot of each shard. */
  slotOf(shard: number): number;
  readonly shardCount: number;
  readonly commandTimeoutMs?: number;
  /** Whether `identity` is asked for. */
  readonly watchesIdentity?: boolean;
}

/** What belongs to no shard (timers of BullMQ, limits of keys, channels) goes wherever its key lies. */
export type AnyRedis = Redis | Cluster;

/** A connection for commands on keys that belong to no shard. */
export function createAnyRedis(redisUrl: string, commandTimeoutMs = 5_000): AnyRedis {
  return isClusterUrl(redisUrl)
    ? clusterClient(redisUrl, commandTimeoutMs)
    : createRedis(redisUrl, commandTimeoutMs);
}

const readyMs = 10_000;

/**
 * Waits until a cluster's client takes commands, but not for long: who starts while Redis is away goes on, and readiness says
 * so. A connection to one Redis keeps commands until their timeout.
 */
export async function whenReady(redis: AnyRedis): Promise<void> {
  if (!(redis instanceof Cluster) || redis.status === 'ready') return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      redis.off('ready', done);
      resolve();
    };
    const timer = setTimeout(done, readyMs);
    redis.on('ready', done);
  });
}

/** A connection for subscriptions and for BullMQ's blocking reads. A subscription moves to another node when its own dies. */
export function createBlockingAnyRedis(redisUrl: string): AnyRedis {
  return isClusterUrl(redisUrl) ? clusterClient(redisUrl, undefined) : createBlockingRedis(redisUrl);
}

/** One Redis that holds all shards, behind a connection that somebody else closes. */
export function onlyNode(redis: Redis, identity: () => string | undefined = () => undefined): RedisNodes {
  const node: RedisNode = { address: '', redis };
  const all = [node];
  return {
    of: () => redis,
    blocking: () => redis,
    nodeOf: () => node,
    all: () => all,
    identity,
    isConfirmed: () => true,
    believes: () => true,
    ownedSince: () => 0,
    reread() {},
    cluster: undefined,
    close() {},
  };
}

function openOne(options: NodesOptions): RedisNodes {
  const node = nodeAt(options.redisUrl, '', options);
  return {
    ...onlyNode(node.redis, node.identity),
    blocking: () => node.blocking(0),
    close: () => node.close(),
  };
}

/** Where a SCAN over all servers stands: the address of one and its cursor. */
const placePattern = /^(.*)\/(\d+)$/;

/**
 * Takes one step of a SCAN over all servers. `place` is what the last step answered, or undefined at the beginning;
 * `next` is undefined at the end. A server that is gone is left out: its shards are on another one.
 */
export async function scanNodes(
  nodes: RedisNodes,
  place: string | undefined,
  pattern: string,
  count: number,
): Promise<{ redis: Redis; names: string[]; next: string | undefined }> {
  const [, address = '', from = '0'] = placePattern.exec(place ?? '') ?? [];
  const all = nodes.all();
  const node = all.find((each) => each.address >= address) ?? all[0]!;
  const cursor = node.address === address ? from : '0';
  const [reached, names] = await node.redis.scan(cursor, 'MATCH', pattern, 'COUNT', count);
  const following = all[all.indexOf(node) + 1];
  const next = reached === '0' ? following && `${following.address}/0` : `${node.address}/${reached}`;
  return { redis: node.redis, names, next };
}

/** Opens connections to the servers that hold the shards. */
export function openNodes(options: NodesOptions): Promise<RedisNodes> {
  return isClusterUrl(options.redisUrl) ? openCluster(options) : Promise.resolve(openOne(options));
}
