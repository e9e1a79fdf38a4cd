/** The harness's Redis Cluster: formed from nothing, one node after another gone and back, and emptied. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { slotOfKey } from '../loadtest/setup/cluster-nodes.ts';
import { type RedisCluster, startRedisCluster } from '../loadtest/setup/redis-cluster.ts';
import { cacheFolder } from './house/folders.ts';
import { waitFor } from './house/waiting.ts';

let cluster: RedisCluster;

beforeAll(async () => {
  const dataDir = join(inject('folder'), 'redis-cluster');
  await mkdir(dataDir, { recursive: true });
  cluster = await startRedisCluster({ dataDir, cacheDir: cacheFolder });
}, 120_000);
afterAll(() => cluster.stop());

describe('a cluster of the harness', () => {
  test('has three masters that own every slot, and a replica of each', async () => {
    const masters = await cluster.masters();
    expect(masters.map(({ slots }) => slots.length).toSorted()).toEqual([5_460, 5_462, 5_462]);
    for (const { node } of masters) expect(await cluster.replicasOf(node)).toHaveLength(1);
  });

  test('keeps a key on the node that is named for it, with the settings that the service demands', async () => {
    const master = await cluster.masterOfKey('{s03}:journal');
    const answers = await cluster.ask(master, async (redis) => [
      await redis.set('{s03}:x', '1'),
      ...(await Promise.all(
        ['appendonly', 'appendfsync', 'maxmemory-policy', 'repl-backlog-ttl'].map(async (name) =>
          String(Object.values(await redis.config('GET', name)).at(-1)),
        ),
      )),
    ]);
    expect(answers).toEqual(['OK', 'yes', 'always', 'noeviction', '0']);
  });

  test('finds the node of a key as the nodes do', async () => {
    const [node] = cluster.nodes;
    for (const key of ['{s00}:journal', '{s07}:m:12', 'plain', 'open{end', '{}both']) {
      expect(await cluster.ask(node!, (redis) => redis.cluster('KEYSLOT', key)), key).toBe(slotOfKey(key));
    }
  });

  test('survives a master: its replica takes over with the data, and the old one comes back as a replica', async () => {
    const old = await cluster.masterOfKey('{s03}:x');
    const [replica] = await cluster.replicasOf(old);
    process.kill(old.server.pid, 'SIGKILL');
    await old.server.exited;
    await waitFor(
      'the replica is a master',
      async () => (await cluster.masterOfKey('{s03}:x').catch(() => undefined)) === replica,
      30_000,
    );
    expect(await cluster.ask(replica!, (redis) => redis.get('{s03}:x'))).toBe('1');
    await old.start();
    await cluster.whole();
    expect(await cluster.replicasOf(replica!)).toEqual([old]);
  }, 90_000);

  test('is empty after a flush', async () => {
    await cluster.flush();
    for (const { node } of await cluster.masters())
      expect(await cluster.ask(node, (redis) => redis.dbsize())).toBe(0);
  });
});
