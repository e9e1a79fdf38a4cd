/** Timers come back by themselves when Redis has lost them with everything else, and when the worker waits where nothing comes. */
import { afterAll, expect, test } from 'vitest';
import { type JobName, jobNames, upkeepQueue } from '#src/jobs/catalog.ts';
import { type Handlers, startJobs } from '#src/jobs/queues.ts';
import { createAnyRedis, createBlockingAnyRedis } from '#src/platform/redis-nodes.ts';
import { isClusterUrl } from '#src/platform/redis-topology.ts';
import { startProxy } from '../loadtest/chaos/proxy.ts';
import { startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());

/** Handlers that count their runs. */
function counting(): { readonly runs: (name: JobName) => number; readonly handlers: Handlers } {
  const runs = new Map<JobName, number>();
  const count = (name: JobName) => async () => void runs.set(name, (runs.get(name) ?? 0) + 1);
  return {
    runs: (name) => runs.get(name) ?? 0,
    handlers: Object.fromEntries(jobNames.map((name) => [name, count(name)])) as unknown as Handlers,
  };
}

const { log, metrics } = engine.app.telemetry;
const { redisUrl } = engine.stores;

test('a Redis that has lost the schedule gets it again, and every frequent job runs on', async () => {
  const { runs, handlers } = counting();
  const producer = createAnyRedis(redisUrl);
  const connect = () => createBlockingAnyRedis(redisUrl);
  const jobs = await startJobs(upkeepQueue, connect, producer, handlers, log, metrics);
  try {
    await waitFor('the first transfers job runs', () => runs('transfers') > 0, 15_000);
    await engine.redis.del(await engine.redis.keys('{bull}:*'));
    const before = runs('transfers');
    // One that was under way may still end.
    await waitFor('transfers jobs run again', () => runs('transfers') > before + 2, 25_000);
    expect(await engine.redis.keys('{bull}:upkeep:repeat:*')).not.toEqual([]);
  } finally {
    await jobs.stop();
    producer.disconnect();
  }
}, 60_000);

// On a cluster the client goes past a proxy to the nodes as they announce themselves; there chaos breaks the connections.
const onOneRedis = test.skipIf(isClusterUrl(redisUrl));

onOneRedis(
  'a worker whose connections hear nothing any more is replaced by one with new ones',
  async () => {
    const { runs, handlers } = counting();
    const producer = createAnyRedis(redisUrl);
    const { hostname, port, username, password } = new URL(redisUrl);
    const link = await startProxy('jobs', Number(port));
    const beyondProxy = new URL(redisUrl);
    Object.assign(beyondProxy, { hostname, port: String(link.port), username, password });
    const urls = [beyondProxy.href];
    const connect = () => createBlockingAnyRedis(urls.shift() ?? redisUrl);
    const jobs = await startJobs(upkeepQueue, connect, producer, handlers, log, metrics);
    try {
      await waitFor('the first transfers job runs', () => runs('transfers') > 0, 15_000);
      link.freeze();
      const before = runs('transfers');
      await waitFor('transfers jobs run again', () => runs('transfers') > before + 2, 50_000);
    } finally {
      await jobs.stop();
      producer.disconnect();
      await link.close();
    }
  },
  90_000,
);
