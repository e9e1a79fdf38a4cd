/** One master of a Redis Cluster is full: it makes room among its own members, and the others do not notice. */
import { afterAll, expect, test } from 'vitest';
import { createPressureEviction } from '#src/jobs/eviction.ts';
import { type MemberNumber, memberId, shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { startEngine, waitFor } from './harness.ts';

const shardCount = 3;
const members = 6_000;
const together = 64;
const roomMb = 64;
const engine = await startEngine({ shardCount, redisCluster: true, maxmemoryMb: roomMb });
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, stores } = engine;
const cluster = stores.cluster!;
const shards = Array.from({ length: shardCount }, (_, shard) => shard);

test('a full master that loses its scripts is recovered all the same, and moves points once there is room', async () => {
  const master = await cluster.masterOfKey(keys.journal(0));
  const owners = await Promise.all(shards.map((shard) => cluster.masterOfKey(keys.journal(shard))));
  const [hit, spared] = [
    shards.filter((shard) => owners[shard] === master),
    shards.filter((shard) => owners[shard] !== master),
  ];
  expect(spared.length).toBeGreaterThan(0);
  const usedBytes = () =>
    cluster.ask(master, async (redis) => Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1]));
  const allow = (bytes: number) => cluster.ask(master, (redis) => redis.config('SET', 'maxmemory', bytes));
  const epochOf = (shard: number) => engine.app.epochs.of(shard)?.epoch ?? 0;
  const { rows } = await pool.query<{ number: MemberNumber }>(
    `insert into member (program, joined_at) select $1, now() from generate_series(1, $2::int) returning number`,
    [shop.program.number, members],
  );
  const numbers = rows.map((row) => row.number);
  const own = numbers.filter((number) => hit.includes(shardOfMember(number, shardCount)));
  for (let from = 0; from < own.length; from += together)
    await Promise.all(
      own
        .slice(from, from + together)
        .map((number) => shop.pos('GET', `/v1/members/${memberId(number)}/balances`)),
    );
  const accrue = async (number: MemberNumber) =>
    (await shop.pos('POST', '/v1/accruals', shop.receipt(memberId(number), 5))).status;
  const oneIn = (shard: number) => numbers.find((number) => shardOfMember(number, shardCount) === shard)!;
  const before = shards.map(epochOf);
  try {
    await allow(1_048_576);
    await cluster.ask(master, (redis) => redis.script('FLUSH'));
    await waitFor(
      'its shards are open in a new epoch',
      () => hit.every((shard) => epochOf(shard) > before[shard]!),
      30_000,
    );
    for (const shard of spared) {
      expect(epochOf(shard)).toBe(before[shard]);
      expect(await accrue(oneIn(shard))).toBe(201);
    }
    const used = await usedBytes();
    expect(used).toBeGreaterThan(1_048_576);
    await allow(Math.round(used * 0.98));
    const makeRoom = createPressureEviction(engine.app);
    for (const shard of hit) {
      await waitFor(
        'the shard moves points',
        async () => {
          await makeRoom();
          return (await accrue(oneIn(shard))) === 201;
        },
        20_000,
      );
    }
  } finally {
    await allow(roomMb * 1_048_576);
  }
}, 120_000);
