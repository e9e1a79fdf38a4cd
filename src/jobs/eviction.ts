/**
 * Lets members and operation states leave Redis that nobody has asked for in a while. A script removes each only when its
 * last record is in the books, so nothing is lost; the next movement loads it again.
 */
import type { App } from '#src/app.ts';
import { keys, shardPrefix } from '#src/wallet/keys.ts';

const scanCount = 1_000;
const perCall = 100;
const scansMax = 100_000;

async function idleKeys(
  app: App,
  pattern: string,
  idleSecondsMin: number,
  evict: (found: string[]) => Promise<void>,
): Promise<void> {
  let cursor = '0';
  for (let scan = 0; scan < scansMax; scan += 1) {
    const [next, found] = await app.redis.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount);
    if (found.length > 0) {
      const pipeline = app.redis.pipeline();
      for (const key of found) pipeline.object('IDLETIME', key);
      const idle = (await pipeline.exec()) ?? [];
      const old = found.filter((_, i) => Number(idle[i]?.[1] ?? 0) >= idleSecondsMin);
      for (let from = 0; from < old.length; from += perCall) await evict(old.slice(from, from + perCall));
    }
    cursor = next;
    if (cursor === '0') return;
  }
}

/** Evicts what has been idle for `idleSecondsMin`; answers how many keys went. */
export async function evictIdle(app: App, idleSecondsMin: number): Promise<number> {
  const positions = await app.pool.query<{ shard: number; epoch: number; seq: number }>(
    'select shard, epoch, seq from position',
  );
  let evicted = 0;
  for (const { shard, epoch, seq } of positions.rows) {
    const known = app.epochs.of(shard);
    if (known?.epoch !== epoch) continue;
    const prefix = shardPrefix(shard);
    for (const kind of ['m:', 'o:']) {
      await idleKeys(app, `${prefix}${kind}*`, idleSecondsMin, async (found) => {
        const suffixes = found.map((key) => key.slice(prefix.length));
        const answer = await app.redis.evalsha(
          known.scripts.evict.sha,
          1,
          keys.journal(shard),
          seq,
          ...suffixes,
        );
        if (typeof answer === 'number') evicted += answer;
      });
    }
  }
  app.telemetry.metrics.membersEvicted.inc(evicted);
  return evicted;
}
