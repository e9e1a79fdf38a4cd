/** What faults that destroy a node, or its data, have in common. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { keys } from '#src/wallet/keys.ts';
import type { House } from '../house.ts';
import type { RedisNode } from '../house-redis.ts';
import { processState } from '../member-process.ts';
import type { Random } from '../random.ts';
import { seen } from './fault.ts';

/** The last id of each shard's journal, to be compared with that of another moment or node. */
export async function lastIdsOf(redis: Redis, shards: readonly number[]): Promise<string[]> {
  const ids: string[] = [];
  for (const shard of shards) {
    const last = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
    ids.push(last[0]?.[0] ?? '0-0');
  }
  return ids;
}

/** In how many journals two such lists differ. */
export function differing(some: readonly string[], others: readonly string[]): number {
  return some.filter((id, i) => id !== others[i]).length;
}

/** kill -9 of a Redis. Answers the number that its process had. */
export async function kill({ name, server: { pid, exited } }: RedisNode): Promise<number> {
  process.kill(pid, 'SIGKILL');
  await exited;
  const state = await processState(pid);
  seen(state === undefined || state === 'Z', `${name} is gone`);
  return pid;
}

/**
 * Destroys while the books are behind: the writers' way to PostgreSQL is slow for a moment, so that there is something that
 * only Redis knows, and somebody who waits for the books to have it.
 */
export async function whileBooksAreBehind<T>(
  house: House,
  random: Random,
  destroy: () => Promise<T>,
): Promise<T> {
  const links = house.of('writer').map(({ postgresLink }) => postgresLink);
  const lateMs = random.pick([0, 150, 400]);
  for (const link of links) link.delay(lateMs);
  try {
    await delay(lateMs);
    return await destroy();
  } finally {
    for (const link of links) link.heal();
  }
}
