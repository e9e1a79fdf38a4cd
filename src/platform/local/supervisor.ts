/**
 * `npm start`: brings up everything that a bare machine lacks, and takes it down again in the order that loses nothing.
 *
 * Up: lock the data folder; end what a killed start left behind; PostgreSQL and Redis side by side; tables and the sample
 * program; the processes of the service; wait until the service calls itself ready.
 * Down: the API, so that nothing new comes in and what is under way gets its answer; then ledger writer and workers, which
 * bring the journal to the books; then Redis; then PostgreSQL. Each step is bounded and ends in SIGKILL, which costs time
 * at the next start and no data. A second Ctrl-C cuts the waiting for the service's processes short, never the servers'.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { StartConfig } from '#src/config.ts';
import {
  type Child,
  type ChildProgram,
  recentCount,
  restartPauseMs,
  restartsPerMinuteMax,
  startChild,
} from './children.ts';
import { assertPortFree, type FolderLock, lockDataFolder } from './ports.ts';
import { startLocalPostgres } from './postgres.ts';
import { boundLog, endRunning, StartRefusal, type StopStep } from './processes.ts';
import { writeRecord } from './record.ts';
import { startLocalRedis } from './redis.ts';
import type { LocalServer } from './server.ts';
import { welcome } from './welcome.ts';

export interface Installation {
  readonly config: StartConfig;
  readonly checkout: string;
  /** The API comes first: it is stopped before the others. */
  readonly programs: readonly ChildProgram[];
  /** Creates or updates the tables. */
  prepare(databaseUrl: string): Promise<void>;
  /** Puts the sample program in; only called for a database of this machine. */
  seed(databaseUrl: string): Promise<void>;
  readonly print: (text: string) => void;
}

/** The API and the workers are given 15 s to drain by their own settings; a little more, so that theirs runs out first. */
const drainMs = 18_000;
const readyReportMs = 60_000;
const readyReportsMax = 10;

/** One start: what it is to bring up, and what of it stands. */
interface Start extends Installation {
  lock?: FolderLock;
  /** Replaced when it dies and is started again, at once, so that a stop in that moment waits for the new one. */
  postgres?: Promise<LocalServer>;
  redis?: Promise<LocalServer>;
  readonly children: Child[];
  isStopping: boolean;
  readonly abort: AbortSignal;
  /** Says what went wrong and stops everything, with exit code 1. */
  readonly fail: (reason: unknown) => void;
}

/** Runs until it is told to stop. Answers the exit code. */
export async function supervise(installation: Installation): Promise<number> {
  const { print } = installation;
  const aborting = new AbortController();
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  const stop = (code: number, text: string): void => {
    if (start.isStopping) return;
    print(text);
    start.isStopping = true;
    aborting.abort();
    end(code);
  };
  const fail = (reason: unknown): void => stop(1, describe(reason));
  const start: Start = { ...installation, children: [], isStopping: false, abort: aborting.signal, fail };
  onStopSignals((isFirst) => {
    if (!isFirst) for (const child of start.children) child.kill();
    stop(0, '\nStopping …');
  });
  const starting = bringUp(start).catch(fail);
  const logs = setInterval(() => boundLogs(start).catch(() => undefined), 60_000);
  const code = await ended;
  await starting;
  await takeDown(start);
  clearInterval(logs);
  if (code === 0) print('Stopped; the data is kept.');
  return code;
}

function describe(reason: unknown): string {
  if (reason instanceof StartRefusal) return reason.message;
  return reason instanceof Error ? `Could not start: ${reason.stack ?? reason.message}` : String(reason);
}

/** npm passes Ctrl-C on although the terminal has sent it already: what comes within a second is one and the same. */
function onStopSignals(stop: (isFirst: boolean) => void): void {
  let firstAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const now = performance.now();
      if (firstAt !== undefined && now - firstAt < 1_000) return;
      stop(firstAt === undefined);
      firstAt ??= now;
    });
  }
}

async function bringUp(start: Start): Promise<void> {
  const { config, print, abort } = start;
  start.lock = await lockDataFolder(config.dataDir);
  await endLeftovers(start);
  await assertPortFree(config.port);
  await writeRecord(join(config.dataDir, 'supervisor.json'), { pid: process.pid, port: config.port });
  await mkdir(logFolder(start), { recursive: true, mode: 0o700 });

  const hasDemo = config.databaseUrl === undefined || isLoopback(config.databaseUrl);
  const options = { dataDir: config.dataDir, abort, onProgress: print };
  const missing = [];
  if (config.databaseUrl === undefined) missing.push('PostgreSQL');
  if (config.redisUrl === undefined) missing.push('Redis');
  if (missing.length > 0) print(`Starting ${missing.join(' and ')} …`);
  const database = async (): Promise<string> => {
    if (config.databaseUrl === undefined) start.postgres = startLocalPostgres(options);
    const url = config.databaseUrl ?? (await start.postgres!).url;
    abort.throwIfAborted();
    await start.prepare(url);
    if (hasDemo) await start.seed(url);
    return url;
  };
  const cache = async (): Promise<string> => {
    if (config.redisUrl === undefined) start.redis = startLocalRedis(options);
    return config.redisUrl ?? (await start.redis!).url;
  };
  // Both are waited for, also when one fails: what has been started must be known before it can be stopped.
  const both = [database(), cache()];
  for (const one of both) one.catch(start.fail);
  const [databaseUrl, redisUrl] = (await Promise.allSettled(both)).map(urlOf);
  abort.throwIfAborted();
  keepServers(start);
  await startChildren(start, { DATABASE_URL: databaseUrl!, REDIS_URL: redisUrl! }, hasDemo);
  await untilReady(start);
  const listening = { postgresPort: (await start.postgres)?.port, redisPort: (await start.redis)?.port };
  print(welcome({ port: config.port, dataDir: config.dataDir, hasDemo, ...listening }, new Date()));
}

