/**
 * The servers that a writer reads from. Several hold the shards of a cluster, and one that is away or has handed a shard on
 * must not keep the others waiting: its shards are left out of the turns until it answers again, or another one owns them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { keys } from '#src/wallet/keys.ts';
import { fallenFences, type Served } from './fence.ts';

/** How far the journal of a shard has been read. */
export interface ReadTo {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface WriterNodes {
  /** Whether the shard's server can be asked now. */
  isThere(shard: number): boolean;
  /** Does something at a server; undefined, and the server is left alone for a moment, where that fails. */
  at<T>(redis: Redis, work: () => Promise<T>): Promise<T | undefined>;
  /** Of the shards served, those whose fence has fallen; those whose server is away are not among them. */
  fallen(served: readonly Served[]): Promise<number[]>;
  /** Waits until one of the journals grows, at most `idleWaitMs`. */
  idle(journals: readonly ReadTo[]): Promise<void>;
}

const awayMs = 200;
const idleWaitMs = 100;

export function createWriterNodes(nodes: RedisNodes, log: Logger): WriterNodes {
  const awayUntil = new WeakMap<Redis, number>();
  /** Blocking reads under way. One of a shard that is slow to answer outlives the wait that it was begun for. */
  const waits = new Map<Redis, Promise<void>>();

  function wait(redis: Redis, journals: readonly ReadTo[]): void {
    const streams = journals.map(({ shard }) => keys.journal(shard));
    const ids = journals.map(({ epoch, seq }) => `${epoch}-${seq}`);
    const read = redis.xread('COUNT', 1, 'BLOCK', idleWaitMs, 'STREAMS', ...streams, ...ids).then(
      () => {},
      // A server that refuses answers at once: the wait is then the ordinary one.
      () => delay(idleWaitMs),
    );
    waits.set(
      redis,
      read.finally(() => waits.delete(redis)),
    );
  }

  function isThere(shard: number): boolean {
    const redis = nodes.of(shard);
    return redis.status === 'ready' && (awayUntil.get(redis) ?? 0) <= Date.now();
  }

  async function at<T>(redis: Redis, work: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work();
      awayUntil.delete(redis);
      return done;
    } catch (error) {
      log.warn({ err: error }, 'a Redis does not answer');
      awayUntil.set(redis, Date.now() + awayMs);
      nodes.reread();
      return undefined;
    }
  }

  return {
    isThere,
    at,
    async fallen(served) {
      const there = served.filter(({ shard }) => isThere(shard));
      const groups = [...Map.groupBy(there, ({ shard }) => nodes.of(shard))];
      const fallen = await Promise.all(
        groups.map(([redis, group]) => at(redis, () => fallenFences(redis, group))),
      );
      return fallen.flatMap((found) => found ?? []);
    },
    async idle(journals) {
      const open: Promise<void>[] = [];
      // One XREAD takes streams of one slot only: on a cluster each shard has a connection of its own to wait on.
      for (const [redis, group] of Map.groupBy(journals, ({ shard }) => nodes.blocking(shard))) {
        if (redis.status !== 'ready') continue;
        if (!waits.has(redis)) wait(redis, group);
        open.push(waits.get(redis)!);
      }
      await (open.length === 0 ? delay(idleWaitMs) : Promise.race(open));
    },
  };
}
