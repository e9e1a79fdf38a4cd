/** A test file's own database and its own Redis: one process, or with `REDIS_MODE=cluster` a cluster of six. */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { inject } from 'vitest';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { type LocalRedis, startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalServer } from '#src/platform/local/server.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createRedis } from '#src/platform/redis.ts';
import { type RedisCluster, startRedisCluster } from '../../loadtest/setup/redis-cluster.ts';
import { adminOf } from './cluster-redis.ts';
import { cacheFolder } from './folders.ts';
import { waitFor } from './waiting.ts';

export interface StoresOptions {
  /** A PostgreSQL of its own, for tests that kill it or read its files; otherwise the run's. */
  readonly ownPostgres?: boolean;
  readonly maxmemoryMb?: number;
  /** Why the file is about one Redis also where the others run on a cluster. */
  readonly onlyOneRedis?: string;
  /** A cluster also where the others run on one Redis. */
  readonly redisCluster?: boolean;
}

export interface Stores {
  readonly folder: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly pool: pg.Pool;
  /** As the user who may do everything. */
  readonly redis: Redis;
  /** Where the stores are a cluster. */
  readonly cluster: RedisCluster | undefined;
  /** Of the one Redis. */
  redisPid(): number;
  /** Only with `ownPostgres`. */
  postgresPid(): number;
  /** Starts a killed Redis on its data and its port. */
  startRedisAgain(): Promise<void>;
  /** Starts a PostgreSQL that ended; `meanwhile` runs before it does. */
  startPostgresAgain(meanwhile?: () => Promise<void>): Promise<void>;
  /** Fails when somebody is still connected to either. */
  close(): Promise<void>;
  /** Ends both, whoever is connected: for a start that failed. */
  abandon(): Promise<void>;
}

async function atServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('postgresUrl') });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

interface Database {
  readonly url: string;
  server: LocalServer | undefined;
  drop(): Promise<void>;
}

async function ownServer(folder: string): Promise<Database> {
  const server = await startLocalPostgres({ dataDir: folder, cacheDir: cacheFolder });
  await prepareDatabase(server.url);
  const database: Database = { url: server.url, server, drop: async () => database.server?.stop() };
  return database;
}

async function clone(name: string): Promise<Database> {
  await atServer(`create database ${name} template ${inject('template')}`);
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${name}`;
  return { url: url.href, server: undefined, drop: () => atServer(`drop database ${name} with (force)`) };
}

const othersQuery = `select application_name || ': ' || left(query, 80) as who from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;

/** Whoever is connected beside this pool and the tests' own client after everything was closed has leaked. */
async function assertNobodyLeft(pool: pg.Pool, redisClients: () => Promise<string[]>): Promise<void> {
  await pool.end();
  const client = new pg.Client({ connectionString: pool.options.connectionString });
  await client.connect();
  let left: string[] = [];
  try {
    await waitFor(
      'connections are closed',
      async () => {
        const atPostgres = (await client.query<{ who: string }>(othersQuery)).rows.map((row) => row.who);
        left = [...atPostgres, ...(await redisClients())];
        return left.length === 0;
      },
      5_000,
    );
  } catch {
    throw new Error(`connections leaked:\n${left.join('\n')}`);
  } finally {
    await client.end();
  }
}

/** What a file's Redis, or cluster, is to its stores. */
interface OwnRedis {
  readonly url: string;
  readonly redis: Redis;
  readonly cluster: RedisCluster | undefined;
  pid(): number;
  startAgain(): Promise<void>;
  /** Connections beside the tests' own. */
  clients(): Promise<string[]>;
  stop(): Promise<void>;
}

async function oneRedis(folder: string, maxmemoryMb: number): Promise<OwnRedis> {
  const options = { dataDir: folder, cacheDir: cacheFolder, maxmemoryMb };
  const first = await startLocalRedis(options);
  let server: LocalRedis = first;
  const redis = createRedis(server.adminUrl);
  return {
    url: first.url,
    redis,
    cluster: undefined,
    pid: () => server.pid,
    async startAgain() {
      await server.exited;
      const again = await startLocalRedis(options);
      if (again.url !== first.url) throw new Error('Redis came back on another port');
      server = again;
    },
    async clients() {
      const own = await redis.client('ID');
      const lines = String(await redis.client('LIST'))
        .trim()
        .split('\n');
      return lines.filter((line) => !line.startsWith(`id=${own} `));
    },
    stop() {
      redis.disconnect();
      return server.stop();
    },
  };
}

async function ownCluster(folder: string, maxmemoryMb: number): Promise<OwnRedis> {
  const cluster = await startRedisCluster({
    dataDir: join(folder, 'cluster'),
    cacheDir: cacheFolder,
    maxmemoryMb,
    nodeTimeoutMs: 3_000,
  });
  const { redis, serviceClients } = adminOf(cluster);
  const notOne = () => {
    throw new Error('a cluster has no one process; say `onlyOneRedis` and why');
  };
  return {
    url: cluster.url,
    redis,
    cluster,
    pid: notOne,
    startAgain: notOne,
    clients: serviceClients,
    stop() {
      redis.disconnect();
      return cluster.stop();
    },
  };
}

function isOnCluster({ onlyOneRedis, redisCluster }: StoresOptions): boolean {
  return redisCluster ?? (onlyOneRedis === undefined && process.env.REDIS_MODE === 'cluster');
}

/** Opens a file's stores. */
export async function openStores(options: StoresOptions = {}): Promise<Stores> {
  const name = `file_${randomBytes(6).toString('hex')}`;
  const folder = join(inject('folder'), name);
  await mkdir(folder, { recursive: true });
  const [database, own] = await Promise.all([
    options.ownPostgres ? ownServer(folder) : clone(name),
    (isOnCluster(options) ? ownCluster : oneRedis)(folder, options.maxmemoryMb ?? 128),
  ]);
  const pool = createPool(database.url, 4);
  return {
    folder,
    databaseUrl: database.url,
    redisUrl: own.url,
    pool,
    redis: own.redis,
    cluster: own.cluster,
    redisPid: own.pid,
    postgresPid() {
      if (!database.server) throw new Error('the PostgreSQL of the run is not this file’s to end');
      return database.server.pid;
    },
    startRedisAgain: own.startAgain,
    async startPostgresAgain(meanwhile) {
      await database.server?.exited;
      await meanwhile?.();
      database.server = await startLocalPostgres({ dataDir: folder, cacheDir: cacheFolder });
      if (database.server.url !== database.url) throw new Error('PostgreSQL came back on another port');
    },
    async close() {
      try {
        await assertNobodyLeft(pool, own.clients);
      } finally {
        await Promise.all([own.stop(), database.drop()]);
      }
    },
    async abandon() {
      await Promise.allSettled([pool.end(), own.stop(), database.drop()]);
    },
  };
}
