/** Redis: killed, restarted, emptied, cut short, replaced by a replica that was behind, and up and down again. */
import { mkdir, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '#src/platform/local/processes.ts';
import { readRecord, writeRecord } from '#src/platform/local/record.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { keys } from '#src/wallet/keys.ts';
import { type House, shardCount, withRedis } from '../house.ts';
import { isStopped, processState } from '../member-process.ts';
import { startProxy } from '../proxy.ts';
import type { Random } from '../random.ts';
import { type Fault, seen } from './fault.ts';

const healed = async (): Promise<void> => undefined;

async function kill(house: House): Promise<number> {
  const { pid, exited } = house.redis;
  process.kill(pid, 'SIGKILL');
  await exited;
  const state = await processState(pid);
  seen(state === undefined || state === 'Z', 'Redis is gone');
  return pid;
}

const killed: Fault = {
  name: 'kill-redis',
  does: 'kill -9 of Redis; it comes back on its append-only file',
  async inject({ house, random }) {
    const pid = await kill(house);
    return {
      evidence: `Redis (${pid}) is gone`,
      holdMs: random.whole(50, 2_000),
      heal: () => house.startRedis(),
    };
  },
};

const restarted: Fault = {
  name: 'redis-restart',
  does: 'Redis is stopped by SIGTERM and started again on its append-only file',
  async inject({ house, random }) {
    const { pid } = house.redis;
    await house.redis.stop();
    return {
      evidence: `Redis (${pid}) is stopped`,
      holdMs: random.whole(50, 2_000),
      heal: () => house.startRedis(),
    };
  },
};

const flapping: Fault = {
  name: 'redis-flapping',
  does: 'kill -9 of Redis again and again, each time a moment after it came back',
  async inject({ house, random }) {
    const pids: number[] = [];
    for (let times = random.whole(3, 5); times > 0; times -= 1) {
      pids.push(await kill(house));
      await house.startRedis();
      await delay(random.whole(50, 900));
    }
    return { evidence: `Redis died as ${pids.join(', ')}`, holdMs: 0, heal: healed };
  },
};

const scriptFlush: Fault = {
  name: 'redis-script-flush',
  does: 'SCRIPT FLUSH: every script is forgotten, all data stays',
  async inject({ house }) {
    const before = await house.withRedis(scriptsKept);
    const after = await house.withRedis(async (redis) => {
      await redis.script('FLUSH');
      return scriptsKept(redis);
    });
    seen(after < before, 'Redis forgot its scripts');
    return { evidence: `${before} scripts before, ${after} after`, holdMs: 0, heal: healed };
  },
};

async function scriptsKept(redis: { info(section: string): Promise<string> }): Promise<number> {
  return Number(/number_of_cached_scripts:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);
}

/**
 * Destroys while the books are behind: the writers' way to PostgreSQL is slow for a moment, so that there is something that
 * only Redis knows, and somebody who waits for the books to have it.
 */
async function whileBooksAreBehind<T>(house: House, random: Random, destroy: () => Promise<T>): Promise<T> {
  const links = house.of('writer').map(({ postgresLink }) => postgresLink);
  const lateMs = random.pick([0, 150, 400]);
  for (const link of links) link.delay(lateMs);
  try {
    await delay(lateMs);
    return await destroy();
  } finally {
    for (const link of links) link.heal();
  }
}

const flushAll: Fault = {
  name: 'redis-flushall',
  does: 'FLUSHALL: everything in Redis is gone, its scripts stay',
  destroys: true,
  async inject({ house, random }) {
    const flush = () =>
      house.withRedis(async (redis) => {
        const size = await redis.dbsize();
        await redis.flushall();
        return [size, await redis.dbsize()] as const;
      });
    const [before, after] = await whileBooksAreBehind(house, random, flush);
    seen(before > 0 && after < before, 'Redis is empty');
    return { evidence: `${before} keys before, ${after} after`, holdMs: 0, heal: healed };
  },
};

const journalDeleted: Fault = {
  name: 'redis-journal-deleted',
  does: 'DEL of the journal of one shard',
  destroys: true,
  async inject({ house, random }) {
    const shard = random.whole(0, shardCount - 1);
    const destroy = () => house.withRedis((redis) => redis.del(keys.journal(shard)));
    const deleted = await whileBooksAreBehind(house, random, destroy);
    seen(deleted === 1, 'there was a journal to delete');
    return { evidence: `the journal of shard ${shard} is gone`, holdMs: 0, heal: healed };
  },
};

const truncated: Fault = {
  name: 'redis-truncated-aof',
  does: 'kill -9 of Redis, and the end of its append-only file is gone',
  destroys: true,
  async inject({ house, random }) {
    await whileBooksAreBehind(house, random, () => kill(house));
    const folder = join(house.redisFolder, 'redis', 'appendonlydir');
    const files = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof')).toSorted();
    const path = join(folder, files.at(-1) ?? '');
    const { size } = await stat(path);
    const left = Math.max(0, size - random.pick([100, 2_000, 30_000, 300_000]));
    await truncate(path, left);
    seen((await stat(path)).size < size, 'the file is shorter');
    return {
      evidence: `${size - left} of ${size} bytes are gone`,
      holdMs: 0,
      heal: () => house.startRedis(),
    };
  },
};

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
async function startReplica(house: House) {
  replicas += 1;
  const { cacheDir, abort, folder } = house.options;
  const dataDir = join(folder, `replica-${replicas}`);
  const { password, adminPassword } = (await readRecord(join(house.redisFolder, 'redis.json'))) ?? {};
  const link = await startProxy('replica → Redis', house.redis.port);
  await mkdir(dataDir, { recursive: true });
  await writeRecord(join(dataDir, 'redis.json'), { password, adminPassword });
  const server = await startLocalRedis({ dataDir, cacheDir, abort, maxmemoryMb: 1_024 });
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

const staleReplica: Fault = {
  name: 'redis-stale-replica',
  does: 'a replica that was cut off for a while takes the place of a Redis that is gone',
  destroys: true,
  async inject({ house, random }) {
    const { server, dataDir, link, ask } = await startReplica(house);
    link.freeze();
    await delay(random.whole(100, 1_500));
    const ahead = await lastIds(house.redis.adminUrl);
    await kill(house);
    const behind = await lastIds(server.adminUrl);
    await ask((redis) => redis.replicaof('NO', 'ONE'));
    await link.close();
    house.replaceRedis(server, dataDir);
    const shards = ahead.filter((id, shard) => id !== behind[shard]).length;
    seen(shards > 0, 'the replica was behind');
    return { evidence: `promoted; behind in ${shards} of ${shardCount} shards`, holdMs: 0, heal: healed };
  },
};

const stutter: Fault = {
  name: 'redis-stutter',
  does: 'Redis stands still for half a second, again and again (SIGSTOP): all of it, not only its disk',
  async inject({ house, random }) {
    const { pid } = house.redis;
    let pauses = 0;
    for (let times = random.whole(3, 6); times > 0; times -= 1) {
      process.kill(pid, 'SIGSTOP');
      if (await isStopped(pid)) pauses += 1;
      await delay(random.whole(200, 900));
      process.kill(pid, 'SIGCONT');
      await delay(random.whole(50, 400));
    }
    seen(pauses > 0, 'Redis stood still');
    return { evidence: `Redis (${pid}) stood still ${pauses} times`, holdMs: 0, heal: healed };
  },
};

export const redisFaults: readonly Fault[] = [
  killed,
  restarted,
  flapping,
  scriptFlush,
  stutter,
  flushAll,
  journalDeleted,
  truncated,
  staleReplica,
];
