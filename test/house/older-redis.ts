/** A Redis that is not what it was: its file copied while it runs, put back later, cut short, or fed from an older copy. */
import { cp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { cacheFolder } from './folders.ts';
import type { Stores } from './stores.ts';
import { waitFor } from './waiting.ts';

let copies = 0;

function fileFolder(stores: Stores): string {
  return join(stores.folder, 'redis', 'appendonlydir');
}

/** Waits until Redis has written its file anew, where it does so. */
export async function fileIsAtRest({ redis }: Pick<Stores, 'redis'>): Promise<void> {
  await waitFor('the file is not being rewritten', async () => {
    const state = await redis.info('persistence');
    return /aof_rewrite_in_progress:0/.test(state) && /aof_rewrite_scheduled:0/.test(state);
  });
}

/** Copies the append-only file as it stands; answers where the copy is. */
export async function copyRedis(stores: Stores): Promise<string> {
  await fileIsAtRest(stores);
  copies += 1;
  const copy = join(stores.folder, `older-${copies}`);
  await cp(fileFolder(stores), join(copy, 'redis', 'appendonlydir'), { recursive: true });
  return copy;
}

/** Kills Redis, does something to its file and starts it again on its port. */
export async function restartRedis(stores: Stores, change: (folder: string) => Promise<void>): Promise<void> {
  process.kill(stores.redisPid(), 'SIGKILL');
  await waitFor('Redis is gone', () => stores.redis.status !== 'ready');
  await change(fileFolder(stores));
  await stores.startRedisAgain();
  await waitFor('Redis answers again', async () => (await stores.redis.ping()) === 'PONG', 20_000);
}

/** Starts Redis again on an older copy of its file. */
export function putBack(stores: Stores, copy: string): Promise<void> {
  return restartRedis(stores, async (folder) => {
    await rm(folder, { recursive: true });
    await cp(join(copy, 'redis', 'appendonlydir'), folder, { recursive: true });
  });
}

/** Cuts the file within its last command, as a full disk or a lost sector does. */
export async function cutShort(stores: Stores): Promise<void> {
  await fileIsAtRest(stores);
  return restartRedis(stores, async (folder) => {
    const name = (await readdir(folder)).find((each) => each.endsWith('.incr.aof'))!;
    const path = join(folder, name);
    await truncate(path, (await stat(path)).size - 10);
  });
}

/** A Redis of its own on a copy; `work` is given its port, a connection and its password. */
async function onCopy(
  copy: string,
  work: (older: Redis, at: { readonly port: number; readonly password: string }) => Promise<void>,
): Promise<void> {
  const server = await startLocalRedis({ dataDir: copy, cacheDir: cacheFolder, maxmemoryMb: 128 });
  const older = new Redis(server.adminUrl);
  try {
    await work(older, {
      port: server.port,
      password: decodeURIComponent(new URL(server.adminUrl).password),
    });
  } finally {
    older.disconnect();
    await server.stop();
  }
}

/** Attaches a replica to the Redis that runs, waits until it has everything, and takes it away again. */
export async function replicate(stores: Stores): Promise<void> {
  const master = new URL(stores.redisUrl);
  const folder = join(stores.folder, 'replica');
  await onCopy(folder, async (replica) => {
    await replica.config('SET', 'masterauth', String(stores.redis.options.password));
    // By default a master waits five seconds for more replicas that may want the same copy.
    await stores.redis.config('SET', 'repl-diskless-sync-delay', '0');
    await replica.replicaof('127.0.0.1', Number(master.port));
    await waitFor('the replica has everything', async () =>
      /master_link_status:up/.test(await replica.info('replication')),
    );
    // While it writes its first file it would refuse to end.
    await fileIsAtRest({ redis: replica });
  });
}

/** Puts an older copy's data into the Redis that runs, in one go: process, connections, scripts and identity stay. */
export function putInto(stores: Stores, copy: string): Promise<void> {
  return onCopy(copy, async (older) => {
    const replacing = stores.redis.multi().flushall();
    for (const key of await older.keys('*'))
      replacing.restore(key, Math.max(0, await older.pttl(key)), (await older.dumpBuffer(key))!);
    for (const [error] of (await replacing.exec())!) if (error) throw error;
  });
}

/**
 * Makes the running Redis a replica of one that runs on an older copy, lets it take over that one's data and makes it a
 * master again: process, connections and script cache stay, the data goes back in time.
 */
export function flap(stores: Stores, copy: string): Promise<void> {
  return onCopy(copy, async (_, { port, password }) => {
    await stores.redis.config('SET', 'masterauth', password);
    await stores.redis.replicaof('127.0.0.1', port);
    await waitFor('the older data has been taken over', async () => {
      const replication = await stores.redis.info('replication');
      return /master_link_status:up/.test(replication) && /master_sync_in_progress:0/.test(replication);
    });
    await stores.redis.replicaof('NO', 'ONE');
  });
}
