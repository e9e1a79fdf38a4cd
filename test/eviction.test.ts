/** A hot set that fills the memory of Redis makes room for who comes. */
import { afterAll, expect, test } from 'vitest';
import { createPressureEviction } from '#src/jobs/eviction.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { startEngine, waitFor } from './harness.ts';
import type { Shop } from './house/shop.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await startEngine({
  shardCount: 4,
  maxmemoryMb: 64,
  onlyOneRedis: 'fills the memory of one process',
});
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, redis } = engine;

async function usedBytes(): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1]);
}

async function isServed(number: MemberNumber, by: Shop = shop): Promise<boolean> {
  return (await by.pos('GET', `/v1/members/${memberId(number)}/balances`)).status === 200;
}

const together = 64;
const members = 8_000;

async function enrolled(by: Shop, on: typeof pool): Promise<MemberNumber[]> {
  const { rows } = await on.query<{ number: MemberNumber }>(
    `insert into member (program, joined_at) select $1, now() from generate_series(1, $2::int) returning number`,
    [by.program.number, members],
  );
  return rows.map((row) => row.number);
}

test('Redis is full of members: cold ones are still served, because those that waited longest make room', async () => {
  const numbers = await enrolled(shop, pool);
  const used = await usedBytes();
  await redis.config('SET', 'maxmemory', Math.round(used * 1.3));
  // Nobody makes room: the memory fills with members, and loads are refused.
  let served = 0;
  for (let isFull = false; !isFull && served < numbers.length; ) {
    const batch = await Promise.all(
      numbers.slice(served, served + together).map((number) => isServed(number)),
    );
    isFull = batch.includes(false);
    served += batch.filter(Boolean).length;
  }
  expect(served).toBeLessThan(numbers.length);

  const makeRoom = createPressureEviction(engine.app);
  let sometimes = 0;
  for (let from = numbers.length - members / 2; from < numbers.length; from += together) {
    let open = numbers.slice(from, from + together);
    await waitFor(
      'the whole batch is served',
      async () => {
        const answers = await Promise.all(open.map((number) => isServed(number)));
        open = open.filter((_, i) => !answers[i]);
        if ((await makeRoom()) > 0) sometimes += 1;
        return open.length === 0;
      },
      20_000,
    );
  }
  // It went on all the time, a part of the members at a time.
  expect(sometimes).toBeGreaterThan(1);
  expect(await usedBytes()).toBeLessThan(used * 1.3);
  await redis.config('SET', 'maxmemory', 64 * 1_048_576);
}, 120_000);

test('Redis is full when its scripts are lost: every shard is recovered all the same, and moves points once there is room', async () => {
  const numbers = await enrolled(shop, pool);
  for (let from = 0; from < members / 2; from += together)
    await Promise.all(numbers.slice(from, from + together).map((number) => isServed(number)));
  await engine.drained();
  const oneOfEach = numbers.slice(0, 4);
  const epochOf = (number: MemberNumber) => engine.app.epochs.of(number % 4)?.epoch ?? 0;
  const before = oneOfEach.map(epochOf);
  try {
    await redis.config('SET', 'maxmemory', 1_048_576);
    await redis.script('FLUSH');
    await waitFor(
      'every shard is open in a new epoch',
      () => oneOfEach.every((number, i) => epochOf(number) > before[i]!),
      20_000,
    );
    const used = await usedBytes();
    expect(used).toBeGreaterThan(1_048_576);
    await redis.config('SET', 'maxmemory', Math.round(used * 0.97));
    const makeRoom = createPressureEviction(engine.app);
    for (const number of oneOfEach) {
      await waitFor(
        'the shard moves points',
        async () => {
          await makeRoom();
          const receipt = shop.receipt(memberId(number), 5);
          return (await shop.pos('POST', '/v1/accruals', receipt)).status === 201;
        },
        20_000,
      );
    }
  } finally {
    await redis.config('SET', 'maxmemory', 64 * 1_048_576);
  }
}, 120_000);

test('Redis is full before upkeep starts: it makes room all the same, and its timers run', async () => {
  const spawned = await spawnEngine({ shardCount: 4, maxmemoryMb: 64 });
  const { redis } = spawned.stores;
  try {
    const one = await spawned.shop();
    const numbers = await enrolled(one, spawned.stores.pool);
    const hot = numbers.slice(0, -1);
    for (let from = 0; from < hot.length; from += together)
      await Promise.all(hot.slice(from, from + together).map((number) => isServed(number, one)));
    const used = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1]);
    await redis.config('SET', 'maxmemory', Math.round(used * 0.98));
    const cold = numbers.at(-1)!;
    expect(await isServed(cold, one)).toBe(false);
    await spawned.startUpkeep();
    await waitFor('a cold member is served', () => isServed(cold, one), 20_000);
    await waitFor('a job has run', async () => (await redis.zcard('{bull}:upkeep:completed')) > 0, 20_000);
  } finally {
    await redis.config('SET', 'maxmemory', 64 * 1_048_576);
    await spawned.end();
  }
}, 120_000);
