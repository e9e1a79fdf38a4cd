/** A test file's own database and its own Redis process. */
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
import { cacheFolder } from './folders.ts';
import { waitFor } from './waiting.ts';

export interface StoresOptions {
  /** A PostgreSQL of its own, for tests that kill it or read its files; otherwise the run's. */
  readonly ownPostgres?: boolean;
  readonly maxmemoryMb?: number;
}

export interface Stores {
  readonly folder: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly pool: pg.Pool;
  /** As the user who may do everything. */
  readonly redis: Redis;
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

/** Whoever is connected beside this pool and this client after everything was closed has leaked. */
async function assertNobodyLeft(pool: pg.Pool, redis: Redis): Promise<void> {
  const own = await redis.client('ID');
  await pool.end();
  const client = new pg.Client({ connectionString: pool.options.connectionString });
  await client.connect();
  let left: string[] = [];
  try {
    await waitFor(
      'connections are closed',
      async () => {
        const atPostgres = (await client.query<{ who: string }>(othersQuery)).rows.map((row) => row.who);
        const clients = String(await redis.client('LIST'))
          .trim()
          .split('\n');
        left = [...atPostgres, ...clients.filter((line) => !line.startsWith(`id=${own} `))];
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

/** Opens a file's stores. */
export async function openStores(options: StoresOptions = {}): Promise<Stores> {
  const name = `file_${randomBytes(6).toString('hex')}`;
  const folder = join(inject('folder'), name);
  await mkdir(folder, { recursive: true });
  const redisOptions = { dataDir: folder, cacheDir: cacheFolder, maxmemoryMb: options.maxmemoryMb ?? 128 };
  const [database, firstRedis] = await Promise.all([
    options.ownPostgres ? ownServer(folder) : clone(name),
    startLocalRedis(redisOptions),
  ]);
  let server: LocalRedis = firstRedis;
  const pool = createPool(database.url, 4);
  const redis = createRedis(server.adminUrl);
  return {
    folder,
    databaseUrl: database.url,
    redisUrl: server.url,
    pool,
    redis,
    redisPid: () => server.pid,
    postgresPid() {
      if (!database.server) throw new Error('the PostgreSQL of the run is not this file’s to end');
      return database.server.pid;
    },
    async startRedisAgain() {
      await server.exited;
      const again = await startLocalRedis(redisOptions);
      if (again.url !== firstRedis.url) throw new Error('Redis came back on another port');
      server = again;
    },
    async startPostgresAgain(meanwhile) {
      await database.server?.exited;
      await meanwhile?.();
      database.server = await startLocalPostgres({ dataDir: folder, cacheDir: cacheFolder });
      if (database.server.url !== database.url) throw new Error('PostgreSQL came back on another port');
    },
    async close() {
      try {
        await assertNobodyLeft(pool, redis);
      } finally {
        redis.disconnect();
        await Promise.all([server.stop(), database.drop()]);
      }
    },
    async abandon() {
      redis.disconnect();
      await Promise.allSettled([pool.end(), server.stop(), database.drop()]);
    },
  };
}