function logFolder({ config }: Installation): string {
  return join(config.dataDir, 'logs');
}

function urlOf(settled: PromiseSettledResult<string>): string {
  if (settled.status === 'rejected') throw settled.reason;
  return settled.value;
}

/** The demo keys are known to everybody, so they are only for a database on this machine. */
function isLoopback(databaseUrl: string): boolean {
  return ['', 'localhost', '127.0.0.1', '[::1]'].includes(new URL(databaseUrl).hostname);
}

/** After kill -9 of a supervisor its processes drain and end by themselves; they are waited for before anything else. */
async function endLeftovers({ config, programs, print }: Start): Promise<void> {
  const steps: StopStep[] = [
    { waitMs: drainMs },
    { signal: 'SIGTERM', waitMs: 5_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ];
  const ended = await Promise.all(programs.map(({ script }) => endRunning([script, config.dataDir], steps)));
  if (ended.includes(true)) print('Processes of an earlier start were still draining and have ended.');
}

async function startChildren(
  start: Start,
  urls: Readonly<Record<string, string>>,
  hasDemo: boolean,
): Promise<void> {
  const { config, checkout, print, fail } = start;
  const own = { PORT: String(config.port), DATA_DIR: config.dataDir };
  const surroundings = {
    env: { ...urls, ...own, ...(hasDemo ? { DEMO_KEYS: 'true' } : {}) },
    // The demo keys are known to everybody: unless told otherwise, only this machine can use them.
    envDefaults: { LISTEN_HOST: '127.0.0.1' },
    dataDir: config.dataDir,
    cwd: checkout,
    logFolder: logFolder(start),
    onNotice: print,
    onGivenUp: (sentence: string) => fail(new StartRefusal(sentence)),
  };
  for (const program of start.programs) {
    start.abort.throwIfAborted();
    start.children.push(await startChild(program, surroundings));
  }
}

/** A server that dies is started again on its port, where the service's processes find it again by themselves. */
function keepServers(start: Start): void {
  const options = { dataDir: start.config.dataDir };
  const names = { postgres: 'PostgreSQL', redis: 'Redis' };
  const keep = async (name: keyof typeof names, again: () => Promise<LocalServer>): Promise<void> => {
    const died = recentCount();
    const first = await start[name];
    for (let current = first; current !== undefined; current = await start[name]) {
      const how = await current.exited;
      if (start.isStopping) return;
      const count = died();
      if (count > restartsPerMinuteMax)
        throw new StartRefusal(`${names[name]} ended ${count} times within a minute (${how}).`);
      start.print(`${names[name]} ended unexpectedly (${how}); starting it again.`);
      await delay(restartPauseMs(count));
      if (start.isStopping) return;
      start[name] = again();
      if ((await start[name]).url !== first?.url) {
        throw new StartRefusal(
          `The port of ${names[name]} was taken by another program meanwhile: start again.`,
        );
      }
    }
  };
  keep('postgres', () => startLocalPostgres(options)).catch(start.fail);
  keep('redis', () => startLocalRedis(options)).catch(start.fail);
}

/** Waits for /readyz. A long recovery is reported every minute with its reason; after ten minutes it is a fault. */
async function untilReady({ config, abort, print }: Start): Promise<void> {
  const address = `http://127.0.0.1:${config.port}/readyz`;
  for (let report = 1; report <= readyReportsMax; report += 1) {
    const deadline = performance.now() + readyReportMs;
    let reason = 'no answer';
    while (performance.now() < deadline) {
      abort.throwIfAborted();
      try {
        const answer = await fetch(address, { signal: AbortSignal.any([abort, AbortSignal.timeout(5_000)]) });
        if (answer.ok) return;
        reason = `${answer.status} ${(await answer.text()).slice(0, 1_000)}`;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      await delay(50);
    }
    print(`The service is not ready yet. GET ${address}: ${reason}. Logs: ${config.dataDir}/logs`);
  }
  throw new StartRefusal(
    `The service did not become ready within ${(readyReportMs * readyReportsMax) / 60_000} minutes.`,
  );
}

async function takeDown({ children, redis, postgres, lock, print }: Start): Promise<void> {
  const [api, ...others] = children;
  const stop = async (child: Child): Promise<void> => {
    if (!(await child.stop(drainMs))) print(`The ${child.name} process did not drain in time and was ended.`);
  };
  if (api !== undefined) await attempt(stop(api), print);
  await Promise.all(others.map((child) => attempt(stop(child), print)));
  for (const server of [redis, postgres]) {
    // One that could not be started has said so already.
    const running = await server?.catch(() => undefined);
    if (running !== undefined) await attempt(running.stop(), print);
  }
  lock?.release();
}

/** One that cannot be stopped must not keep the others running. */
async function attempt(step: Promise<void>, print: (text: string) => void): Promise<void> {
  await step.catch((error: unknown) => print(error instanceof Error ? error.message : String(error)));
}

async function boundLogs(start: Start): Promise<void> {
  const names = (await readdir(logFolder(start))).filter((name) => name.endsWith('.log'));
  for (const name of names) await boundLog(join(logFolder(start), name));
}
