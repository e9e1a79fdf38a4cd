/** Whom a load test calls: an installation of its own, or a service that runs already; and what can be asked of it after. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { largestSample } from '#src/earning/demo/metrics.ts';
import { apiClient, readProgram } from '#src/earning/import/client.ts';
import { run } from '#src/platform/local/processes.ts';
import type { Surroundings } from '../contestant.ts';
import { countBooked, openStand } from '../setup/stand.ts';
import type { Access } from './options.ts';
import type { AuditResult, Drain } from './verdict.ts';

export interface Target {
  readonly access: Access;
  /** Waits until the books hold everything, at most so long or until told to hurry. */
  drain(secondsMax: number, hurry: AbortSignal): Promise<Drain>;
  /** How many movements the books have; undefined where only the API can be asked. */
  booked(): Promise<number | undefined>;
  audit(abort: AbortSignal): Promise<AuditResult>;
  /** Which checks cannot be made here, a sentence each. */
  readonly unchecked: readonly string[];
  stop(): Promise<void>;
}

/** Reads again and again until nothing is left, and still nothing `steadyMs` later. Answers when it was nothing first. */
async function untilNothing(
  read: () => Promise<number | 'unknown' | 'not published'>,
  steadyMs: number,
  secondsMax: number,
  hurry: AbortSignal,
): Promise<Drain> {
  const startedAt = performance.now();
  let nothingAt: number | undefined;
  while (performance.now() - startedAt < secondsMax * 1_000 + steadyMs && !hurry.aborted) {
    const records = await read();
    const now = performance.now();
    if (records === 'not published') return 'not seen';
    nothingAt = records === 0 ? (nothingAt ?? now) : undefined;
    if (nothingAt !== undefined && now - nothingAt >= steadyMs) return (nothingAt - startedAt) / 1_000;
    await delay(steadyMs === 0 ? 10 : 250);
  }
  return hurry.aborted ? 'not seen' : 'not reached';
}

const auditMsMax = 60 * 60_000;

async function auditOf(
  around: Surroundings,
  env: Readonly<Record<string, string>>,
  abort: AbortSignal,
): Promise<AuditResult> {
  const args = ['src/ledger/audit-command.ts'];
  const { code, stdout, stderr } = await run(
    { file: process.execPath, args, cwd: around.checkout, env },
    auditMsMax,
    abort,
  );
  if (code === 0) return 'clean';
  if (abort.aborted) return 'not made';
  around.print((code === 1 ? stdout : `${stdout}${stderr}`).trim());
  return code === 1 ? 'findings' : 'failed';
}

const movements = ['accrual', 'redemption', 'hold', 'capture'];

/** Starts stores, one API, one ledger writer and upkeep, all as shipped, with the sample program. */
export async function ownInstallation(around: Surroundings): Promise<Target> {
  const dataDir = join(around.folder, 'service');
  const { installation, standing } = await openStand(around, dataDir);
  installation.startUpkeep();
  const { port, postgres, redis } = installation;
  const { lag } = standing;
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url, DATA_DIR: dataDir };
  return {
    access: { url: `http://127.0.0.1:${port}`, key: 'demo-pos', checkoutKey: 'demo-checkout' },
    drain: (secondsMax, hurry) => untilNothing(async () => (await lag.read()).records, 0, secondsMax, hurry),
    booked: () => countBooked(postgres.url, ...movements),
    audit: (abort) => auditOf(around, env, abort),
    unchecked: [],
    stop: () => standing.stop(),
  };
}

/** The API publishes the lag once a second. */
const publishedMs = 3_000;

/** A service that runs already; throws when it does not answer to the key. */
export async function runningApi(access: Access): Promise<Target> {
  const { url, key } = access;
  await readProgram({ url, key });
  const client = apiClient({ url, key });
  const read = async () => {
    const page = await client.getText('/metrics').catch(() => undefined);
    if (page === undefined) return 'unknown';
    return largestSample(page, 'loyalty_ledger_lag_records') ?? 'not published';
  };
  return {
    access,
    drain: (secondsMax, hurry) => untilNothing(read, publishedMs, secondsMax, hurry),
    booked: async () => undefined,
    audit: async () => 'not made',
    unchecked: [
      'the audit needs the databases: npm run audit where they can be reached',
      'whether the books have every acknowledged movement: only the lag of the books was asked, at /metrics',
    ],
    stop: async () => undefined,
  };
}
