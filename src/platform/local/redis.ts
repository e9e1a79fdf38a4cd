/**
 * The Redis of a bare machine, with its data in `redis/` of the data folder and the settings without which the journal
 * would not be durable.
 *
 * Two users: the service's may not empty, swap or reconfigure the server, so a bug or a careless script cannot; the
 * default user may, for a person and for tests. Both passwords stand in `redis.json` beside the data (mode 600).
 * Redis, unlike PostgreSQL, starts a second time on the same files and spoils them: what is still running from a start
 * that was killed is stopped first, recognised by the path of its configuration on its command line.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import { endRunning, StartRefusal, type StopStep } from './processes.ts';
import { readRecord, writePrivate, writeRecord } from './record.ts';
import { redisProgram } from './redis-programs.ts';
import { type LocalOptions, type LocalServer, startServer } from './server.ts';

export interface LocalRedisOptions extends LocalOptions {
  readonly maxmemoryMb?: number;
  readonly fsync?: 'always' | 'everysec' | 'no';
  /** More lines of the configuration. */
  readonly settings?: readonly string[];
}

export interface LocalRedis extends LocalServer {
  /** As the default user, who may do everything. */
  readonly adminUrl: string;
}

const userName = 'points';

/** A kill loses nothing that was acknowledged (`appendfsync always`); a stop by SIGTERM is only tidier. */
const stopSteps: readonly StopStep[] = [
  { signal: 'SIGTERM', waitMs: 20_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
];

/** Starts it, fetching the program first where the machine has none. */
export async function startLocalRedis(options: LocalRedisOptions): Promise<LocalRedis> {
  const { abort, onProgress = () => undefined } = options;
  const dataDir = resolve(options.dataDir);
  const folder = join(dataDir, 'redis');
  const configPath = join(folder, 'redis.conf');
  const recordPath = join(dataDir, 'redis.json');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await endRunning([/(^|\/)(redis|valkey)-server /, configPath], stopSteps);
  const program = await redisProgram(options.cacheDir ?? dataDir, onProgress, abort);
  const record = await readRecord(recordPath);
  const password = textOf(record?.password) ?? randomBytes(24).toString('base64url');
  const adminPassword = textOf(record?.adminPassword) ?? randomBytes(24).toString('base64url');
  const adminUrlFor = (port: number): string => `redis://:${adminPassword}@127.0.0.1:${port}/0`;

  const { port, running, stop } = await startServer(
    {
      name: 'Redis',
      logPath: join(dataDir, 'logs', 'redis.log'),
      preferredPort: typeof record?.port === 'number' ? record.port : undefined,
      command: async (at) => {
        await writePrivate(configPath, configuration({ folder, port: at, password, adminPassword, options }));
        return { file: program.file, args: [configPath], cwd: '/', env: { LC_ALL: 'C', ...program.env } };
      },
      isReady: (at) => isReady(adminUrlFor(at)),
      // It reads the whole append-only file first: 2 GB take about 20 s.
      readyMs: 60_000,
      stopSteps,
      transient: /Address already in use|Could not create server TCP listening socket/,
    },
    abort,
  );
  const url = `redis://${userName}:${password}@127.0.0.1:${port}/0`;
  const adminUrl = adminUrlFor(port);
  await writeRecord(recordPath, { url, adminUrl, port, password, adminPassword });
  return { url, adminUrl, port, pid: running.pid!, exited: running.exited, stop };
}

/** The line of a user who may do everything but empty, swap or reconfigure the server. */
export function serviceUser(name: string, password: string): string {
  const forbidden = '-flushall -flushdb -swapdb -debug -acl -script|flush -config|set -config|rewrite';
  return `user ${name} on >${password} ~* &* +@all ${forbidden}`;
}

function configuration(of: {
  folder: string;
  port: number;
  password: string;
  adminPassword: string;
  options: LocalRedisOptions;
}): string {
  const { folder, port, password, adminPassword, options } = of;
  return `# Written at every start: changes are lost.
bind 127.0.0.1
port ${port}
requirepass ${adminPassword}
${serviceUser(userName, password)}
daemonize no
dir ${quoted(folder)}
logfile ""
# The command line keeps the path of this file, by which the next start recognises a server that was left running.
set-proc-title no
tcp-backlog 511
# Durability: every acknowledged script is on disk, also while the file is being rewritten.
appendonly yes
appendfsync ${options.fsync ?? 'always'}
no-appendfsync-on-rewrite no
aof-load-truncated yes
save ""
# The default of 64 MB rewrote the file 5 times in 11 seconds of load.
auto-aof-rewrite-min-size 2gb
# A master that has been without a replica for so long (one hour by default) would change its replication id by itself, which
# closes every shard for a recovery.
repl-backlog-ttl 0
# A wallet must never be evicted: out of memory is an answer, a missing member is not.
maxmemory ${options.maxmemoryMb ?? 2048}mb
maxmemory-policy noeviction
${(options.settings ?? []).join('\n')}
`;
}

function quoted(path: string): string {
  return `"${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** Answers only when the append-only file is read: until then PING is answered with LOADING. */
async function isReady(adminUrl: string): Promise<boolean> {
  const client = new Redis(adminUrl, {
    lazyConnect: true,
    enableReadyCheck: false,
    connectTimeout: 2_000,
    commandTimeout: 5_000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.ping()) === 'PONG';
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('WRONGPASS')) {
      throw new StartRefusal('Another Redis answers on the port of ours: start again.');
    }
    return false;
  } finally {
    client.disconnect();
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
