/**
 * The masters of a Redis Cluster that hold the shards.
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
import type { ClusterAccess, NodesOptions, RedisNode, RedisNodes } from './redis-nodes.ts';
import {
  type ClusterUrl,
  type NodeView,
  type Owner,
  ownersOf,
  parseClusterUrl,
  placeOf,
  viewOf,
} from './redis-topology.ts';

const readEveryMs = 500;
/** Every refused call asks for another reading; one follows the last one by no less. */
const rereadAfterMs = 50;
const askTimeoutMs = 1_000;
/** How long slow nodes are waited for when most have answered. */
const stragglerMs = 150;
/** A reading that is older confirms nothing. */
const confirmedMs = 2_000;
const addressesMax = 64;
const onceTimeoutMs = 2_000;

/** The ioredis client that follows redirections, for keys that belong to no shard. With a timeout it refuses commands until it is ready. */
export function clusterClient(redisUrl: string, commandTimeoutMs: number | undefined): Cluster {
  const { seeds, of } = parseClusterUrl(redisUrl);
  const { username, password, protocol } = new URL(of(seeds[0]!));
  const isGiven = { username: username !== '', password: password !== '' };
  const cluster = new Cluster(seeds.map(placeOf), {
    clusterRetryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
    // What waits here for a cluster that is away has no timeout: it begins when a node is given the command.
    enableOfflineQueue: commandTimeoutMs === undefined,
    redisOptions: {
      connectTimeout: 5_000,
      ...(isGiven.username ? { username: decodeURIComponent(username) } : {}),
      ...(isGiven.password ? { password: decodeURIComponent(password) } : {}),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
      ...(commandTimeoutMs === undefined
        ? { maxRetriesPerRequest: null }
        : { commandTimeout: commandTimeoutMs }),
    },
  });
  // Without a listener a lost connection would end the process; readiness reports it.
  cluster.on('error', () => {});
  return cluster;
}

export interface Watched extends RedisNode {
  /** Blocking reads of one line wait for each other. */
  blocking(line: number): Redis;
  identity(): string | undefined;
  close(): void;
}

/** Opens a server's connection; others follow when they are asked for. */
export function nodeAt(url: string, address: string, options: NodesOptions): Watched {
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

/** What one node says about the cluster; undefined where it does not answer in time. */
async function ask(redis: Redis, address: string): Promise<NodeView[] | undefined> {
  const late = delay(askTimeoutMs, undefined, { ref: false });
  const asked = redis.cluster('NODES').catch(() => undefined);
  const text = await Promise.race([asked, late]);
  return typeof text === 'string' ? viewOf(text, address.slice(0, address.lastIndexOf(':'))) : undefined;
}

/** Asks a node that there is no connection to. */
async function askOnce(url: string, address: string): Promise<NodeView[] | undefined> {
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

/** Connections to any node, for what is done once. */
function accessOf(url: ClusterUrl, options: NodesOptions, masters: () => string[]): ClusterAccess {
  const { username, password } = new URL(url.of(url.seeds[0]!));
  return {
    slotOf: options.slotOf,
    masters,
    async at(address, work, timeoutMs = onceTimeoutMs) {
      const redis = createRedis(url.of(address), timeoutMs);
      try {
        return await work(redis);
      } finally {
        redis.disconnect();
      }
    },
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
  };
}

interface Owned {
  readonly node: Watched;
  /** Since when this process knows it, on the clock of `performance.now()`. */
  readonly since: number;
}

/** Opens connections to the masters that hold the shards; waits for a first reading of the topology, but not for long. */
export async function openCluster(options: NodesOptions): Promise<RedisNodes> {
  const url = parseClusterUrl(options.redisUrl);
  const slots = Array.from({ length: options.shardCount }, (_, shard) => options.slotOf(shard));
  /** Every master that owns any slot, by its address. */
  const nodes = new Map<string, Watched>();
  const owned: (Owned | undefined)[] = new Array<Owned | undefined>(slots.length).fill(undefined);
  /** Replicas and former masters: who is asked when no master answers. */
  let others: readonly string[] = url.seeds;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let readAt = Number.NEGATIVE_INFINITY;
  let isClosed = false;
  let serving: readonly Watched[] = [];
  let moving: ReadonlySet<number> = new Set();

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
        owned[shard] = { node: nodeOfAddress(owner.address), since: performance.now() };
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
  async function viewsOfMasters(): Promise<NodeView[][]> {
    const views: NodeView[][] = [];
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

  async function viewOfAnybody(): Promise<NodeView[][]> {
    const addresses = [...new Set([...others, ...url.seeds])].slice(0, addressesMax);
    const views = await Promise.all(addresses.map((address) => askOnce(url.of(address), address)));
    return views.filter((view) => view !== undefined);
  }

  async function read(): Promise<void> {
    readAt = performance.now();
    const startedAt = readAt;
    const ofMasters = await viewsOfMasters();
    const views = ofMasters.length > 0 ? ofMasters : await viewOfAnybody();
    if (isClosed || views.length === 0) return;
    others = [...new Set(views.flat().map((node) => node.address))].filter((address) => address !== '');
    const owners = ownersOf(views);
    adopt(owners);
    moving = new Set(views.flat().flatMap((node) => node.leaving));
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
    // In a slot that is on its way a script would miss keys half way through.
    identity: (shard) =>
      isConfirmed() && !moving.has(slots[shard]!) ? owned[shard]?.node.identity() : undefined,
    isConfirmed,
    believes: (shard, redis) => owned[shard]?.node.redis === redis && isConfirmed(),
    ownedSince: (shard) => (owned[shard]?.since ?? performance.now()) + confirmedMs,
    reread() {
      if (performance.now() - readAt > rereadAfterMs) void readOnce();
    },
    cluster: accessOf(url, options, () => [...nodes.keys()]),
    close() {
      isClosed = true;
      clearInterval(timer);
      for (const node of nodes.values()) node.close();
      nodes.clear();
    },
  };
}
