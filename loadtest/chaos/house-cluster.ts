/**
 * A Redis Cluster in the house. Every node announces the ports of two proxies: one for clients and for its replica, which
 * all share, and one for the bus, by which the nodes watch each other. So a node can be cut off from some and not from
 * others: connections are told apart by the first words on them.
 */
import { waitUntil } from '#src/platform/local/processes.ts';
import type { LocalOptions } from '#src/platform/local/server.ts';
import { keys } from '#src/wallet/keys.ts';
import { ownersAmong, slotOfKey, slotsMax } from '../setup/cluster-nodes.ts';
import { type ClusterNode, type RedisCluster, startRedisCluster } from '../setup/redis-cluster.ts';
import type { HouseRedis, RedisNode } from './house-redis.ts';
import { type Link, startProxy } from './proxy.ts';

/** Short, so that a failover takes seconds; longer than a plain restart of a node, which is none. */
const nodeTimeoutMs = 2_000;
const maxmemoryMb = 512;

export interface HouseCluster extends RedisCluster {
  /** Where clients and the replica reach a node. */
  linkOf(node: RedisNode): Link;
  nodeOf(node: RedisNode): ClusterNode;
  /** Nothing of the master reaches its replicas any more; everybody else is served. */
  cutOffReplicas(master: RedisNode): void;
  /** The bus between the node and all others is cut, and to its replicas; clients still reach it where `isServed`. */
  isolate(node: RedisNode, isServed: boolean): void;
  /** A process of the house reaches no other node any more; whatever it has sent to the others is lost. */
  blind(process: string, except: RedisNode): void;
  /** All links to nodes, and between them, are ordinary again. */
  heal(): void;
  /** Waits until another node decides for what the node decided for. Answers whether one does. */
  replaced(node: RedisNode, timeoutMs: number): Promise<boolean>;
}

/** A replica says this before it asks for data; a client never does. */
const replicaWord = 'REPLCONF';
/** Where a message on the bus names its sender; further on it also names others. */
const senderAt = 40;

/** Starts the cluster and stands proxies in front of its nodes. */
export async function openClusterRedis(
  servers: LocalOptions,
  shardCount: number,
  processes: readonly string[],
): Promise<HouseRedis> {
  const fronts: { readonly link: Link; readonly bus: Link }[] = [];
  for (const name of ['redis-1', 'redis-2', 'redis-3', 'redis-4', 'redis-5', 'redis-6']) {
    fronts.push({
      link: await startProxy(`everybody → Redis ${name}`, 0),
      bus: await startProxy(`bus → ${name}`, 0),
    });
  }
  const cluster = await startRedisCluster({
    ...servers,
    maxmemoryMb,
    nodeTimeoutMs,
    // Each process logs in under its own name, by which its connections are told from those of the others.
    users: processes,
    announced: fronts.map(({ link, bus }) => ({ port: link.port, busPort: bus.port })),
    onStarted({ index, server, busPort }) {
      fronts[index]!.link.retarget(server.port);
      fronts[index]!.bus.retarget(busPort);
    },
  });
  const nodeOf = (node: RedisNode): ClusterNode => cluster.nodes.find(({ name }) => name === node.name)!;
  const slots = Array.from({ length: shardCount }, (_, shard) => slotOfKey(keys.journal(shard)));
  const links = fronts.map(({ link }) => link);

  async function byShard(): Promise<ClusterNode[]> {
    const masters = await cluster.masters();
    return slots.map((slot, shard) => {
      const owner = masters.find((role) => role.slots.includes(slot));
      if (!owner) throw new Error(`no node that answers decides for shard ${shard}`);
      return owner.node;
    });
  }

  const house: HouseCluster = {
    ...cluster,
    nodeOf,
    linkOf: (node) => links[nodeOf(node).index]!,
    cutOffReplicas: (master) => house.linkOf(master).freeze((opening) => opening.includes(replicaWord)),
    isolate(node, isServed) {
      const { index, id } = nodeOf(node);
      for (const [i, { bus }] of fronts.entries()) {
        if (i === index) bus.freeze();
        else bus.freeze((opening) => opening.toString('latin1', senderAt, senderAt + id.length) === id);
      }
      if (isServed) house.cutOffReplicas(node);
      else house.linkOf(node).freeze();
    },
    blind(process, except) {
      const others = cluster.nodes.filter(({ name }) => name !== except.name);
      for (const node of others) house.linkOf(node).freeze((opening) => opening.includes(process));
    },
    heal() {
      for (const { link, bus } of fronts) {
        link.heal();
        bus.heal();
      }
    },
    replaced: (node, timeoutMs) =>
      waitUntil(
        async () => {
          const owners = ownersAmong(await cluster.roles(nodeOf(node)));
          return owners.reduce((sum, role) => sum + role.slots.length, 0) === slotsMax;
        },
        timeoutMs,
        50,
      ),
  };
  return {
    nodes: cluster.nodes,
    links,
    connect: async (process) => ({ url: cluster.urlOf(process), links }),
    masters: async () => [...new Set(await byShard())].toSorted((a, b) => a.index - b.index),
    byShard,
    owners: async () => (await byShard()).map(({ name }, shard) => `${shard}: ${name}`).join(', '),
    whole: (timeoutMs) => cluster.whole(timeoutMs),
    replace() {
      throw new Error('a node of a cluster is replaced by its replica');
    },
    cluster: house,
    async end() {
      await Promise.all(fronts.flatMap(({ link, bus }) => [link.close(), bus.close()]));
      await cluster.stop();
    },
  };
}
