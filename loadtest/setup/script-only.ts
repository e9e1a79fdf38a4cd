/** Brings up the contestant that only calls a script: a fresh Redis of its own for every round, and one process. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { type Contestant, type Standing, type Surroundings, startNode } from '../contestant.ts';
import { accrual } from '../requests.ts';

export function scriptOnly(around: Surroundings): Contestant {
  async function start(): Promise<Standing> {
    await using stack = new AsyncDisposableStack();
    const dataDir = await mkdtemp(join(around.folder, 'script-only-'));
    stack.defer(() => rm(dataDir, { recursive: true, force: true }));
    const redis = await startLocalRedis({
      dataDir,
      cacheDir: around.cacheDir,
      abort: around.abort,
      maxmemoryMb: 4_096,
    });
    stack.defer(() => redis.stop());
    const port = await freeLoopbackPort();
    const settings = JSON.stringify({ port, redisUrl: redis.url });
    const api = startNode('script-only', ['loadtest/contestants/script-only.ts', settings], around);
    stack.defer(() => api.stop());
    await api.message();
    const client = new Redis(redis.url);
    stack.defer(() => client.disconnect());
    const standing = stack.move();
    return {
      port,
      processes: { api: api.pid, redis: redis.pid },
      stored: () => client.xlen('journal'),
      stop: () => standing.disposeAsync(),
    };
  }

  return {
    name: 'script-only',
    title: 'Express that only calls a script',
    durability: 'journal in Redis, appendfsync always; nobody drains it',
    connections: 128,
    isAccrual: true,
    request: accrual,
    prepare: () => Promise.resolve('one connection with automatic pipelining'),
    start,
  };
}
