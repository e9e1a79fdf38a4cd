/** A hot set that fills the memory of Redis makes room for who comes. */
import { afterAll, expect, test } from 'vitest';
import { createPressureEviction } from '#src/jobs/eviction.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { startEngine, waitFor } from './harness.ts';

const megabyte = 1_048_576;
const engine = await startEngine({ shardCount: 4, maxmemoryMb: 64 });
afterAll(() => engine.end());
const shop = await engine.shop();

test('Redis is full of members: cold ones are still served, because those that waited longest make room', async () => {
  const { pool, redis } = engine;
  await pool.query(
    `insert into member (program, joined_at) select $1, now() from generate_series(1, 12000)`,
    [shop.program.number],
  );
  const { rows } = await pool.query<{ number: MemberNumber }>(
    'select number from member where program = $1 order by number',
    [shop.program.number],
  );
  const used = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1]);
  const room = megabyte;
  await redis.config('SET', 'maxmemory', used + room);
  const asked = async (number: MemberNumber) =>
    (await shop.pos('GET', `/v1/members/${memberId(number)}/balances`)).status === 200;
  // Without anybody making room, the memory fills with members and loads are refused.
  let served = 0;
  for (const { number } of rows) {
    if (!(await asked(number))) break;
    served += 1;
  }
  expect(served).toBeGreaterThan(1_000);
  expect(served).toBeLessThan(rows.length);

  const makeRoom = createPressureEviction(engine.app);
  let running = true;
  const makingRoom = (async () => {
    for (let run = 0; running && run < 100_000; run += 1) await makeRoom();
  })();
  try {
    const left = rows.slice(served);
    for (let from = 0; from < left.length; from += 64)
      await Promise.all(
        left.slice(from, from + 64).map(({ number }) => waitFor('it is served', () => asked(number), 20_000)),
      );
  } finally {
    running = false;
    await makingRoom;
    await redis.config('SET', 'maxmemory', used + 64 * megabyte);
  }
  const share = await engine.app.telemetry.registry.getSingleMetric('loyalty_redis_memory_ratio')!.get();
  expect(share.values[0]!.value).toBeGreaterThan(0);
}, 120_000);
