/**
 * The whole service on this machine, as it is shipped: PostgreSQL, Redis, two APIs (one of them two processes behind one
 * port), two ledger writers, upkeep, and one more process that evicts all the time. Every link between two of them is a proxy that can misbehave.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { createKey } from '#src/http/keys.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { type Outcome, run, waitUntil } from '#src/platform/local/processes.ts';
import type { LocalServer } from '#src/platform/local/server.ts';
import { withPostgres } from '../setup/with-postgres.ts';
import { withRedis } from '../setup/with-redis.ts';
import { openClusterRedis } from './house-cluster.ts';
import { type HouseRedis, openSingleRedis, type RedisNode, throughLink } from './house-redis.ts';
import { type MemberProcess, type ProcessPlan, processOf, type Role } from './member-process.ts';
import { type Link, startProxy } from './proxy.ts';
import { migrateBy } from './revision.ts';

export const shardCount = 8;

interface HouseOptions {
  readonly folder: string;
  readonly cacheDir: string;
  /** The checkout whose code runs; another one than the harness's for a build that is broken on purpose, or an older one. */
  readonly root: string;
  /** A Redis Cluster in the place of one Redis. */
  readonly isCluster: boolean;
  readonly abort: AbortSignal;
}

export interface Tenant {
  readonly program: number;
  readonly client: number;
  readonly token: string;
}

export interface House {
  readonly options: HouseOptions;
  readonly tenant: Tenant;
  readonly processes: readonly MemberProcess[];
  of(role: Role): readonly MemberProcess[];
  readonly postgres: LocalServer;
  readonly redis: HouseRedis;
  /** Every link of the house that may misbehave. */
  readonly links: readonly Link[];
  startPostgres(): Promise<void>;
  /** Runs a command of the service's to its end, past all proxies in front of PostgreSQL. */
  command(script: string, args: readonly string[], timeoutMs: number): Promise<Outcome>;
  /** As the user who may do everything, past all proxies. A connection of its own, because servers come and go. */
  withRedis<T>(node: RedisNode, work: (redis: Redis) => Promise<T>): Promise<T>;
  withPostgres<T>(work: (client: pg.Client) => Promise<T>): Promise<T>;
  end(): Promise<void>;
}

const scripts: Readonly<Record<Role, string>> = {
  api: 'src/main.ts',
  writer: 'workers/ledger-writer.ts',
  upkeep: 'workers/upkeep.ts',
  evictor: 'loadtest/chaos/evictor.ts',
};
const roster: readonly (readonly [Role, string])[] = [
  ['writer', 'writer-1'],
  ['writer', 'writer-2'],
  ['api', 'api-1'],
  ['api', 'api-2'],
  ['upkeep', 'upkeep'],
  ['evictor', 'evictor'],
];

/** Its port is served by two processes under a supervisor. */
export const severalApi = 'api-2';

/** Who runs commands. */
const operator = 'operator';

/** Lots of many days, so that burn order means something; debt, so that taking back what was spent does too. */
async function settle(databaseUrl: string): Promise<Tenant> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  try {
    const { number } = await createProgram(pool, {
      name: 'chaos',
      mode: 'live',
      file: {
        timeZone: 'Europe/Vienna',
        currencies: [{ code: 'points' }],
        rules: [
          {
            name: 'spend',
            currency: 'points',
            earn: { by: 'amount', points: 1, perMinorUnits: 100 },
            expiry: { kind: 'days', days: 400 },
          },
        ],
      },
    });
    const draft = { program: number, client: 'chaos', role: 'admin' as const, actor: 'chaos' };
    const { key, token } = await createKey(pool, draft);
    return { program: number, client: key.client, token };
  } finally {
    await pool.end();
  }
}

interface Surroundings {
  readonly redis: HouseRedis;
  readonly postgres: LocalServer;
  readonly identityKey: string;
}

/** How a process is started, and the links that are its own; the stack closes them. */
async function planOf(
  role: Role,
  name: string,
  { folder, root }: HouseOptions,
  { redis, postgres, identityKey }: Surroundings,
  logs: string,
  stack: AsyncDisposableStack,
): Promise<ProcessPlan> {
  const { url: redisUrl, links: redisLinks } = await redis.connect(name);
  const postgresLink = await startProxy(`${name} → PostgreSQL`, postgres.port);
  const port = await freeLoopbackPort();
  const httpLink = role === 'api' ? await startProxy(`callers → ${name}`, port) : undefined;
  const ownLinks = [postgresLink, ...(httpLink ? [httpLink] : [])];
  for (const link of ownLinks) stack.defer(() => link.close());
  const clockFile = join(folder, `${name}.clock`);
  const preload = new URL('./shifted-clock.ts', import.meta.url);
  preload.searchParams.set('file', clockFile);
  return {
    role,
    name,
    root,
    script: scripts[role],
    dataDir: folder,
    logPath: join(logs, `${name}.log`),
    env: {
      DATABASE_URL: throughLink(postgres.url, postgresLink.port),
      REDIS_URL: redisUrl,
      DATA_DIR: folder,
      IDENTITY_KEY: identityKey,
      SHARD_COUNT: String(shardCount),
      LISTEN_HOST: '127.0.0.1',
      PORT: String(port),
      LOG_LEVEL: 'info',
      ...(name === severalApi ? { API_PROCESSES: '2' } : {}),
    },
    redisLinks,
    ownLinks: redis.cluster ? ownLinks : [...redisLinks, ...ownLinks],
    postgresLink,
    httpLink,
    clockFile,
    preload: role === 'api' ? preload.href : undefined,
  };
}

