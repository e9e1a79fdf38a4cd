/**
 * The Redis of the house: one server, to which every process has a link of its own, or a cluster, whose nodes each have one
 * link that all share (`house-cluster.ts`). Faults speak of nodes, so most of them are the same for both.
 */
import { type LocalRedis, startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalOptions } from '#src/platform/local/server.ts';
import type { HouseCluster } from './house-cluster.ts';
import { type Link, startProxy } from './proxy.ts';

export interface RedisNode {
  readonly name: string;
  /** Folder of its data; the server's own files are in `redis/` of it. */
  readonly dataDir: string;
  readonly server: LocalRedis;
  /** Starts it again on its data. */
  start(): Promise<void>;
}

/** How a process reaches Redis. */
interface RedisConnection {
  readonly url: string;
  readonly links: readonly Link[];
}

export interface HouseRedis {
  readonly nodes: readonly RedisNode[];
  /** Every link to Redis that clients use. */
  readonly links: readonly Link[];
  connect(process: string): Promise<RedisConnection>;
  /** The nodes that decide at the moment. */
  masters(): Promise<readonly RedisNode[]>;
  /** The node that decides for each shard; throws where there is none. */
  byShard(): Promise<readonly RedisNode[]>;
  /** Who decides for which shard, in words: they change with every failover. */
  owners(): Promise<string>;
  /** Waits until no node is missing or behind; throws with what is. */
  whole(timeoutMs: number): Promise<void>;
  /** Another server takes the place of the only one. */
  replace(server: LocalRedis, dataDir: string): void;
  /** Undefined where there is only one Redis. */
  readonly cluster: HouseCluster | undefined;
  end(): Promise<void>;
}

export const maxmemoryMb = 1_024;

/** The URL with another port. */
export function throughLink(url: string, port: number): string {
  const linked = new URL(url);
  linked.port = String(port);
  return linked.href;
}

/** One Redis, with its data in the folder until another takes its place. */
export async function openSingleRedis(servers: LocalOptions, shardCount: number): Promise<HouseRedis> {
  const start = (dataDir: string) => startLocalRedis({ ...servers, dataDir, maxmemoryMb });
  let { dataDir } = servers;
  let server = await start(dataDir);
  const links: Link[] = [];
  const aim = (): void => {
    for (const link of links) link.retarget(server.port);
  };
  const node: RedisNode = {
    name: 'Redis',
    get dataDir() {
      return dataDir;
    },
    get server() {
      return server;
    },
    async start() {
      const { port } = server;
      server = await start(dataDir);
      if (server.port !== port) aim();
    },
  };
  return {
    nodes: [node],
    links,
    async connect(process) {
      const link = await startProxy(`${process} → Redis`, server.port);
      links.push(link);
      return { url: throughLink(server.url, link.port), links: [link] };
    },
    masters: async () => [node],
    byShard: async () => Array.from({ length: shardCount }, () => node),
    owners: async () => node.name,
    whole: async () => undefined,
    replace(by, folder) {
      server = by;
      dataDir = folder;
      aim();
    },
    cluster: undefined,
    async end() {
      await Promise.all(links.map((link) => link.close()));
      await server.stop();
    },
  };
}
