/**
 * The servers that a writer reads from. Several hold the shards of a cluster, and one that is away or has handed a shard on
 * must not keep the others waiting: its shards are left out of the turns until it answers again, or another one owns them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { generationOf } from '#src/platform/redis.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { keys } from '#src/wallet/keys.ts';

/** How far the journal of a shard has been read. */
export interface ReadTo {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface WriterNodes {
  /** Asks whether there is a server, and in a cluster a majority, that this process reaches. Waits for nothing. */
  look(): void;
  /** Nothing was reached for `blindMs`: another writer may see more. */
  isBlind(): boolean;
  /** Whether the shard's server can be asked now. */
  isThere(shard: number): boolean;
  /** The shard's server did not answer: it is left alone for a moment. */
  leave(shard: number): void;
  /** Does something at a server; undefined, and the server is left alone for a moment, where that fails. */
  at<T>(redis: Redis, work: (redis: Redis) => Promise<T>): Promise<T | undefined>;
  /**
   * Does something at every server with what belongs to its shards, one beside the other. What is on a server that is away
   * is left out; one that fails is left alone for a moment, and its answer is missing.
   */
  byServer<T extends { readonly shard: number }, R>(
    each: readonly T[],
    work: (redis: Redis, group: readonly T[]) => Promise<R>,
  ): Promise<R[]>;
  /** Waits until one of the journals grows, at most `idleWaitMs`. */
  idle(journals: readonly ReadTo[]): Promise<void>;
}

/** Twice as long after each failure: one that stands still costs a turn of everybody a command's timeout each time. */
const awayMsMin = 200;
const awayMsMax = 2_000;
const idleWaitMs = 100;
const blindMs = 5_000;

/** Whether an error says that a Redis stands still: PostgreSQL's sound otherwise. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === 'Command timed out';
}

interface Away {
  readonly until: number;
  readonly ms: number;
  /** Of the connection: after a reconnect it is another server's matter. */
  readonly generation: number;
}

export function createWriterNodes(nodes: RedisNodes, log: Logger): WriterNodes {
  const away = new WeakMap<Redis, Away>();
  let sawAt = performance.now();
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
    const found = away.get(redis);
    const isAway = found && found.until > performance.now() && found.generation === generationOf(redis);
    return redis.status === 'ready' && !isAway;
  }

  async function at<T>(redis: Redis, work: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work(redis);
      away.delete(redis);
      return done;
    } catch (error) {
      log.warn({ err: error }, 'a Redis does not answer');
      leave(redis);
      return undefined;
    }
  }

  function leave(redis: Redis): void {
    const before = away.get(redis)?.ms ?? awayMsMin / 2;
    const ms = Math.min(before * 2, awayMsMax);
    away.set(redis, { until: performance.now() + ms, ms, generation: generationOf(redis) });
    nodes.reread();
  }

  return {
    look() {
      const asked = nodes.all().map(({ redis }) => redis.ping());
      Promise.any(asked).then(
        () => {
          if (nodes.isConfirmed()) sawAt = performance.now();
        },
        () => {},
      );
    },
    isBlind: () => performance.now() - sawAt > blindMs,
    isThere,
    leave: (shard) => leave(nodes.of(shard)),
    at,
    async byServer(each, work) {
      const there = each.filter(({ shard }) => isThere(shard));
      const groups = [...Map.groupBy(there, ({ shard }) => nodes.of(shard))];
      const done = await Promise.all(groups.map(([redis, group]) => at(redis, () => work(redis, group))));
      return done.filter((one) => one !== undefined);
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
