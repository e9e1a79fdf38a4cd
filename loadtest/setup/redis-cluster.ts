/**
 * A Redis Cluster on the loopback: three masters with a replica each, every node a process of its own with its data in a
 * folder of its own and the settings that the service demands. Formed by CLUSTER commands, so nothing but the server is
 * needed.
 *
 * Which node is a master changes with every failover; `roles` asks all nodes what they say of themselves. Two may claim the
 * same slots for a while after a failover: the higher configuration epoch is right.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { waitUntil } from '#src/platform/local/processes.ts';
import { readRecord, writeRecord } from '#src/platform/local/record.ts';
import { type LocalRedis, serviceUser, startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalOptions } from '#src/platform/local/server.ts';
import { type NodeSaying, ownersAmong, parseOwnLine, slotOfKey, slotsMax } from './cluster-nodes.ts';
import { withRedis } from './with-redis.ts';

/** Where others are told to reach a node: ports of proxies in front of it, for instance. */
interface Announced {
  readonly port: number;
  readonly busPort: number;
}

interface ClusterOptions extends LocalOptions {
  readonly maxmemoryMb?: number;
  /** After so long without an answer a node counts as failed. */
  readonly nodeTimeoutMs?: number;
  /** More users with the password and the rights of the service's. */
  readonly users?: readonly string[];
  /** One for each node; the nodes' own ports when absent. */
  readonly announced?: readonly Announced[];
  /** Told whenever a node has started, before anybody is sent to it. */
  readonly onStarted?: (node: ClusterNode) => void;
}

export interface ClusterNode {
  readonly index: number;
  readonly name: string;
  /** The cluster's own name of the node, forty hex digits. */
  readonly id: string;
  readonly dataDir: string;
  readonly busPort: number;
  /** Where others reach it. */
  readonly announced: Announced;
  /** Its process; another one after each start. */
  readonly server: LocalRedis;
  /** Starts it again on its data, as whatever the others say that it is. */
  start(): Promise<void>;
}

/** What a node says of itself. */
export interface Role extends NodeSaying {
  readonly node: ClusterNode;
}

export interface RedisCluster {
  readonly nodes: readonly ClusterNode[];
  /** `redis-cluster://user:password@host:port,host:port,…` with all nodes as seeds. */
  urlOf(user: string): string;
  /** The service's. */
  readonly url: string;
  /** What every node says of itself; nodes that do not answer are left out, and `except`, which may be unable to. */
  roles(except?: ClusterNode): Promise<Role[]>;
  /** The nodes that own slots. A master that does not know yet that it was replaced is left out. */
  masters(): Promise<Role[]>;
  /** The node that owns the slot of a key. */
  masterOfKey(key: string): Promise<ClusterNode>;
  replicasOf(master: ClusterNode): Promise<ClusterNode[]>;
  /** As the user who may do everything. */
  ask<T>(node: ClusterNode, work: Parameters<typeof withRedis<T>>[1]): Promise<T>;
  /** Waits until every node says that all is well and every master has a replica in step; throws with what is not. */
  whole(timeoutMs?: number): Promise<void>;
  /** Empties every master, scripts included, and with them their replicas. */
  flush(): Promise<void>;
  stop(): Promise<void>;
}

const mastersCount = 3;
const nodesCount = 6;
const host = '127.0.0.1';
const formingMs = 60_000;
/** One that is stopped or cut off never answers; one that is busy does within this. */
const sayingMs = 2_000;

function settingsOf(busPort: number, nodeTimeoutMs: number, adminPassword: string, to?: Announced): string[] {
  return [
    'cluster-enabled yes',
    'cluster-config-file nodes.conf',
    `cluster-port ${busPort}`,
    `cluster-node-timeout ${nodeTimeoutMs}`,
    // A master without a replica that can follow it must not stop the shards of the others.
    'cluster-require-full-coverage no',
    // A replica stays with its master, so that every failover has the same candidates.
    'cluster-allow-replica-migration no',
    `cluster-announce-ip ${host}`,
    ...(to ? [`cluster-announce-port ${to.port}`, `cluster-announce-bus-port ${to.busPort}`] : []),
    `masterauth ${adminPassword}`,
    // By default a master waits five seconds for more replicas that may want the same copy.
    'repl-diskless-sync-delay 0',
  ];
}

