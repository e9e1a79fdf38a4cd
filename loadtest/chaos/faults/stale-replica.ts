/**
 * A replica beside the one Redis takes its place, or gives it its data back, although it was behind. A cluster does the first by
 * itself: `cluster.ts`.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '#src/platform/local/processes.ts';
import { readRecord, writeRecord } from '#src/platform/local/record.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { withRedis } from '../../setup/with-redis.ts';
import { type House, shardCount } from '../house.ts';
import { maxmemoryMb, type RedisNode } from '../house-redis.ts';
import { type Link, startProxy } from '../proxy.ts';
import type { Random } from '../random.ts';
import { differing, kill, lastIdsOf } from './destroying.ts';
import { type Fault, momentary, seen } from './fault.ts';

const shards = Array.from({ length: shardCount }, (_, shard) => shard);

function lastIds(url: string): Promise<string[]> {
  return withRedis(url, (redis) => lastIdsOf(redis, shards));
}

let replicas = 0;

/** A replica of the Redis that serves, in step with it, behind a link of its own. */
async function startReplica(house: House, master: RedisNode) {
  replicas += 1;
  const { cacheDir, abort, folder } = house.options;
  const dataDir = join(folder, `replica-${replicas}`);
  const { password, adminPassword } = (await readRecord(join(master.dataDir, 'redis.json'))) ?? {};
  const link = await startProxy('replica → Redis', master.server.port);
  await mkdir(dataDir, { recursive: true });
  await writeRecord(join(dataDir, 'redis.json'), { password, adminPassword });
  const server = await startLocalRedis({ dataDir, cacheDir, abort, maxmemoryMb });
  const ask = <T>(work: Parameters<typeof withRedis<T>>[1]) => withRedis(server.adminUrl, work);
  await ask(async (redis) => {
    await redis.config('SET', 'masterauth', String(adminPassword));
    await redis.replicaof('127.0.0.1', link.port);
  });
  const isUp = async () =>
    (await ask((redis) => redis.info('replication'))).includes('master_link_status:up');
  seen(await waitUntil(isUp, 30_000, 50), 'the replica is in step');
  return { server, dataDir, link, ask };
}

/** Cuts the replica off, until half of the shards have gone on without it, or for as long as that can be waited for. */
async function fallBehind(master: RedisNode, link: Link, random: Random): Promise<void> {
  link.freeze();
  const before = await lastIds(master.server.adminUrl);
  const hasGoneOn = async () => {
    const now = await lastIds(master.server.adminUrl);
    return differing(now, before) >= shardCount / 2;
  };
  await waitUntil(hasGoneOn, 5_000, 50);
  await delay(random.whole(100, 1_500));
}

const staleReplica: Fault = {
  name: 'redis-stale-replica',
  does: 'a replica that was cut off for a while takes the place of a Redis that is gone',
  destroys: true,
  needs: 'one Redis',
  async inject({ house, random }) {
    const master = (await house.redis.masters())[0]!;
    const { server, dataDir, link, ask } = await startReplica(house, master);
    await fallBehind(master, link, random);
    const ahead = await lastIds(master.server.adminUrl);
    await kill(master);
    const behind = await lastIds(server.adminUrl);
    await ask((redis) => redis.replicaof('NO', 'ONE'));
    await link.close();
    house.redis.replace(server, dataDir);
    const missed = differing(ahead, behind);
    seen(missed > 0, 'the replica was behind');
    return momentary(`promoted; behind in ${missed} of ${shardCount} shards`);
  },
};

const resynced: Fault = {
  name: 'redis-resynced',
  does: 'Redis becomes a replica of one that was behind, takes over its data and is made master again: its scripts stay',
  destroys: true,
  needs: 'one Redis',
  async inject({ house, random }) {
    const master = (await house.redis.masters())[0]!;
    const { server, link, ask } = await startReplica(house, master);
    try {
      await fallBehind(master, link, random);
      await ask((redis) => redis.replicaof('NO', 'ONE'));
      const behind = await lastIds(server.adminUrl);
      const ahead = await withRedis(master.server.adminUrl, async (redis) => {
        const last = await lastIds(master.server.adminUrl);
        await redis.config('SET', 'masterauth', decodeURIComponent(new URL(server.adminUrl).password));
        await redis.replicaof('127.0.0.1', server.port);
        const isTaken = async () =>
          /master_link_status:up\r\n[\s\S]*master_sync_in_progress:0/.test(await redis.info('replication'));
        const taken = await waitUntil(isTaken, 20_000, 20);
        await redis.replicaof('NO', 'ONE');
        seen(taken, 'the older data were taken over');
        return last;
      });
      const missed = differing(ahead, behind);
      seen(missed > 0, 'the replica was behind');
      return momentary(`resynchronised; behind in ${missed} of ${shardCount} shards`);
    } finally {
      await link.close();
      await server.stop();
    }
  },
};

export const staleReplicaFaults: readonly Fault[] = [staleReplica, resynced];
