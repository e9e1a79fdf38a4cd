/** A hot set that fills the memory of Redis makes room for who comes. */
import { afterAll, expect, test } from 'vitest';
import { createPressureEviction } from '#src/jobs/eviction.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { startEngine, waitFor } from './harness.ts';

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

async function isServed(number: MemberNumber): Promise<boolean> {
  return (await shop.pos('GET', `/v1/members/${memberId(number)}/balances`)).status === 200;
}

const together = 64;
const members = 8_000;

test('Redis is full of members: cold ones are still served, because those that waited longest make room', async () => {
  await pool.query(
    `insert into member (program, joined_at) select $1, now() from generate_series(1, $2::int)`,
    [shop.program.number, members],
  );
  const found = await pool.query<{ number: MemberNumber }>(
    'select number from member where program = $1 order by number',
    [shop.program.number],
  );
  const numbers = found.rows.map((row) => row.number);
  const used = await usedBytes();
  await redis.config('SET', 'maxmemory', Math.round(used * 1.3));
  // Nobody makes room: the memory fills with members, and loads are refused.
  let served = 0;
  for (let isFull = false; !isFull && served < numbers.length; ) {
    const batch = await Promise.all(numbers.slice(served, served + together).map(isServed));
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
        const answers = await Promise.all(open.map(isServed));
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