/** Brings the house up; the caller waits until it serves. */
export async function openHouse(options: HouseOptions): Promise<House> {
  const { folder, cacheDir, abort } = options;
  await using stack = new AsyncDisposableStack();
  const logs = join(folder, 'logs');
  await mkdir(logs, { recursive: true });
  const servers = { dataDir: folder, cacheDir, abort };
  let postgres = await startLocalPostgres(servers);
  stack.defer(() => postgres.stop());
  const names = [...roster.map(([, name]) => name), operator];
  const redis = await (options.isCluster ? openClusterRedis : openSingleRedis)(servers, shardCount, names);
  stack.defer(() => redis.end());
  await migrateBy(options.root, postgres.url, folder);
  const tenant = await settle(postgres.url);
  const identityKey = randomBytes(32).toString('base64');
  const processes: MemberProcess[] = [];

  for (const [role, name] of roster) {
    const plan = await planOf(role, name, options, { redis, postgres, identityKey }, logs, stack);
    const member = processOf(plan);
    processes.push(member);
    await member.start();
    stack.defer(async () => void (await member.stop()));
  }

  const standing = stack.move();
  return {
    options,
    tenant,
    processes,
    of: (role) => processes.filter((each) => each.role === role),
    get postgres() {
      return postgres;
    },
    redis,
    links: [...new Set([...redis.links, ...processes.flatMap(({ links }) => links)])],
    async startPostgres() {
      const { port } = postgres;
      postgres = await startLocalPostgres(servers);
      if (postgres.port !== port) throw new Error('PostgreSQL came back on another port');
    },
    async command(script, args, timeoutMs) {
      const { url } = await redis.connect(operator);
      const env = { DATABASE_URL: postgres.url, REDIS_URL: url, DATA_DIR: folder, IDENTITY_KEY: identityKey };
      return run({ file: process.execPath, args: [join(options.root, script), ...args], env }, timeoutMs);
    },
    withRedis: (node, work) => withRedis(node.server.adminUrl, work),
    withPostgres: (work) => withPostgres(postgres.url, work),
    end: () => standing.disposeAsync(),
  };
}

interface ServingRow {
  readonly open: number;
  readonly detail: string | null;
}

/** Open: a living writer holds the shard and has said since `sinceMs` that the books hold everything. */
const servingQuery = `
  select count(*) filter (where good)::int as open, string_agg(shard::text, ',' order by shard) filter (where not good) as detail
  from (select shard, owner is not null and heartbeat_at > clock_timestamp() - interval '1 second'
          and written_through_at > to_timestamp($1::float8 / 1000) as good
        from lease join position using (shard)) as shards`;

/** The members that everybody asks for; they live in all shards. */
export const hotMembers: readonly string[] = Array.from({ length: 16 }, (_, i) => `hot-${i}`);

/** Asks an API for a member of every shard. Answers the first that it cannot serve; before anybody is enrolled, none. */
async function unserved(url: string, token: string): Promise<string | undefined> {
  const answers = await Promise.all(
    hotMembers.map(async (member) => {
      const answer = await fetch(`${url}/v1/members/${member}/balances`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(2_000),
      });
      const text = await answer.text();
      return answer.status === 200 || answer.status === 404 ? undefined : `${member}: ${text}`;
    }),
  );
  return answers.find((answer) => answer !== undefined);
}

/** What is not serving; undefined when all is. */
async function closedParts(house: House, sinceMs: number): Promise<string | undefined> {
  try {
    const row = await house.withPostgres(
      async (client) => (await client.query<ServingRow>(servingQuery, [sinceMs])).rows[0],
    );
    if (row?.open !== shardCount) return `shards ${row?.detail ?? 'all'} are not served`;
    for (const { name, httpLink } of house.of('api')) {
      const answer = await fetch(`http://127.0.0.1:${httpLink!.port}/readyz`, {
        signal: AbortSignal.timeout(2_000),
      });
      if (answer.status !== 200) return `${name} is not ready: ${await answer.text()}`;
      await answer.arrayBuffer().catch(() => undefined);
      const closed = await unserved(`http://127.0.0.1:${httpLink!.port}`, house.tenant.token);
      if (closed !== undefined) return `${name} does not serve ${closed}`;
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Waits until every shard and every API serves. Answers the seconds that took; throws with what does not. */
export async function untilServing(house: House, sinceMs: number, timeoutMs: number): Promise<number> {
  const startedAt = performance.now();
  let closed: string | undefined = 'nothing was asked';
  const serves = await waitUntil(
    async () => {
      house.options.abort.throwIfAborted();
      closed = await closedParts(house, sinceMs);
      return closed === undefined;
    },
    timeoutMs,
    50,
  );
  if (!serves) throw new Error(`not serving after ${timeoutMs / 1_000} s: ${closed}`);
  return (performance.now() - startedAt) / 1_000;
}
