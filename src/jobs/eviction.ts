/**
 * Lets members and operation states leave Redis that nobody has asked for in a while. A script removes each only when its
 * last record is in the books, so nothing is lost; the next movement loads it again.
 *
 * A run looks at a bounded part of the key space and the next one goes on from there: the idempotency entries of twenty
 * minutes can be ten million keys, and a pass over all of them at once would be felt.
 */
import type { App } from '#src/app.ts';
import { keys, shardOfKey, shardPrefix, statePattern } from '#src/wallet/keys.ts';

const scanCount = 1_000;
const scansPerRunMax = 500;
const perCall = 100;

/** Evicts what has been idle for `idleSecondsMin`. Each call goes on where the last one ended; answers how many went. */
export function createEviction(app: App, idleSecondsMin: number): () => Promise<number> {
  let cursor = '0';

  async function evictShard(
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
      const answer = await app.redis.evalsha(scripts.evict.sha, 1, keys.journal(shard), seq, ...suffixes);
      if (typeof answer === 'number') evicted += answer;
    }
    return evicted;
  }

  /** How far each shard is written, where this process knows its epoch. */
  async function writtenThrough(): Promise<Map<number, number>> {
    const positions = await app.pool.query<{ shard: number; epoch: number; seq: number }>(
      'select shard, epoch, seq from position',
    );
    return new Map(
      positions.rows
        .filter((row) => app.epochs.of(row.shard)?.epoch === row.epoch)
        .map((row) => [row.shard, row.seq]),
    );
  }

  return async () => {
    const written = await writtenThrough();
    let evicted = 0;
    for (let scan = 0; scan < scansPerRunMax; scan += 1) {
      const [next, found] = await app.redis.scan(cursor, 'MATCH', statePattern, 'COUNT', scanCount);
      cursor = next;
      if (found.length > 0) {
        const pipeline = app.redis.pipeline();
        for (const key of found) pipeline.object('IDLETIME', key);
        const idle = (await pipeline.exec()) ?? [];
        const old = Map.groupBy(
          found.filter((_, i) => Number(idle[i]?.[1] ?? 0) >= idleSecondsMin),
          shardOfKey,
        );
        for (const [shard, group] of old) evicted += await evictShard(shard, group, written);
      }
      if (cursor === '0') break;
    }
    app.telemetry.metrics.membersEvicted.inc(evicted);
    return evicted;
  };
}
