/** A service of the fuzzer's own: stores, API, writer and upkeep as processes, and two programs with a key of every role. */
import { join } from 'node:path';
import type pg from 'pg';
import { demoFile } from '#src/earning/samples/demo.ts';
import { createProgram } from '#src/earning/versions.ts';
import { createKey } from '#src/http/keys.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalOptions } from '#src/platform/local/server.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { type Surroundings, startNode } from '../contestant.ts';
import { openStores, until } from '../setup/installation.ts';
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
const shardCount = 4;

async function found(pool: pg.Pool): Promise<string[]> {
  const tokens: string[] = [];
  for (const mode of ['live', 'test'] as const) {
    const program = await createProgram(pool, {
      name: `fuzz-${mode}`,
      mode,
      file: { ...demoFile, timeZone: 'Europe/Berlin' },
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

/** Starts it all; `stop` ends what was started, also after a failure half way. */
export async function startFuzzEngine(around: Surroundings, isOnCluster: boolean): Promise<FuzzEngine> {
  await using stack = new AsyncDisposableStack();
  const dataDir = join(around.folder, 'service');
  const start = isOnCluster ? startRedisCluster : startLocalRedis;
  const startRedis = async (servers: LocalOptions) => start({ ...servers, maxmemoryMb: 256 });
  const { postgres, redis } = await openStores(around, dataDir, startRedis, stack);
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
  const url = `http://127.0.0.1:${port}`;
  await until(`${url}/readyz`, dead, around.abort);
  const all = stack.move();
  return {
    port,
    url,
    databaseUrl: postgres.url,
    pool,
    nodes,
    tokens,
    logPath: join(around.folder, 'main.log'),
    dead,
    stop: () => all.disposeAsync(),
  };
}
