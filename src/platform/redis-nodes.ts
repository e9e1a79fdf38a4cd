/**
 * The Redis servers that hold the shards: one, or the masters of a Redis Cluster.
 *
 * A shard's keys lie in one slot and a slot has one master, so every shard is served through a plain connection to that
 * master, and all that is said of "the Redis" elsewhere (identity, scripts, settings, SCAN) holds for each master by itself. A
 * redirection is never followed: it says that nothing was carried out, and that the topology must be read again.
 *
 * Who owns a slot is asked of every master twice a second. An answer is confirmed where more than half of the masters gave
 * theirs, because a replica is promoted by a majority of them: within `confirmedMs` of a confirmed reading nobody else can
 * have been promoted unnoticed for longer. What a master answers after that is not believed (`believes`): one that stood
 * still while its replica was promoted goes on acknowledging for a moment when it wakes up, and nobody keeps what it
 * says. Recovery on a new owner waits until everybody has stopped believing in the old one (`ownedSince`).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Redis } from 'ioredis';
import { createBlockingRedis, createRedis, watchIdentity } from './redis.ts';
import { isClusterUrl, type Owner, ownersOf, parseClusterUrl, viewOf } from './redis-topology.ts';

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
  /** Whether an answer that just came from this connection is the shard's. */
  believes(shard: number, redis: Redis): boolean;
  /** From when on (epoch ms) nobody believes an earlier owner of the shard; 0 where there is one Redis. */
  ownedSince(shard: number): number;
  /** Reads the topology again soon, because an answer said that it has changed. */
  reread(): void;
  close(): void;
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

const readEveryMs = 500;
const askTimeoutMs = 1_000;
/** How long slow nodes are waited for when most have answered. */
const stragglerMs = 150;
/** A reading that is older confirms nothing. */
const confirmedMs = 2_000;
const addressesMax = 64;

/** The ioredis client that follows redirections, for keys that belong to no shard. */
function clusterClient(redisUrl: string, commandTimeoutMs: number | undefined): Cluster {
  const { seeds, of } = parseClusterUrl(redisUrl);
  const { username, password, protocol } = new URL(of(seeds[0]!));
  const isGiven = { username: username !== '', password: password !== '' };
  const cluster = new Cluster(
    seeds.map((seed) => ({
      host: seed.slice(0, seed.lastIndexOf(':')),
      port: Number(seed.split(':').at(-1)),
    })),
    {
      clusterRetryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
      redisOptions: {
        connectTimeout: 5_000,
        ...(isGiven.username ? { username: decodeURIComponent(username) } : {}),
        ...(isGiven.password ? { password: decodeURIComponent(password) } : {}),
        ...(protocol === 'rediss:' ? { tls: {} } : {}),
        ...(commandTimeoutMs === undefined
          ? { maxRetriesPerRequest: null }
          : { commandTimeout: commandTimeoutMs }),
      },
    },
  );
  // Without a listener a lost connection would end the process; readiness reports it.
  cluster.on('error', () => {});
  return cluster;
}

/** A connection for commands on keys that belong to no shard. */
export function createAnyRedis(redisUrl: string, commandTimeoutMs = 5_000): AnyRedis {
  return isClusterUrl(redisUrl)
    ? clusterClient(redisUrl, commandTimeoutMs)
    : createRedis(redisUrl, commandTimeoutMs);
}

/** A connection for subscriptions and for BullMQ's blocking reads. A subscription moves to another node when its own dies. */
export function createBlockingAnyRedis(redisUrl: string): AnyRedis {
  return isClusterUrl(redisUrl) ? clusterClient(redisUrl, undefined) : createBlockingRedis(redisUrl);
}

interface Watched extends RedisNode {
  /** Blocking reads of one line wait for each other. */
  blocking(line: number): Redis;
  identity(): string | undefined;
  close(): void;
}

