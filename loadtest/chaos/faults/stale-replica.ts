/** A replica beside the one Redis takes its place, although it was behind. A cluster does so by itself: `cluster.ts`. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '#src/platform/local/processes.ts';
import { readRecord, writeRecord } from '#src/platform/local/record.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { keys } from '#src/wallet/keys.ts';
import { withRedis } from '../../setup/with-redis.ts';
import { type House, shardCount } from '../house.ts';
import { maxmemoryMb, type RedisNode } from '../house-redis.ts';
import { startProxy } from '../proxy.ts';
import { kill } from './destroying.ts';
import { type Fault, seen } from './fault.ts';

/** Last id of every journal, as numbers that can be compared within an epoch. */
function lastIds(url: string): Promise<string[]> {
  return withRedis(url, async (redis) => {
    const ids: string[] = [];
    for (let shard = 0; shard < shardCount; shard += 1) {
      const last = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
      ids.push(last[0]?.[0] ?? '0-0');
    }
    return ids;
  });
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

export const staleReplica: Fault = {
  name: 'redis-stale-replica',
  does: 'a replica that was cut off for a while takes the place of a Redis that is gone',
  destroys: true,
  needs: 'one Redis',
  async inject({ house, random }) {
    const master = (await house.redis.masters())[0]!;
    const { server, dataDir, link, ask } = await startReplica(house, master);
    link.freeze();
    await delay(random.whole(100, 1_500));
    const ahead = await lastIds(master.server.adminUrl);
    await kill(master);
    const behind = await lastIds(server.adminUrl);
    await ask((redis) => redis.replicaof('NO', 'ONE'));
    await link.close();
    house.redis.replace(server, dataDir);
    const shards = ahead.filter((id, shard) => id !== behind[shard]).length;
    seen(shards > 0, 'the replica was behind');
    return {
      evidence: `promoted; behind in ${shards} of ${shardCount} shards`,
      holdMs: 0,
      heal: async () => undefined,
    };
  },
};
