/** The service's own processes, started and killed as an operating system would. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { endProcess, launch, type Running } from '#src/platform/local/processes.ts';
import { assertAuditClean, booksHoldAll } from './books.ts';
import { clientOf, type Http, keepSeen } from './client.ts';
import { type Contract, contractOf, type OpenApi } from './contract.ts';
import { checkout } from './folders.ts';
import { openShop, type Shop, type ShopOptions } from './shop.ts';
import { openStores, type Stores, type StoresOptions } from './stores.ts';
import { waitFor } from './waiting.ts';

export interface Spawned {
  readonly name: string;
  readonly pid: number;
  readonly running: Running;
  readonly logPath: string;
  /** kill -9, and waits until the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and waits until it has drained. */
  stop(): Promise<void>;
}

export interface SpawnedApi extends Spawned {
  readonly url: string;
  readonly http: Http;
}

export interface SpawnOptions extends StoresOptions {
  readonly shardCount?: number;
  readonly apis?: number;
  readonly writers?: number;
  readonly upkeep?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

export interface SpawnedEngine {
  readonly stores: Stores;
  readonly apis: SpawnedApi[];
  readonly writers: Spawned[];
  /** A client of whichever API is listed first. */
  readonly http: Http;
  readonly logFolder: string;
  /** `root` is the tree whose code runs, this one where it is left out. */
  startApi(port?: number, root?: string): Promise<SpawnedApi>;
  startWriter(root?: string, more?: Readonly<Record<string, string>>): Promise<Spawned>;
  startUpkeep(): Promise<Spawned>;
  startPromotions(): Promise<Spawned>;
  startTiers(): Promise<Spawned>;
  startAlliance(): Promise<Spawned>;
  readonly env: Readonly<Record<string, string>>;
  shop(options?: ShopOptions): Promise<Shop>;
  drained(timeoutMs?: number): Promise<void>;
  audit(): Promise<void>;
  readonly contract: Contract;
  end(): Promise<void>;
}

const drainMs = 20_000;

async function startProcess(
  name: string,
  script: string,
  env: Record<string, string>,
  logPath: string,
  root = checkout,
): Promise<Spawned> {
  const command = {
    file: process.execPath,
    args: [join(root, script), env.DATA_DIR!],
    cwd: root,
    env,
  };
  // With a channel to this process it ends by itself when this one is killed.
  const running = launch(command, logPath, 'ipc');
  const gone = () => running.hasExited();
  const pid = running.pid!;
  return {
    name,
    pid,
    running,
    logPath,
    async kill() {
      await endProcess(pid, gone, [{ signal: 'SIGKILL', waitMs: 5_000 }]);
    },
    async stop() {
      await endProcess(pid, gone, [
        { signal: 'SIGTERM', waitMs: drainMs },
        { signal: 'SIGKILL', waitMs: 5_000 },
      ]);
    },
  };
}

async function untilReady(api: Pick<SpawnedApi, 'url' | 'running' | 'logPath'>): Promise<void> {
  await waitFor(
    `${api.url} is ready`,
    async () => {
      if (api.running.hasExited()) throw new Error(`it has ended:\n${await readFile(api.logPath, 'utf8')}`);
      const answer = await fetch(`${api.url}/readyz`, { signal: AbortSignal.timeout(2_000) });
      if (answer.status !== 200) throw new Error(await answer.text());
      return true;
    },
    60_000,
  );
}

/** Starts the engine's processes on stores of their own. */
export async function spawnEngine(options: SpawnOptions = {}): Promise<SpawnedEngine> {
  const stores = await openStores(options);
  try {
    return await spawnOn(stores, options);
  } catch (error) {
    await stores.abandon();
    throw error;
  }
}

async function spawnOn(stores: Stores, options: SpawnOptions): Promise<SpawnedEngine> {
  const logFolder = join(stores.folder, 'logs');
  await mkdir(logFolder, { recursive: true });
  const env: Record<string, string> = {
    DATABASE_URL: stores.databaseUrl,
    REDIS_URL: stores.redisUrl,
    DATA_DIR: stores.folder,
    IDENTITY_KEY: randomBytes(32).toString('base64'),
    SHARD_COUNT: String(options.shardCount ?? 4),
    LISTEN_HOST: '127.0.0.1',
    LOG_LEVEL: 'info',
    ...options.env,
  };
  const apis: SpawnedApi[] = [];
  const writers: Spawned[] = [];
  const others: Spawned[] = [];
  let contract: Contract | undefined;
  let started = 0;
  const logOf = (name: string) => join(logFolder, `${name}-${++started}.log`);

  async function startApi(port?: number, root?: string): Promise<SpawnedApi> {
    const at = port ?? (await freeLoopbackPort());
    const own = { ...env, PORT: String(at) };
    const spawned = await startProcess('api', 'src/main.ts', own, logOf('api'), root);
    const url = `http://127.0.0.1:${at}`;
    return { ...spawned, url, http: clientOf(url, () => contract) };
  }
  async function startWriter(root?: string, more: Readonly<Record<string, string>> = {}): Promise<Spawned> {
    const own = { ...env, ...more, WORKER_METRICS_PORT: String(await freeLoopbackPort()) };
    return startProcess('ledger-writer', 'workers/ledger-writer.ts', own, logOf('writer'), root);
  }

  async function startUpkeep(): Promise<Spawned> {
    const upkeep = await startProcess('upkeep', 'workers/upkeep.ts', env, logOf('upkeep'));
    others.push(upkeep);
    return upkeep;
  }

  async function startPromotions(): Promise<Spawned> {
    const promotions = await startProcess('promotions', 'workers/promotions.ts', env, logOf('promotions'));
    others.push(promotions);
    return promotions;
  }

  async function startTiers(): Promise<Spawned> {
    const tiers = await startProcess('tiers', 'workers/tiers.ts', env, logOf('tiers'));
    others.push(tiers);
    return tiers;
  }

  async function startAlliance(): Promise<Spawned> {
    const alliance = await startProcess('alliance', 'workers/alliance.ts', env, logOf('alliance'));
    others.push(alliance);
    return alliance;
  }

  for (let i = 0; i < (options.writers ?? 1); i += 1) writers.push(await startWriter());
  for (let i = 0; i < (options.apis ?? 1); i += 1) apis.push(await startApi());
  if (options.upkeep) await startUpkeep();
  for (const api of apis) await untilReady(api);
  contract = contractOf((await (await fetch(`${apis[0]!.url}/openapi.json`)).json()) as OpenApi);
  const http: Http = (...call) => apis[0]!.http(...call);
  const { pool, redis } = stores;
  return {
    stores,
    apis,
    writers,
    http,
    logFolder,
    contract,
    env,
    async startApi(port, root) {
      const api = await startApi(port, root);
      await untilReady(api);
      return api;
    },
    startWriter,
    startUpkeep,
    startPromotions,
    startTiers,
    startAlliance,
    shop: (shopOptions) =>
      openShop({ pool, redis, http, apis: () => apis.map((api) => api.http) }, shopOptions),
    drained: (timeoutMs) => booksHoldAll(pool, redis, timeoutMs),
    audit: () => assertAuditClean(stores),
    async end() {
      await keepSeen(contract);
      try {
        await booksHoldAll(pool, redis);
        await assertAuditClean(stores);
      } finally {
        await Promise.all([...others, ...apis].map((each) => each.stop()));
        await Promise.all(writers.map((each) => each.stop()));
        await stores.close();
      }
    },
  };
}
