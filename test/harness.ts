/**
 * The house that tests live in: real PostgreSQL, real Redis, the real API and ledger writer.
 *
 * `startEngine` runs API and writer inside the test's process, which is fast; `spawnEngine` runs them as the processes
 * that `npm start` runs, for tests that kill them. Both end with `end`: the books must hold everything, the audit must
 * find nothing, nobody may stay connected.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { type App, createApp } from '#src/app.ts';
import type { Config } from '#src/config.ts';
import { allRoutes, createApi } from '#src/http/api.ts';
import { openapiDocument } from '#src/http/openapi.ts';
import { drain } from '#src/http/server.ts';
import { ensureInstallation } from '#src/ledger/installation.ts';
import { startWriter, type WriterProcess } from '#src/ledger/writer-process.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createLogger } from '#src/platform/telemetry.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { assertAuditClean, booksHoldAll } from './house/books.ts';
import { clientOf, type Http, keepSeen } from './house/client.ts';
import { type Contract, contractOf, type OpenApi } from './house/contract.ts';
import { openShop, type Shop, type ShopOptions } from './house/shop.ts';
import { openStores, type Stores, type StoresOptions } from './house/stores.ts';
import { waitFor } from './house/waiting.ts';

export { type Answer, type Http, noteCode } from './house/client.ts';
export {
  amountRule,
  type Figures,
  inDays,
  reference,
  type Shop,
  type ShopOptions,
  type ShopRole,
  uuidV7,
} from './house/shop.ts';
export { waitFor } from './house/waiting.ts';

export interface EngineOptions extends StoresOptions {
  /** 1 keeps two members of one test in one shard. */
  readonly shardCount?: number;
  readonly config?: Partial<Config>;
}

/** What both kinds of engine offer. */
export interface House {
  readonly url: string;
  readonly http: Http;
  readonly stores: Stores;
  readonly pool: pg.Pool;
  readonly redis: Redis;
  shop(options?: ShopOptions): Promise<Shop>;
  /** Waits until the books hold everything. */
  drained(): Promise<void>;
  audit(): Promise<void>;
}

export interface Api {
  readonly url: string;
  readonly http: Http;
  readonly app: App;
  close(): Promise<void>;
}

export interface Engine extends House {
  readonly app: App;
  readonly contract: Contract;
  /** Another API beside the first, which shares nothing with it but the stores. */
  anotherApi(config?: Partial<Config>): Promise<Api>;
  /** Does something while no ledger writer runs; one runs again afterwards, whatever happens. */
  withoutWriter<T>(work: () => Promise<T>): Promise<T>;
  end(): Promise<void>;
}

export function houseOf(stores: Stores, url: () => string, http: Http, apis: () => readonly Http[]): House {
  const { pool, redis } = stores;
  return {
    get url() {
      return url();
    },
    http,
    stores,
    pool,
    redis,
    shop: (options) => openShop({ pool, redis, http, apis }, options),
    drained: () => booksHoldAll(pool, redis),
    audit: () => assertAuditClean(stores),
  };
}

function configOf(stores: Stores, options: EngineOptions): Config {
  return {
    port: 0,
    listenHost: '127.0.0.1',
    apiProcesses: 1,
    apiProcess: undefined,
    workerMetricsPort: undefined,
    dataDir: stores.folder,
    databaseUrl: stores.databaseUrl,
    databaseConnectionsMax: 10,
    redisUrl: stores.redisUrl,
    identityKey: randomBytes(32).toString('base64'),
    logLevel: 'silent',
    shardCount: options.shardCount ?? 4,
    journalLimitBytes: 1_000_000_000,
    journalKeepSeconds: 300,
    evictIdleSeconds: 3_600,
    demoKeys: false,
    partnerTimeoutMs: 1_000,
    shutdownSeconds: 5,
    ...options.config,
  };
}

interface Writing {
  readonly process: WriterProcess;
  stop(): Promise<void>;
}

async function writerOf(config: Config): Promise<Writing> {
  const pool = createPool(config.databaseUrl, 4);
  const nodes = await openShardNodes(config.redisUrl, config.shardCount);
  const process = startWriter({
    databaseUrl: config.databaseUrl,
    pool,
    nodes,
    log: createLogger('silent', 'ledger-writer'),
    journalKeepMs: config.journalKeepSeconds * 1_000,
    journalBytesMax: config.journalLimitBytes,
    events: {
      written: () => {},
      lag: () => {},
      state: () => {},
      conflict: () => {},
      quarantined: () => {},
    },
  });
  return {
    process,
    async stop() {
      await process.stop(config.shutdownSeconds * 1_000);
      nodes.close();
      await pool.end();
    },
  };
}

interface ContractedApi extends Api {
  readonly contract: Contract;
}

/** An API in this process. Its replies are held against a document that allows no field that it does not describe. */
async function openApi(config: Config, shared?: Contract): Promise<ContractedApi> {
  const app = await createApp(config, 'api');
  const { server, keys } = await createApi(app);
  server.listen(0, config.listenHost);
  await once(server, 'listening');
  const document = () => openapiDocument(allRoutes(app, keys), { version: 'test', repliesClosed: true });
  const contract = shared ?? contractOf(document() as unknown as OpenApi);
  const url = `http://${config.listenHost}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    http: clientOf(url, () => contract),
    app,
    contract,
    async close() {
      await drain(server, config.shutdownSeconds * 1_000);
      keys.stop();
      await app.close();
    },
  };
}

async function ready(url: string): Promise<void> {
  await waitFor(
    'the API is ready',
    async () => {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
      if (answer.status !== 200) throw new Error(await answer.text());
      return true;
    },
    20_000,
  );
}

/** An engine inside this process, for one test file. */
export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const stores = await openStores(options);
  try {
    return await startOn(stores, options);
  } catch (error) {
    await stores.abandon();
    throw error;
  }
}

async function startOn(stores: Stores, options: EngineOptions): Promise<Engine> {
  const config = configOf(stores, options);
  await ensureInstallation(stores.pool, config.shardCount);
  let writer: Writing | undefined = await writerOf(config);
  const first = await openApi(config);
  const others: Api[] = [];
  await ready(first.url);
  const house = houseOf(
    stores,
    () => first.url,
    first.http,
    () => [first, ...others].map((api) => api.http),
  );
  const engine: Engine = {
    ...house,
    url: first.url,
    app: first.app,
    contract: first.contract,
    async anotherApi(changed) {
      const api = await openApi({ ...config, ...changed }, first.contract);
      others.push(api);
      return api;
    },
    async withoutWriter(work) {
      await writer?.stop();
      writer = undefined;
      try {
        return await work();
      } finally {
        writer = await writerOf(config);
      }
    },
    async end() {
      await keepSeen(first.contract);
      try {
        writer ??= await writerOf(config);
        await house.drained();
        await house.audit();
      } finally {
        for (const api of [...others, first]) await api.close();
        await writer?.stop();
        await stores.close();
      }
    },
  };
  return engine;
}