/** All nodes have the same passwords, because replicas and clients have only one of each. */
async function passwordsIn(folder: string): Promise<{ password: string; adminPassword: string }> {
  const path = join(folder, 'cluster.json');
  const record = await readRecord(path);
  const { password, adminPassword } = record ?? {};
  if (typeof password === 'string' && typeof adminPassword === 'string') return { password, adminPassword };
  const made = {
    password: randomBytes(24).toString('base64url'),
    adminPassword: randomBytes(24).toString('base64url'),
  };
  await writeRecord(path, made);
  return made;
}

async function startNode(options: ClusterOptions, folder: string, index: number): Promise<ClusterNode> {
  const { nodeTimeoutMs = 2_000, maxmemoryMb = 256, onStarted = () => undefined } = options;
  const passwords = await passwordsIn(folder);
  const name = `redis-${index + 1}`;
  const dataDir = join(folder, name);
  await mkdir(dataDir, { recursive: true });
  const recordPath = join(dataDir, 'redis.json');
  await writeRecord(recordPath, { ...(await readRecord(recordPath)), ...passwords });
  const to = options.announced?.[index];
  let busPort = await freeLoopbackPort();
  const start = async (): Promise<LocalRedis> => {
    busPort = await freeLoopbackPort(busPort);
    const settings = [
      ...settingsOf(busPort, nodeTimeoutMs, passwords.adminPassword, to),
      ...(options.users ?? []).map((user) => serviceUser(user, passwords.password)),
    ];
    return startLocalRedis({ ...options, dataDir, maxmemoryMb, settings });
  };
  let server = await start();
  const id = await withRedis(server.adminUrl, async (redis) => String(await redis.cluster('MYID')));
  const node: ClusterNode = {
    index,
    name,
    id,
    dataDir,
    get busPort() {
      return busPort;
    },
    get announced() {
      return to ?? { port: server.port, busPort };
    },
    get server() {
      return server;
    },
    async start() {
      server = await start();
      onStarted(node);
    },
  };
  onStarted(node);
  return node;
}

async function infoOf(node: ClusterNode): Promise<{ cluster: string; replication: string }> {
  return withRedis(node.server.adminUrl, async (redis) => ({
    cluster: String(await redis.cluster('INFO')),
    replication: await redis.info('replication'),
  }));
}

/** Gives the slots to the first three nodes, introduces all to each other and makes the others replicas. */
async function form(nodes: readonly ClusterNode[]): Promise<void> {
  const share = Math.ceil(slotsMax / mastersCount);
  for (const { index, server } of nodes) {
    await withRedis(server.adminUrl, async (redis) => {
      // Epochs that differ from the start need not be sorted out by the nodes, which takes them seconds.
      await redis.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
      if (index < mastersCount) {
        const last = Math.min(slotsMax, (index + 1) * share) - 1;
        await redis.call('CLUSTER', 'ADDSLOTSRANGE', index * share, last);
      }
      for (const { announced } of nodes.slice(0, index)) {
        await redis.call('CLUSTER', 'MEET', host, announced.port, announced.busPort);
      }
    });
  }
  const haveMet = async (): Promise<boolean> => {
    const infos = await Promise.all(nodes.map(infoOf));
    return infos.every(({ cluster }) => cluster.includes(`cluster_known_nodes:${nodesCount}`));
  };
  if (!(await waitUntil(haveMet, formingMs, 50))) throw new Error('the nodes of the cluster did not meet');
  for (const node of nodes.slice(mastersCount)) {
    const master = nodes[node.index - mastersCount]!;
    // A node that has only met the others by name refuses until it has exchanged a word with them.
    let refusal: unknown;
    const isReplica = await waitUntil(
      async () => {
        refusal = await withRedis(node.server.adminUrl, (redis) =>
          redis.call('CLUSTER', 'REPLICATE', master.id),
        ).catch((error: unknown) => error);
        return refusal === 'OK';
      },
      formingMs,
      50,
    );
    if (!isReplica) throw new Error(`${node.name} does not become a replica: ${String(refusal)}`);
  }
}

/**
 * A master that was replaced becomes a replica by itself only where all that its successor owns was its own. A shard that moved
 * to the successor before it came back makes it an empty master, and an operator gives it its place again.
 */
