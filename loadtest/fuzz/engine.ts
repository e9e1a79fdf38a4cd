/** A service of the fuzzer's own: stores, API, writer and upkeep as processes, and two programs with a key of every role. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { createProgram } from '#src/earning/program.ts';
import { demoDefinition } from '#src/earning/samples/demo.ts';
import { createKey } from '#src/http/keys.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { type Surroundings, startNode } from '../contestant.ts';
import { startRedisCluster } from '../setup/redis-cluster.ts';

export interface FuzzEngine {
  readonly port: number;
  readonly url: string;
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly tokens: readonly string[];
  readonly logPath: string;
  /** The name of a process that has died; undefined while all live. */
  dead(): string | undefined;
  stop(): Promise<void>;
}

const roles = ['pos', 'checkout', 'care', 'finance', 'partner', 'admin'] as const;
const readyMsMax = 90_000;
const shardCount = 4;

async function found(pool: pg.Pool): Promise<string[]> {
  const tokens: string[] = [];
  for (const mode of ['live', 'test'] as const) {
    const program = await createProgram(pool, {
      name: `fuzz-${mode}`,
      mode,
      timeZone: 'Europe/Berlin',
      definition: demoDefinition,
    });
    for (const role of roles) {
      const draft = {
        program: program.number,
        client: role,
        role,
        actor: 'fuzz',
      };
      tokens.push((await createKey(pool, draft)).token);
    }
  }
  return tokens;
}

async function untilReady(port: number, ended: () => string | undefined): Promise<void> {
  const deadline = performance.now() + readyMsMax;
  while (performance.now() < deadline && ended() === undefined) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, {
      signal: AbortSignal.timeout(5_000),
    }).catch(() => undefined);
    if (answer?.ok) return;
    await delay(50);
  }
  throw new Error(`the service did not become ready: ${ended() ?? 'time is up'}`);
}

/** Starts it all; `stop` ends what was started, also after a failure half way. */
export async function startFuzzEngine(around: Surroundings, isOnCluster: boolean): Promise<FuzzEngine> {
  await using stack = new AsyncDisposableStack();
  const dataDir = join(around.folder, 'service');
  await mkdir(dataDir, { recursive: true });
  const servers = { dataDir, cacheDir: around.cacheDir, abort: around.abort };
  const postgres = await startLocalPostgres(servers);
  stack.defer(() => postgres.stop());
  const start = isOnCluster ? startRedisCluster : startLocalRedis;
  const redis = await start({ ...servers, maxmemoryMb: 256 });
  stack.defer(() => redis.stop());
  await prepareDatabase(postgres.url);
  const pool = createPool(postgres.url, 2);
  stack.defer(() => pool.end());
  const nodes = await openShardNodes(redis.url, shardCount);
  stack.defer(() => nodes.close());
  const tokens = await found(pool);
  const port = await freeLoopbackPort();
  const env = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    DATA_DIR: dataDir,
    PORT: String(port),
    LISTEN_HOST: '127.0.0.1',
    SHARD_COUNT: String(shardCount),
  };
  const processes = (['workers/ledger-writer.ts', 'src/main.ts', 'workers/upkeep.ts'] as const).map(
    (script) => {
      const name = script.replace(/^.*\/(.*)\.ts$/, '$1');
      const node = startNode(name, [script, dataDir], around, env);
      stack.defer(() => node.stop());
      return { name, node };
    },
  );
  const dead = () => processes.find(({ node }) => node.hasExited())?.name;
  await untilReady(port, dead);
  const all = stack.move();
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    databaseUrl: postgres.url,
    pool,
    nodes,
    tokens,
    logPath: join(around.folder, 'main.log'),
    dead,
    stop: () => all.disposeAsync(),
  };
}
