/**
 * Lets members and operation states leave Redis that nobody has asked for in a while, or that have waited longest when the
 * memory runs out. A script removes each only when its
 * last record is in the books, so nothing is lost; the next movement loads it again.
 *
 * A run looks at a bounded part of the key space and the next one goes on from there: the idempotency entries of twenty
 * minutes can be ten million keys, and a pass over all of them at once would be felt.
 */
import type { Redis } from 'ioredis';
import type { App } from '#src/app.ts';
import { type RedisNode, scanNodes } from '#src/platform/redis-nodes.ts';
import { keys, shardOfKey, shardPrefix, statePattern } from '#src/wallet/keys.ts';

const scanCount = 1_000;
const scansPerRunMax = 500;
const perCall = 100;

/** Below this share of maxmemory nobody has to leave; a run ends at the lower one, so that runs do not follow on each other. */
const pressureFrom = 0.85;
const pressureTo = 0.8;
const pressureMs = 800;

/** How far each shard is written, where this process knows its epoch. */
async function writtenThrough(app: App): Promise<Map<number, number>> {
  const positions = await app.pool.query<{ shard: number; epoch: number; seq: number }>(
    'select shard, epoch, seq from position',
  );
  return new Map(
    positions.rows
      .filter((row) => app.epochs.of(row.shard)?.epoch === row.epoch)
      .map((row) => [row.shard, row.seq]),
  );
}

async function evictShard(
  app: App,
  shard: number,
  found: readonly string[],
  written: ReadonlyMap<number, number>,
): Promise<number> {
  const scripts = app.epochs.of(shard)?.scripts;
  const seq = written.get(shard);
  if (!scripts || seq === undefined) return 0;
  let evicted = 0;
  for (let from = 0; from < found.length; from += perCall) {
    const suffixes = found.slice(from, from + perCall).map((key) => key.slice(shardPrefix(shard).length));
    const redis = app.nodes.of(shard);
    const answer = await redis.evalsha(scripts.evict.sha, 1, keys.journal(shard), seq, ...suffixes);
    if (typeof answer === 'number') evicted += answer;
  }
  return evicted;
}

async function evictAll(
  app: App,
  found: readonly string[],
  written: ReadonlyMap<number, number>,
): Promise<number> {
  let evicted = 0;
  for (const [shard, group] of Map.groupBy(found, shardOfKey))
    evicted += await evictShard(app, shard, group, written);
  app.telemetry.metrics.membersEvicted.inc(evicted);
  return evicted;
}

/** Seconds since each key was used; a key that is gone counts as just used. */
async function idleSeconds(redis: Redis, found: readonly string[]): Promise<number[]> {
  if (found.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const key of found) pipeline.object('IDLETIME', key);
  const replies = (await pipeline.exec()) ?? [];
  return found.map((_, i) => Number(replies[i]?.[1] ?? 0));
}

/** Evicts what has been idle for `idleSecondsMin`. Each call goes on where the last one ended; answers how many went. */
export function createEviction(app: App, idleSecondsMin: number): () => Promise<number> {
  let place: string | undefined;
  return async () => {
    const written = await writtenThrough(app);
    let evicted = 0;
    for (let scan = 0; scan < scansPerRunMax; scan += 1) {
      const { redis, names: found, next } = await scanNodes(app.nodes, place, statePattern, scanCount);
      place = next;
      const idle = await idleSeconds(redis, found);
      evicted += await evictAll(
        app,
        found.filter((_, i) => idle[i]! >= idleSecondsMin),
        written,
      );
      if (place === undefined) break;
    }
    return evicted;
  };
}

async function memoryShareOf({ redis }: RedisNode): Promise<number> {
  const text = await redis.info('memory');
  const of = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return of('maxmemory') === 0 ? 0 : of('used_memory') / of('maxmemory');
}

/** The fullest server and how full it is; one that does not answer is nobody's to empty. */
async function fullest(app: App): Promise<{ node: RedisNode; share: number } | undefined> {
  const shares = await Promise.all(
    app.nodes.all().map(async (node) => ({ node, share: await memoryShareOf(node).catch(() => -1) })),
  );
  const found = shares.filter(({ share }) => share >= 0).sort((a, b) => b.share - a.share)[0];
  if (found) app.telemetry.metrics.redisMemoryRatio.set(found.share);
  return found;
}

/**
 * Makes room when Redis nears its maxmemory: of every batch that SCAN finds, the half that has waited longest leaves, until
 * enough is free or the time is up. A hot set that fills the memory would otherwise stop every cold load, because idle
 * time alone lets nobody go. Answers how many went.
 */
export function createPressureEviction(app: App): () => Promise<number> {
  const cursors = new Map<string, string>();
  return async () => {
    const pressed = await fullest(app);
    if (!pressed || pressed.share < pressureFrom) return 0;
    const { address, redis } = pressed.node;
    const deadline = performance.now() + pressureMs;
    const written = await writtenThrough(app);
    let evicted = 0;
    for (let scan = 0; scan < scansPerRunMax && performance.now() < deadline; scan += 1) {
      const cursor = cursors.get(address) ?? '0';
      const [next, found] = await redis.scan(cursor, 'MATCH', statePattern, 'COUNT', scanCount);
      cursors.set(address, next);
      const idle = await idleSeconds(redis, found);
      const oldest = found.map((key, i) => ({ key, idle: idle[i]! })).sort((a, b) => b.idle - a.idle);
      const leaving = oldest.slice(0, Math.ceil(oldest.length / 2)).map(({ key }) => key);
      evicted += await evictAll(app, leaving, written);
      if ((await memoryShareOf(pressed.node)) < pressureTo) break;
    }
    return evicted;
  };
}

const roomEveryMs = 1_000;

/**
 * Makes room every second. A timer of this process and no job: a full Redis refuses the queue's own writes, and what makes
 * room must not wait for room.
 */
export function keepRoom(app: App): { stop(): Promise<void> } {
  const makeRoom = createPressureEviction(app);
  let running: Promise<unknown> | undefined;
  const timer = setInterval(() => {
    running ??= makeRoom()
      .catch((error: unknown) => app.telemetry.log.error({ err: error }, 'no room could be made in Redis'))
      .finally(() => {
        running = undefined;
      });
  }, roomEveryMs);
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