async function adopt({ node: master }: Role, roles: readonly Role[]): Promise<void> {
  const empty = roles.find(({ isMaster, slots }) => isMaster && slots.length === 0);
  if (!empty) return;
  await withRedis(
    empty.node.server.adminUrl,
    async (redis) => {
      // Only a master without keys may become a replica; what it has is older than what its successor has.
      await redis.flushall();
      await redis.cluster('REPLICATE', master.id);
    },
    sayingMs,
  );
}

/** What keeps the cluster from being whole; undefined when nothing does. */
async function missing(nodes: readonly ClusterNode[]): Promise<string | undefined> {
  const roles = await rolesOf(nodes);
  if (roles.length < nodes.length) return `only ${roles.length} of ${nodes.length} nodes answer`;
  for (const node of nodes) {
    const { cluster, replication } = await infoOf(node);
    if (!/cluster_state:ok/.test(cluster))
      return `${node.name} says ${/cluster_state:\w+/.exec(cluster)?.[0]}`;
    if (!/cluster_slots_ok:16384/.test(cluster)) return `${node.name} does not know every slot`;
    if (/role:slave/.test(replication) && !/master_link_status:up/.test(replication))
      return `${node.name} is not in step with its master`;
  }
  const owners = ownersAmong(roles);
  const alone = owners.find(({ node }) => !roles.some(({ masterId }) => masterId === node.id));
  if (alone) {
    await adopt(alone, roles);
    return `${alone.node.name} has no replica`;
  }
  const owned = owners.reduce((sum, { slots }) => sum + slots.length, 0);
  return owned === slotsMax ? undefined : `${owned} slots are owned`;
}

async function rolesOf(nodes: readonly ClusterNode[]): Promise<Role[]> {
  const answers = await Promise.all(
    nodes.map(async (node) => {
      try {
        const ask = async (redis: Redis) => String(await redis.cluster('NODES'));
        const text = await withRedis(node.server.adminUrl, ask, sayingMs);
        return [{ node, ...parseOwnLine(text) }];
      } catch {
        return [];
      }
    }),
  );
  return answers.flat();
}

/** Starts the nodes under the folder and forms the cluster, or brings back the one whose data are there. */
export async function startRedisCluster(options: ClusterOptions): Promise<RedisCluster> {
  const folder = options.dataDir;
  await mkdir(folder, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const nodes: ClusterNode[] = [];
  stack.defer(async () => void (await Promise.all(nodes.map(({ server }) => server.stop()))));
  // One after the other: each looks for free ports, and two that look at once may find the same.
  for (let index = 0; index < nodesCount; index += 1) nodes.push(await startNode(options, folder, index));
  const isNew = (await infoOf(nodes[0]!)).cluster.includes('cluster_known_nodes:1\r');
  if (isNew) await form(nodes);

  const ask: RedisCluster['ask'] = (node, work) => withRedis(node.server.adminUrl, work);
  const masters = async (): Promise<Role[]> => ownersAmong(await rolesOf(nodes));
  const { password } = await passwordsIn(folder);
  const urlOf = (user: string): string =>
    `redis-cluster://${user}:${password}@${nodes.map(({ announced }) => `${host}:${announced.port}`).join(',')}`;
  const whole = async (timeoutMs = formingMs): Promise<void> => {
    let left: string | undefined;
    const isWhole = await waitUntil(
      async () => {
        options.abort?.throwIfAborted();
        left = await missing(nodes).catch(String);
        return left === undefined;
      },
      timeoutMs,
      50,
    );
    if (!isWhole) throw new Error(`the cluster is not whole after ${timeoutMs / 1_000} s: ${left}`);
  };
  await whole();
  const standing = stack.move();
  return {
    nodes,
    urlOf,
    get url() {
      return urlOf('points');
    },
    roles: (except) => rolesOf(nodes.filter((node) => node !== except)),
    masters,
    async masterOfKey(key) {
      const slot = slotOfKey(key);
      const owner = (await masters()).find(({ slots }) => slots.includes(slot));
      if (!owner) throw new Error(`no node that answers owns the slot of ${key}`);
      return owner.node;
    },
    async replicasOf(master) {
      return (await rolesOf(nodes)).filter(({ masterId }) => masterId === master.id).map(({ node }) => node);
    },
    ask,
    whole,
    async flush() {
      for (const { node } of await masters()) {
        await ask(node, async (redis) => {
          await redis.flushall();
          await redis.script('FLUSH');
        });
      }
    },
    stop: () => standing.disposeAsync(),
  };
}
