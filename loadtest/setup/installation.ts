/** One installation of this service: its own PostgreSQL and Redis, the sample program, one API, ledger writers, upkeep. */
import { mkdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { seedDemo } from '#src/earning/samples/seed.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { type LocalRedis, startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalOptions, LocalServer } from '#src/platform/local/server.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { type NodeProcess, type Surroundings, startNode } from '../contestant.ts';

export const shardCount = 16;
const readyMsMax = 90_000;

export interface Installation {
  readonly port: number;
  readonly redis: LocalRedis;
  readonly postgres: LocalServer;
  readonly api: NodeProcess;
  readonly writers: readonly NodeProcess[];
  /** Starts one more ledger writer; it takes its part of the shards. */
  startWriter(): Promise<NodeProcess>;
  startUpkeep(): NodeProcess;
  startPromotions(): NodeProcess;
  startTiers(): NodeProcess;
  startAlliance(): NodeProcess;
  stop(): Promise<void>;
}

const isOk = ({ ok }: Response): Promise<boolean> => Promise.resolve(ok);

/** Asks a page again and again until its answer is as wanted; `ended` names the process that died meanwhile. */
export async function until(
  url: string,
  ended: () => string | undefined,
  abort: AbortSignal,
  wanted: (answer: Response) => Promise<boolean> = isOk,
): Promise<void> {
  const deadline = performance.now() + readyMsMax;
  while (performance.now() < deadline && ended() === undefined) {
    abort.throwIfAborted();
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    if (answer && (await wanted(answer))) return;
    await delay(50);
  }
  throw new Error(`the service did not become ready: ${ended() ?? url}`);
}

/** Whether the writer serves every shard; an API that starts earlier answers 503 for those that are still recovering. */
async function servesAll(metrics: Response): Promise<boolean> {
  const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('loyalty_shard_state{'));
  const serving = lines.filter((line) => line.includes('state="serving"'));
  return serving.length === shardCount && serving.every((line) => line.endsWith(' 1'));
}

/** Starts PostgreSQL and what is Redis there, with their data in one folder, and makes the tables; the stack stops them. */
export async function openStores<R extends Pick<LocalServer, 'stop'>>(
  { cacheDir, abort }: Surroundings,
  dataDir: string,
  startRedis: (servers: LocalOptions) => Promise<R>,
  stack: AsyncDisposableStack,
): Promise<{ postgres: LocalServer; redis: R }> {
  await mkdir(dataDir, { recursive: true });
  const servers = { dataDir, cacheDir, abort };
  const postgres = await startLocalPostgres(servers);
  stack.defer(() => postgres.stop());
  const redis = await startRedis(servers);
  stack.defer(() => redis.stop());
  await prepareDatabase(postgres.url);
  return { postgres, redis };
}

/** Brings an installation up, with one writer; answers when every shard and the API serve. */
export async function openInstallation(around: Surroundings, dataDir: string): Promise<Installation> {
  await using stack = new AsyncDisposableStack();
  const startRedis = (servers: LocalOptions) => startLocalRedis({ ...servers, maxmemoryMb: 4_096 });
  const { postgres, redis } = await openStores(around, dataDir, startRedis, stack);
  await seedDemo(postgres.url, dataDir);
  const port = await freeLoopbackPort();
  const env = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    DATA_DIR: dataDir,
    PORT: String(port),
    LISTEN_HOST: '127.0.0.1',
    DEMO_KEYS: 'true',
    SHARD_COUNT: String(shardCount),
    API_PROCESSES: String(around.apiProcesses ?? 1),
  };
  const writers: NodeProcess[] = [];
  const start = (name: string, script: string, own: Readonly<Record<string, string>> = {}): NodeProcess => {
    const started = startNode(name, [script, dataDir], around, { ...env, ...own });
    standing.defer(() => started.stop());
    return started;
  };
  let standing = stack;
  async function startWriter(): Promise<NodeProcess> {
    const metricsPort = await freeLoopbackPort();
    const name = writers.length === 0 ? 'ledger-writer' : `ledger-writer-${writers.length + 1}`;
    const writer = start(name, 'workers/ledger-writer.ts', { WORKER_METRICS_PORT: String(metricsPort) });
    writers.push(writer);
    const ended = () => (writer.hasExited() ? name : undefined);
    const wanted = writers.length === 1 ? servesAll : isOk;
    await until(`http://127.0.0.1:${metricsPort}/metrics`, ended, around.abort, wanted);
    return writer;
  }
  await startWriter();
  const api = start('api', 'src/main.ts');
  const ended = () => (api.hasExited() ? 'api' : undefined);
  await until(`http://127.0.0.1:${port}/readyz`, ended, around.abort);
  standing = stack.move();
  return {
    port,
    redis,
    postgres,
    api,
    writers,
    startWriter,
    startUpkeep: () => start('upkeep', 'workers/upkeep.ts'),
    startPromotions: () => start('promotions', 'workers/promotions.ts'),
    startTiers: () => start('tiers', 'workers/tiers.ts'),
    startAlliance: () => start('alliance', 'workers/alliance.ts'),
    stop: () => standing.disposeAsync(),
  };
}
