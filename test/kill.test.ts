/**
 * kill -9 of any one process under load, with callers that repeat until they have an answer: every acknowledged movement
 * stands in the books exactly once, every balance is right and the audit finds nothing.
 */
import { afterAll, expect, test } from 'vitest';
import { startProxy } from '../loadtest/chaos/proxy.ts';
import { waitFor } from './harness.ts';
import { type Load, startLoad } from './house/load.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({
  apis: 2,
  writers: 2,
  ownPostgres: true,
  onlyOneRedis: 'kills its process and starts it again on its file',
});
afterAll(() => engine.end());
const { stores } = engine;

/** Runs load, does `harm` in the middle of it, waits until callers are served again, and verifies the books. */
async function underLoad(harm: () => Promise<void>): Promise<Load> {
  const shop = await engine.shop();
  const load = await startLoad(() => engine.apis.map((api) => api.http), shop, 12);
  await waitFor('the load runs', () => load.answered() > 100, 20_000);
  await harm();
  const before = load.answered();
  await waitFor('callers are served again', () => load.answered() > before + 150, 40_000);
  await load.stop();
  await engine.drained(30_000);
  await load.verify(stores.pool);
  await engine.audit();
  return load;
}

/** Shards whose lease belongs to a writer that still renews it, and whose books moved after `since`. */
async function servedShards(since: Date): Promise<number> {
  const result = await stores.pool.query<{ count: number }>(
    `select count(*)::int as count from lease join position using (shard)
     where owner is not null and heartbeat_at > clock_timestamp() - interval '1 second' and written_through_at > $1`,
    [since],
  );
  return result.rows[0]!.count;
}

test('kill -9 of an API loses nothing and repeats nothing', async () => {
  await underLoad(async () => {
    const victim = engine.apis[0]!;
    await victim.kill();
    engine.apis[0] = await engine.startApi(Number(new URL(victim.url).port));
  });
}, 90_000);

function bothWritersHoldShards(): Promise<true> {
  return waitFor('both writers hold shards', async () => {
    const owners = await stores.pool.query<{ count: number }>(
      `select count(distinct owner)::int as count from lease where heartbeat_at > clock_timestamp() - interval '1 second'`,
    );
    return owners.rows[0]!.count === 2 ? true : undefined;
  });
}

test('two ledger writers share the shards, also when one of them came later', async () => {
  await bothWritersHoldShards();
  await engine.writers.shift()!.stop();
  engine.writers.push(await engine.startWriter());
  await bothWritersHoldShards();
});

test('kill -9 of a ledger writer: another one writes its shards within three seconds', async () => {
  const tookMs: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    await bothWritersHoldShards();
    await underLoad(async () => {
      const victim = engine.writers.shift()!;
      const killedAt = performance.now();
      await victim.kill();
      const clock = await stores.pool.query<{ now: Date }>('select clock_timestamp() as now');
      const since = clock.rows[0]!.now;
      await waitFor('every shard is written again', async () => (await servedShards(since)) === 4, 10_000);
      tookMs.push(performance.now() - killedAt);
      engine.writers.push(await engine.startWriter());
    });
  }
  // The middle of three, because the load of these tests and their neighbours shares two cores with the writers.
  expect(tookMs.toSorted((a, b) => a - b)[1]).toBeLessThan(3_000);
}, 120_000);

test('kill -9 of Redis: it comes back on its file and every shard recovers by itself', async () => {
  await underLoad(async () => {
    process.kill(stores.redisPid(), 'SIGKILL');
    await stores.startRedisAgain();
  });
}, 90_000);

test('kill -9 of PostgreSQL: journals hold what was acknowledged until the books take it', async () => {
  await underLoad(async () => {
    process.kill(stores.postgresPid(), 'SIGKILL');
    await stores.startPostgresAgain();
  });
}, 90_000);

test('kill -9 of everything at once loses nothing that was acknowledged', async () => {
  await underLoad(async () => {
    const ports = engine.apis.map((api) => Number(new URL(api.url).port));
    const writers = engine.writers.splice(0);
    process.kill(stores.redisPid(), 'SIGKILL');
    process.kill(stores.postgresPid(), 'SIGKILL');
    await Promise.all([...engine.apis, ...writers].map((each) => each.kill()));
    await Promise.all([stores.startRedisAgain(), stores.startPostgresAgain()]);
    engine.writers.push(await engine.startWriter());
    for (const [i, port] of ports.entries()) engine.apis[i] = await engine.startApi(port);
  });
}, 120_000);

test('SIGTERM lets requests in flight end and then ends the process with exit code 0', async () => {
  const shop = await engine.shop();
  const victim = engine.apis.at(-1)!;
  const load = await startLoad(() => engine.apis.map((api) => api.http), shop, 6);
  await waitFor('the load runs', () => load.answered() > 100, 20_000);
  await victim.stop();
  expect(await victim.running.exited).toBe('exit code 0');
  engine.apis.pop();
  await load.stop();
  await engine.drained();
  await load.verify(stores.pool);
}, 60_000);

test('a writer that no longer reaches Redis gives its shards to one that does', async () => {
  const url = new URL(stores.redisUrl);
  const link = await startProxy('writer → Redis', Number(url.port));
  url.port = String(link.port);
  const [kept] = engine.writers;
  for (const other of engine.writers.splice(1)) await other.stop();
  const cut = await engine.startWriter(undefined, { REDIS_URL: url.href });
  engine.writers.push(cut);
  try {
    await bothWritersHoldShards();
    link.freeze();
    const since = new Date();
    await waitFor('the books move on in every shard', async () => (await servedShards(since)) === 4, 30_000);
    const { rows } = await stores.pool.query('select distinct owner from lease');
    expect(rows).toHaveLength(1);
    expect(kept!.running.hasExited()).toBe(false);
    link.heal();
    await bothWritersHoldShards();
  } finally {
    await cut.stop();
    engine.writers.splice(1);
    await link.close();
  }
}, 90_000);
