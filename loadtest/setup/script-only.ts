/**
 * Brings up the contestants whose Express only calls a script: a fresh Redis of their own for every round, and one process;
 * one of them with a minimal ledger writer beside it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type LocalRedis, startLocalRedis } from '#src/platform/local/redis.ts';
import { type Contestant, type Stage, type Surroundings, startListening, startNode } from '../contestant.ts';
import type { Lag } from '../lag.ts';
import { accrual, only } from '../requests.ts';
import { type Database, openDatabase } from './postgres.ts';

const load = {
  connections: 128,
  counted: { name: 'accruals', perRequest: 1 },
  isAccrual: true,
  traffic: only(accrual),
} as const;
const alone: Contestant = {
  ...load,
  name: 'script-only',
  title: 'Express that only calls a script with the same writes',
  durability: 'journal in Redis, appendfsync always; nobody drains it',
};
const withWriter: Contestant = {
  ...load,
  name: 'script-writer',
  title: 'the same with a minimal ledger writer',
  durability: 'journal in Redis, appendfsync always; the writer brings it to PostgreSQL, synchronous commit',
};
const connection = 'one connection with automatic pipelining';

async function openRedis(around: Surroundings): Promise<AsyncDisposable & { readonly redis: LocalRedis }> {
  await using stack = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(around.folder, 'script-only-'));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const { cacheDir, abort } = around;
  const redis = await startLocalRedis({ dataDir, cacheDir, abort, maxmemoryMb: 4_096 });
  stack.defer(() => redis.stop());
  const open = stack.move();
  return { redis, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

export function scriptOnly(around: Surroundings): Stage {
  return {
    name: 'script-only',
    contestants: [alone],
    prepare: () => Promise.resolve(connection),
    async start() {
      await using stack = new AsyncDisposableStack();
      const { redis } = stack.use(await openRedis(around));
      const api = await startListening(
        'loadtest/contestants/script-only.ts',
        { redisUrl: redis.url },
        around,
      );
      stack.defer(() => api.stop());
      const client = new Redis(redis.url);
      stack.defer(() => client.disconnect());
      const standing = stack.move();
      return {
        port: api.port,
        processes: { api: api.pid, redis: redis.pid },
        stored: () => client.xlen('journal'),
        stop: () => standing.disposeAsync(),
      };
    },
  };
}

/** How far the minimal writer is behind: what the stream was given less what the position has counted. */
function lagOf(client: Redis, { pool }: Database): Lag {
  return {
    async read() {
      const { rows } = await pool.query<{ id: string; records: number }>(
        'select id, records::int as records from position',
      );
      const { id, records: written } = rows[0]!;
      const [stream, waiting] = await Promise.all([
        client.call('XINFO', 'STREAM', 'journal') as Promise<(string | number)[]>,
        client.xrange('journal', `(${id}`, '+', 'COUNT', 1),
      ]);
      const added = Number(stream[stream.indexOf('entries-added') + 1]);
      const oldest = waiting[0]?.[0];
      const seconds = oldest === undefined ? 0 : (Date.now() - Number(oldest.split('-')[0])) / 1_000;
      return { records: added - written, seconds, written };
    },
    close: () => Promise.resolve(),
  };
}

export function scriptWithWriter(around: Surroundings): Stage {
  return {
    name: 'script-writer',
    contestants: [withWriter],
    prepare: () =>
      Promise.resolve(
        `${connection}; batches of up to 1,000 in one database transaction, rows by COPY, one row of balance a member; indexes as ours: operation (id), (position), (member), (order), (reference), entry (position), balance (member)`,
      ),
    async start() {
      await using stack = new AsyncDisposableStack();
      const { redis } = stack.use(await openRedis(around));
      const database = stack.use(await openDatabase('script-writer', 'minimal-writer.sql', around));
      const client = new Redis(redis.url);
      stack.defer(() => client.disconnect());
      // The Redis is new: its journal begins, and the writer's position with it.
      await database.pool.query(`update position set id = '0-0', records = 0`);
      await client.xgroup('CREATE', 'journal', 'none', '0', 'MKSTREAM');
      const api = await startListening(
        'loadtest/contestants/script-only.ts',
        { redisUrl: redis.url },
        around,
      );
      stack.defer(() => api.stop());
      const settings = JSON.stringify({ redisUrl: redis.url, databaseUrl: database.url });
      const writer = startNode(
        'minimal-writer',
        ['loadtest/contestants/minimal-writer.ts', settings],
        around,
      );
      stack.defer(() => writer.stop());
      await writer.message();
      const lag = lagOf(client, database);
      const standing = stack.move();
      return {
        port: api.port,
        processes: { api: api.pid, writer: writer.pid, redis: redis.pid, postgres: database.pid },
        lag,
        stored: () => database.count('operation'),
        stop: () => standing.disposeAsync(),
      };
    },
  };
}