function nodeAt(url: string, address: string, options: NodesOptions): Watched {
  const redis = createRedis(url, options.commandTimeoutMs);
  const watched = options.watchesIdentity ? watchIdentity(redis) : undefined;
  const waiting = new Map<number, Redis>();
  return {
    address,
    redis,
    blocking(line) {
      const opened = waiting.get(line) ?? createBlockingRedis(url);
      waiting.set(line, opened);
      return opened;
    },
    identity: () => watched?.identity(),
    close() {
      watched?.stop();
      redis.disconnect();
      for (const each of waiting.values()) each.disconnect();
    },
  };
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
    believes: () => true,
    ownedSince: () => 0,
    reread() {},
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

/** What one node says about the cluster; undefined where it does not answer in time. */
async function ask(redis: Redis, address: string): Promise<ReturnType<typeof viewOf> | undefined> {
  const late = delay(askTimeoutMs, undefined, { ref: false });
  const asked = redis.cluster('NODES').catch(() => undefined);
  const text = await Promise.race([asked, late]);
  return typeof text === 'string' ? viewOf(text, address.slice(0, address.lastIndexOf(':'))) : undefined;
}

/** Asks a node that there is no connection to. */
async function askOnce(url: string, address: string): Promise<ReturnType<typeof viewOf> | undefined> {
  const redis = new Redis(url, {
    connectTimeout: askTimeoutMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  redis.on('error', () => {});
  try {
    return await ask(redis, address);
  } finally {
    redis.disconnect();
  }
}

interface Owned {
  readonly node: Watched;
  /** Since when (epoch ms) this process knows it. */
  readonly since: number;
}

/** Opens connections to the masters that hold the shards; waits for a first reading of the topology, but not for long. */
export async function openNodes(options: NodesOptions): Promise<RedisNodes> {
  if (!isClusterUrl(options.redisUrl)) return openOne(options);
  const url = parseClusterUrl(options.redisUrl);
  const slots = Array.from({ length: options.shardCount }, (_, shard) => options.slotOf(shard));
  /** Every master that owns any slot, by its address. */
  const nodes = new Map<string, Watched>();
  const owned: (Owned | undefined)[] = new Array<Owned | undefined>(slots.length).fill(undefined);
  /** Replicas and former masters: who is asked when no master answers. */
  let others: readonly string[] = url.seeds;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let isClosed = false;
  let serving: readonly Watched[] = [];

  function nodeOfAddress(address: string): Watched {
    let node = nodes.get(address);
    if (!node) {
      node = nodeAt(url.of(address), address, options);
      nodes.set(address, node);
    }
    return node;
  }

  /** Before anybody has answered a seed stands in: what it does not own it refuses. */
  function nodeOf(shard: number): Watched {
    return owned[shard]?.node ?? nodeOfAddress(url.seeds[0]!);
  }

  function adopt(owners: readonly (Owner | undefined)[]): void {
    slots.forEach((slot, shard) => {
      const owner = owners[slot];
      if (owner && owned[shard]?.node.address !== owner.address)
        owned[shard] = { node: nodeOfAddress(owner.address), since: Date.now() };
    });
    const masters = new Set(owners.flatMap((owner) => owner?.address ?? []));
    for (const address of masters) nodeOfAddress(address);
    for (const [address, node] of nodes) {
      if (masters.has(address) || owned.some((each) => each?.node === node)) continue;
      nodes.delete(address);
      // Whoever still waits for an answer of it is told that the outcome is unknown.
      node.close();
    }
    // In the order of their addresses, by which a SCAN over all of them goes on.
    serving = [...new Set(slots.map((_, shard) => nodeOf(shard)))].sort((a, b) =>
      a.address < b.address ? -1 : 1,
    );
  }

  /** The views of all masters; without the slow ones when most have answered. */
  async function viewsOfMasters(): Promise<ReturnType<typeof viewOf>[]> {
    const views: ReturnType<typeof viewOf>[] = [];
    const asked = [...nodes.values()];
    let most = () => {};
    const mostAnswered = new Promise<void>((resolve) => {
      most = resolve;
    });
    const all = Promise.all(
      asked.map(async ({ redis, address }) => {
        const view = await ask(redis, address);
        if (view) views.push(view);
        if (views.length * 2 > asked.length) most();
      }),
    );
    await Promise.race([all, mostAnswered.then(() => delay(stragglerMs, undefined, { ref: false }))]);
    return [...views];
  }

  async function viewOfAnybody(): Promise<ReturnType<typeof viewOf>[]> {
    const addresses = [...new Set([...others, ...url.seeds])].slice(0, addressesMax);
    const views = await Promise.all(addresses.map((address) => askOnce(url.of(address), address)));
    return views.filter((view) => view !== undefined);
  }

  async function read(): Promise<void> {
    const startedAt = performance.now();
    const ofMasters = await viewsOfMasters();
    const views = ofMasters.length > 0 ? ofMasters : await viewOfAnybody();
    if (isClosed || views.length === 0) return;
    others = [...new Set(views.flat().map((node) => node.address))].filter((address) => address !== '');
    const owners = ownersOf(views);
    adopt(owners);
    if (ofMasters.length * 2 > new Set(owners.flatMap((owner) => owner?.id ?? [])).size)
      confirmedAt = startedAt;
  }

  let running: Promise<void> | undefined;
  function readOnce(): Promise<void> {
    running ??= read()
      .catch(() => {})
      .finally(() => {
        running = undefined;
      });
    return running;
  }

  serving = [nodeOf(0)];
  // The first reading finds the masters, the second asks them.
  await readOnce();
  await readOnce();
  const timer = setInterval(readOnce, readEveryMs);
  timer.unref();
  const isConfirmed = () => performance.now() - confirmedAt <= confirmedMs;
  return {
    of: (shard) => nodeOf(shard).redis,
    blocking: (shard) => nodeOf(shard).blocking(shard),
    nodeOf,
    all: () => serving,
    identity: (shard) => (isConfirmed() ? owned[shard]?.node.identity() : undefined),
    believes: (shard, redis) => owned[shard]?.node.redis === redis && isConfirmed(),
    ownedSince: (shard) => (owned[shard]?.since ?? Date.now()) + confirmedMs,
    reread: () => void readOnce(),
    close() {
      isClosed = true;
      clearInterval(timer);
      for (const node of nodes.values()) node.close();
      nodes.clear();
    },
  };
}
