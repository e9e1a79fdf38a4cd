/** A Redis, the only one or a master of the cluster: killed, restarted, emptied, cut short, and up and down again. */
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { keys } from '#src/wallet/keys.ts';
import { shardCount } from '../house.ts';
import { isStopped } from '../member-process.ts';
import { kill, whileBooksAreBehind } from './destroying.ts';
import { type Fault, momentary, seen } from './fault.ts';

const killed: Fault = {
  name: 'kill-redis',
  does: 'kill -9 of a Redis; it comes back on its append-only file',
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const pid = await kill(node);
    return {
      evidence: `${node.name} (${pid}) is gone`,
      holdMs: random.whole(50, 2_000),
      heal: () => node.start(),
    };
  },
};

const restarted: Fault = {
  name: 'redis-restart',
  does: 'a Redis is stopped by SIGTERM and started again on its append-only file',
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const { pid } = node.server;
    await node.server.stop();
    return {
      evidence: `${node.name} (${pid}) is stopped`,
      holdMs: random.whole(50, 2_000),
      heal: () => node.start(),
    };
  },
};

const flapping: Fault = {
  name: 'redis-flapping',
  does: 'kill -9 of a Redis again and again, each time a moment after it came back',
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const pids: number[] = [];
    for (let times = random.whole(3, 5); times > 0; times -= 1) {
      pids.push(await kill(node));
      await node.start();
      await delay(random.whole(50, 900));
    }
    return momentary(`${node.name} died as ${pids.join(', ')}`);
  },
};

const scriptFlush: Fault = {
  name: 'redis-script-flush',
  does: 'SCRIPT FLUSH: every script is forgotten, all data stays',
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const before = await house.withRedis(node, scriptsKept);
    const after = await house.withRedis(node, async (redis) => {
      await redis.script('FLUSH');
      return scriptsKept(redis);
    });
    seen(after < before, 'Redis forgot its scripts');
    return momentary(`${node.name}: ${before} scripts before, ${after} after`);
  },
};

async function scriptsKept(redis: { info(section: string): Promise<string> }): Promise<number> {
  return Number(/number_of_cached_scripts:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);
}

const flushAll: Fault = {
  name: 'redis-flushall',
  does: 'FLUSHALL: everything in a Redis is gone, its scripts stay',
  destroys: true,
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const flush = () =>
      house.withRedis(node, async (redis) => {
        const size = await redis.dbsize();
        await redis.flushall();
        return [size, await redis.dbsize()] as const;
      });
    const [before, after] = await whileBooksAreBehind(house, random, flush);
    seen(before > 0 && after < before, 'Redis is empty');
    return momentary(`${node.name}: ${before} keys before, ${after} after`);
  },
};

const journalDeleted: Fault = {
  name: 'redis-journal-deleted',
  does: 'DEL of the journal of one shard',
  destroys: true,
  async inject({ house, random }) {
    const shard = random.whole(0, shardCount - 1);
    const node = (await house.redis.byShard())[shard]!;
    const destroy = () => house.withRedis(node, (redis) => redis.del(keys.journal(shard)));
    const deleted = await whileBooksAreBehind(house, random, destroy);
    seen(deleted === 1, 'there was a journal to delete');
    return momentary(`the journal of shard ${shard} is gone`);
  },
};

const truncated: Fault = {
  name: 'redis-truncated-aof',
  does: 'kill -9 of a Redis, and the end of its append-only file is gone',
  destroys: true,
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    await whileBooksAreBehind(house, random, () => kill(node));
    const folder = join(node.dataDir, 'redis', 'appendonlydir');
    const files = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof')).toSorted();
    const path = join(folder, files.at(-1) ?? '');
    const { size } = await stat(path);
    const left = Math.max(0, size - random.pick([100, 2_000, 30_000, 300_000]));
    await truncate(path, left);
    seen((await stat(path)).size < size, 'the file is shorter');
    return {
      evidence: `${node.name}: ${size - left} of ${size} bytes are gone`,
      holdMs: 0,
      heal: () => node.start(),
    };
  },
};

const stutter: Fault = {
  name: 'redis-stutter',
  does: 'a Redis stands still for half a second, again and again (SIGSTOP): all of it, not only its disk',
  async inject({ house, random }) {
    const node = random.pick(await house.redis.masters());
    const { pid } = node.server;
    let pauses = 0;
    for (let times = random.whole(3, 6); times > 0; times -= 1) {
      process.kill(pid, 'SIGSTOP');
      if (await isStopped(pid)) pauses += 1;
      await delay(random.whole(200, 900));
      process.kill(pid, 'SIGCONT');
      await delay(random.whole(50, 400));
    }
    seen(pauses > 0, 'Redis stood still');
    return momentary(`${node.name} (${pid}) stood still ${pauses} times`);
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
];
