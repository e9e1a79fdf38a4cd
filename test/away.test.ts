/** A store that is away or stands still: who needs it is told so, and nobody else waits for it. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { Problem } from '#src/errors.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createRedis } from '#src/platform/redis.ts';
import { type AnyRedis, createAnyRedis, whenReady } from '#src/platform/redis-nodes.ts';
import type { MemberNumber } from '#src/values.ts';
import { createDailyLimit } from '#src/wallet/daily-limit.ts';
import { createOperations } from '#src/wallet/operations.ts';
import { createScriptPresence } from '#src/wallet/script-presence.ts';
import { createScriptNote } from '#src/wallet/script-versions.ts';
import { reference, startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const { app } = engine;

describe('the limit of a key for the day, where its counter cannot be reached', () => {
  const limited = { keyId: '7', program: shop.program, pointsPerDayMax: 100 };
  const movement = { points: 10, isRetry: () => Promise.resolve(false) };

  async function counterOf<T>(work: (redis: AnyRedis) => Promise<T>): Promise<T> {
    const redis = createAnyRedis(engine.stores.redisUrl, 1_000);
    try {
      await whenReady(redis);
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  test('refuses the movement as not ready before anything is done', async () => {
    await counterOf(async (redis) => {
      redis.disconnect();
      let isDone = false;
      async function work(): Promise<void> {
        isDone = true;
      }
      const within = createDailyLimit(redis).within(limited, movement, work, () => true);
      await expect(within).rejects.toMatchObject({ code: 'not_ready' });
      expect(isDone).toBe(false);
    });
  });

  test('leaves the answer of a movement as it is when the points cannot be given back', async () => {
    await counterOf(async (redis) => {
      const refused = createDailyLimit(redis).within(
        limited,
        movement,
        () => {
          redis.disconnect();
          return Promise.reject(new Problem('insufficient_points'));
        },
        () => true,
      );
      await expect(refused).rejects.toMatchObject({ code: 'insufficient_points' });
    });
    await counterOf(async (redis) => {
      const replayed = createDailyLimit(redis).within(
        limited,
        movement,
        () => {
          redis.disconnect();
          return Promise.resolve('replayed');
        },
        () => false,
      );
      expect(await replayed).toBe('replayed');
    });
  });
});

test('a cluster of which no node answers refuses commands at once, instead of keeping them', async () => {
  const redis = createAnyRedis(`redis-cluster://points:secret@127.0.0.1:${await freeLoopbackPort()}`);
  try {
    await expect(redis.incr('{limits}:x')).rejects.toThrow();
  } finally {
    redis.disconnect();
  }
});

test('the scripts of a shard are looked for although the server of another one stands still', async () => {
  const server = createServer(() => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const silent = createRedis(`redis://127.0.0.1:${(server.address() as AddressInfo).port}`, 60_000);
  try {
    const presence = createScriptPresence(
      (shard) => (shard === 0 ? silent : app.nodes.of(shard)),
      app.epochs,
      4,
    );
    await waitFor('all others are seen', () => {
      void presence.refresh();
      return presence.lacking().join() === '0';
    });
  } finally {
    silent.disconnect();
    server.close();
  }
});

test('the note of the scripts is written once at a time, however often it is due', async () => {
  const pool = createPool(engine.stores.databaseUrl, 4);
  const note = createScriptNote(pool);
  const holder = await engine.pool.connect();
  try {
    await holder.query('begin');
    await holder.query('lock table script_version in access exclusive mode');
    const writes = Array.from({ length: 8 }, () => note.write());
    await waitFor('it waits', async () => {
      const { rows } = await engine.pool.query<{ waiting: number }>(
        `select count(*)::int as waiting from pg_stat_activity where wait_event_type = 'Lock' and query like 'update script_version%'`,
      );
      return rows[0]!.waiting > 0;
    });
    expect([pool.totalCount, pool.waitingCount]).toEqual([1, 0]);
    await holder.query('commit');
    await Promise.all(writes);
  } finally {
    holder.release(true);
    await pool.end();
  }
});

test('what a server remembers of a reference counts only while it is known to hold the shard', async () => {
  const member = await shop.enrol();
  const { wallet, lookup, remembers } = app.operations;
  const named = reference();
  const done = await shop.accrue(member, 5, { reference: named });
  expect(done.status).toBe(201);
  await engine.drained();
  const found = await engine.pool.query<{ member: MemberNumber; program: number; client: number }>(
    'select member, program, client from operation order by at desc limit 1',
  );
  const draft = {
    ...found.rows[0]!,
    kind: 'accrual' as const,
    reference: named,
    fingerprint: '',
    request: {},
  };
  expect(await remembers(draft)).toBe(true);
  const doubted = createOperations(
    engine.pool,
    { ...app.nodes, believes: () => false },
    app.nodes.of(0),
    wallet,
    lookup,
    app.epochs,
    'secret',
  );
  await expect(doubted.remembers(draft)).rejects.toMatchObject({ code: 'outcome_unknown' });
  const unused = { ...draft, reference: reference() };
  await expect(doubted.answered(unused, draft.member)).rejects.toMatchObject({ code: 'outcome_unknown' });
});
