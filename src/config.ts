/**
 * The environment, read once and checked. This is the only file that reads `process.env`; a process with a fault in its
 * settings refuses to start and lists all faults at once.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isClusterUrl } from './platform/redis-topology.ts';

const port = z.coerce.number().int().min(1).max(65535);
const flag = z.stringbool().default(false);

const settings = z.object({
  PORT: port.default(3000),
  DATA_DIR: z.string().min(1).default('.data'),
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  /** One Redis, or some nodes of a Redis Cluster: `redis-cluster://user:password@host:port,host:port`. */
  REDIS_URL: z
    .string()
    .refine((text) => isClusterUrl(text) || z.url({ protocol: /^rediss?$/ }).safeParse(text).success, {
      error: 'takes redis://host:port, or redis-cluster://host:port,host:port',
    }),
  /** Base64 of 32 bytes: keys the hashes of identifiers and encrypts what is personal. */
  IDENTITY_KEY: z.base64().optional(),
  LISTEN_HOST: z.string().default('0.0.0.0'),
  /** Processes of the API behind its one port. */
  API_PROCESSES: z.coerce.number().int().min(1).max(64).default(1),
  /** Which of them this one is: said by their supervisor, never by a person. */
  API_PROCESS: z.coerce.number().int().min(1).max(64).optional(),
  WORKER_METRICS_PORT: port.optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  SHARD_COUNT: z.coerce.number().int().min(1).max(4096).default(16),
  JOURNAL_LIMIT_BYTES: z.coerce.number().int().min(1_000_000).default(1_000_000_000),
  JOURNAL_KEEP_SECONDS: z.coerce.number().int().min(0).max(86_400).default(300),
  /** Members that nobody has asked for so long leave Redis; the next movement loads them again. */
  EVICT_IDLE_SECONDS: z.coerce.number().int().min(1).default(86_400),
  DEMO_KEYS: flag,
  /** A partner that takes longer to answer has not answered. */
  PARTNER_TIMEOUT_MS: z.coerce.number().int().min(100).max(60_000).default(10_000),
  SHUTDOWN_SECONDS: z.coerce.number().int().min(1).max(120).default(15),
});

export interface Config {
  readonly port: number;
  readonly listenHost: string;
  readonly apiProcesses: number;
  readonly apiProcess: number | undefined;
  readonly workerMetricsPort: number | undefined;
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** Of this process. */
  readonly databaseConnectionsMax: number;
  readonly redisUrl: string;
  readonly identityKey: string | undefined;
  readonly logLevel: string;
  readonly shardCount: number;
  readonly journalLimitBytes: number;
  readonly journalKeepSeconds: number;
  readonly evictIdleSeconds: number;
  readonly demoKeys: boolean;
  readonly partnerTimeoutMs: number;
  readonly shutdownSeconds: number;
}

/** Where `npm start` keeps the URLs of the servers that it brought; a command beside it finds them there. */
const localRecords = { DATABASE_URL: 'postgres.json', REDIS_URL: 'redis.json' } as const;

function localUrls(dataDir: string): Record<string, string> {
  const urls: Record<string, string> = {};
  for (const [name, file] of Object.entries(localRecords)) {
    try {
      const record = JSON.parse(readFileSync(join(dataDir, file), 'utf8')) as { url?: unknown };
      if (typeof record.url === 'string') urls[name] = record.url;
    } catch {
      // Nothing was started in this folder; the settings themselves are then missed by name.
    }
  }
  return urls;
}

function environment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ''));
}

function parse<T>(schema: z.ZodType<T>, present = environment()): T {
  const result = schema.safeParse(present);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`These settings are missing or wrong:\n${faults.join('\n')}`);
}

/** PostgreSQL's usual limit is 100 or 200 for everybody, so many processes share what six have; as many more are for exchanges, while there are any. */
function connectionsOfEach(apiProcesses: number): number {
  return Math.max(2, Math.min(10, Math.floor(60 / apiProcesses)));
}

/** Settings of a serving process (API, worker, command). Throws with all faults listed. */
export function loadConfig(): Config {
  const given = environment();
  const env = parse(settings, { ...localUrls(resolve(given.DATA_DIR ?? '.data')), ...given });
  return {
    port: env.PORT,
    listenHost: env.LISTEN_HOST,
    apiProcesses: env.API_PROCESSES,
    apiProcess: env.API_PROCESS,
    workerMetricsPort: env.WORKER_METRICS_PORT,
    dataDir: resolve(env.DATA_DIR),
    databaseUrl: env.DATABASE_URL,
    databaseConnectionsMax: env.API_PROCESS === undefined ? 10 : connectionsOfEach(env.API_PROCESSES),
    redisUrl: env.REDIS_URL,
    identityKey: env.IDENTITY_KEY,
    logLevel: env.LOG_LEVEL,
    shardCount: env.SHARD_COUNT,
    journalLimitBytes: env.JOURNAL_LIMIT_BYTES,
    journalKeepSeconds: env.JOURNAL_KEEP_SECONDS,
    evictIdleSeconds: env.EVICT_IDLE_SECONDS,
    demoKeys: env.DEMO_KEYS,
    partnerTimeoutMs: env.PARTNER_TIMEOUT_MS,
    shutdownSeconds: env.SHUTDOWN_SECONDS,
  };
}

/** Credentials of commands that speak the protocol between partners; flags go before them. */
export function partnerCredentials(): {
  readonly key: string | undefined;
  readonly secret: string | undefined;
} {
  const { PARTNER_KEY: key, PARTNER_SECRET: secret } = environment();
  return { key, secret };
}

export interface StartConfig {
  readonly ledgerWriters: number;
  readonly port: number;
  readonly portGiven: boolean;
  readonly dataDir: string;
  readonly databaseUrl: string | undefined;
  readonly redisUrl: string | undefined;
}

/** Settings of `npm start`, which brings what is not given. */
export function startConfig(): StartConfig {
  const env = parse(
    settings.pick({ DATA_DIR: true }).extend({
      LEDGER_WRITERS: z.coerce.number().int().min(1).max(16).default(1),
      PORT: port.optional(),
      DATABASE_URL: settings.shape.DATABASE_URL.optional(),
      REDIS_URL: settings.shape.REDIS_URL.optional(),
    }),
  );
  return {
    ledgerWriters: env.LEDGER_WRITERS,
    port: env.PORT ?? 3000,
    portGiven: env.PORT !== undefined,
    dataDir: resolve(env.DATA_DIR),
    databaseUrl: env.DATABASE_URL,
    redisUrl: env.REDIS_URL,
  };
}

export interface ClientConfig {
  readonly url: string;
  readonly key: string | undefined;
}

/** Settings of the commands that are clients of a running API (`import`, `demo`). */
export function clientConfig(): ClientConfig {
  const env = parse(
    z.object({
      PORT: port.default(3000),
      LOYALTY_URL: z.url().optional(),
      LOYALTY_KEY: z.string().optional(),
    }),
  );
  return { url: env.LOYALTY_URL ?? `http://127.0.0.1:${env.PORT}`, key: env.LOYALTY_KEY };
}
