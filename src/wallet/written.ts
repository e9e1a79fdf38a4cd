/**
 * How far the books reach, and who waits for them. A written position satisfies a waiter only within its own epoch:
 * after a recovery a higher epoch says nothing about what the old one held, so its waiters are told to look the
 * operation up instead (`moved`).
 */
import type pg from 'pg';
import type { AnyRedis } from '#src/platform/redis-nodes.ts';
import type { Position, Soon } from '#src/values.ts';
import { writtenChannel } from './keys.ts';

export type Waited = 'written' | 'moved' | 'timeout';

export interface Written {
  /** Waits until the books hold the record at `position`; what is known already, or is not waited for, comes at once. */
  wait(position: Position, timeoutMs: number): Soon<Waited>;
  /** The highest written position of a shard that this process has heard of. */
  of(shard: number): { readonly epoch: number; readonly seq: number } | undefined;
  stop(): void;
}

interface Waiter {
  readonly position: Position;
  readonly settle: (waited: Waited) => void;
}

/** Announcements can be lost, so positions are read from PostgreSQL this often while somebody waits. */
const rereadMs = 50;

export function createWritten(subscriber: AnyRedis, pool: pg.Pool): Written {
  const reached = new Map<number, { epoch: number; seq: number }>();
  const waiters = new Map<number, Set<Waiter>>();
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;

  function verdict(position: Position): Waited | undefined {
    const now = reached.get(position.shard);
    if (!now || now.epoch < position.epoch) return undefined;
    if (now.epoch > position.epoch) return 'moved';
    return now.seq >= position.seq ? 'written' : undefined;
  }

  function advance(shard: number, epoch: number, seq: number): void {
    const before = reached.get(shard);
    if (before && (before.epoch > epoch || (before.epoch === epoch && before.seq >= seq))) return;
    reached.set(shard, { epoch, seq });
    for (const waiter of waiters.get(shard) ?? []) {
      const waited = verdict(waiter.position);
      if (waited) waiter.settle(waited);
    }
  }

  async function reread(): Promise<void> {
    if (waiting === 0) return;
    const result = await pool.query<{ shard: number; epoch: number; seq: number }>(
      'select shard, epoch, seq from position',
    );
    for (const row of result.rows) advance(row.shard, row.epoch, row.seq);
  }

  function watch(): void {
    timer ??= setTimeout(() => {
      reread()
        .catch(() => {})
        .finally(() => {
          timer = undefined;
          if (waiting > 0) watch();
        });
    }, rereadMs);
  }

  void subscriber.subscribe(writtenChannel).catch(() => {});
  const listen = (channel: string, message: string) => {
    if (channel !== writtenChannel) return;
    for (const [shard, epoch, seq] of JSON.parse(message) as [number, number, number][])
      advance(shard, epoch, seq);
  };
  subscriber.on('message', listen);

  return {
    of: (shard) => reached.get(shard),
    wait(position, timeoutMs) {
      const already = verdict(position);
      if (already) return already;
      if (timeoutMs <= 0) return 'timeout';
      return new Promise((resolve) => {
        const settle = (waited: Waited) => {
          clearTimeout(deadline);
          if (waiters.get(position.shard)?.delete(waiter)) waiting -= 1;
          resolve(waited);
        };
        const waiter: Waiter = { position, settle };
        const deadline = setTimeout(settle, timeoutMs, 'timeout');
        const ofShard = waiters.get(position.shard) ?? new Set();
        waiters.set(position.shard, ofShard.add(waiter));
        waiting += 1;
        watch();
      });
    },
    stop() {
      subscriber.off('message', listen);
      clearTimeout(timer);
      for (const set of waiters.values()) for (const waiter of set) waiter.settle('timeout');
    },
  };
}
