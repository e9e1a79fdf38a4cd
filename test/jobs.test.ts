/** Timers come back by themselves when Redis has lost them with everything else. */
import { afterAll, expect, test } from 'vitest';
import { type JobName, jobNames } from '#src/jobs/catalog.ts';
import { type Handlers, startJobs } from '#src/jobs/queues.ts';
import { createAnyRedis, createBlockingAnyRedis } from '#src/platform/redis-nodes.ts';
import { startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());

test('a Redis that has lost the schedule gets it again, and every frequent job runs on', async () => {
  const runs = new Map<JobName, number>();
  const handlers = Object.fromEntries(
    jobNames.map((name) => [name, async () => void runs.set(name, (runs.get(name) ?? 0) + 1)]),
  ) as unknown as Handlers;
  const [connection, producer] = [
    createBlockingAnyRedis(engine.stores.redisUrl),
    createAnyRedis(engine.stores.redisUrl),
  ];
  const { log, metrics } = engine.app.telemetry;
  const jobs = await startJobs(connection, producer, handlers, log, metrics);
  try {
    await waitFor('the first transfers job runs', () => (runs.get('transfers') ?? 0) > 0, 15_000);
    await engine.redis.del(await engine.redis.keys('{bull}:*'));
    const before = runs.get('transfers')!;
    // One that was under way may still end.
    await waitFor('transfers jobs run again', () => runs.get('transfers')! > before + 2, 25_000);
    expect(await engine.redis.keys('{bull}:upkeep:repeat:*')).not.toEqual([]);
  } finally {
    await jobs.stop();
    connection.disconnect();
    producer.disconnect();
  }
}, 60_000);
