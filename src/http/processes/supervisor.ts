/**
 * Several API processes behind one port. This one accepts connections and hands them to the others in turn (`node:cluster`,
 * round robin); it answers no request and knows no store. It starts a process again that died, passes on what the processes
 * ask of each other, and on SIGTERM lets them drain.
 *
 * A process is on its way (started, not listening: it gets no connections and is nobody's business), takes connections (it
 * says how it stands every half second), or is gone. One that is silent for long is killed: a process with a stuck event loop
 * gets one connection that it never takes, and an orchestrator that asks for life would be answered by another one.
 *
 * It gives up, with exit code 1, when a process ends before any has ever served (settings or stores are wrong, and whoever
 * started all this should hear it at once), or when one died more than five times within a minute and no other one takes
 * connections. As long as one does, the missing one is tried again every five seconds: a store that is away for a minute
 * would otherwise end those that serve without it.
 *
 * SIGHUP replaces the processes one by one, each by one that runs the code that then stands on the disk.
 */
import cluster, { type Worker } from 'node:cluster';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '#src/config.ts';
import { recentCount, restartPauseMs, restartsPerMinuteMax } from '#src/platform/local/children.ts';
import { waitUntil } from '#src/platform/local/processes.ts';
import { createLogger, type Logger } from '#src/platform/telemetry.ts';
import type { NotReady } from '../health.ts';
import type { FromProcess, ProcessStanding, ToProcess } from './messages.ts';
import { type SupervisorMetrics, supervisorMetrics } from './supervisor-metrics.ts';

const tickMs = 1_000;
/** Ticks, not times: when the whole machine stood still, so did they. */
const silentTicksMax = 5;
const killedAfterTicks = 30;
/** A process on its way waits for stores, each wait with a bound of its own. */
const startTicksMax = 120;
const collectMsMax = 1_000;
/** Beyond their own time to drain: to close what they have open. */
const closeMs = 2_000;

/** The place of one process; who dies is followed by another one in its place. */
interface Place {
  readonly number: number;
  readonly died: () => number;
  worker: Worker | undefined;
  /** Undefined as long as it does not take connections. */
  reasons: readonly NotReady[] | undefined;
  silentTicks: number;
  restart: NodeJS.Timeout | undefined;
  /** It was asked to end, to be followed by another one. */
  isLeaving: boolean;
}

interface Collection {
  readonly texts: Map<number, string>;
  readonly missing: Set<number>;
  readonly whole: () => void;
}

interface Supervision {
  readonly places: readonly Place[];
  readonly log: Logger;
  readonly metrics: SupervisorMetrics;
  readonly collections: Map<number, Collection>;
  lastCollection: number;
  hasServed: boolean;
  isStopping: boolean;
  isReplacing: boolean;
  /** Ends everything with this exit code. */
  readonly end: (code: number) => void;
}

/** Runs until it is told to stop, or gives up. Answers the exit code. */
export async function superviseApi(config: Config): Promise<number> {
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  const numbers = Array.from({ length: config.apiProcesses }, (_, i) => i + 1);
  const supervision: Supervision = {
    places: numbers.map((number) => ({
      number,
      died: recentCount(),
      worker: undefined,
      reasons: undefined,
      silentTicks: 0,
      restart: undefined,
      isLeaving: false,
    })),
    log: createLogger(config.logLevel, 'api-supervisor'),
    metrics: supervisorMetrics(config.apiProcesses),
    collections: new Map(),
    lastCollection: 0,
    hasServed: false,
    isStopping: false,
    isReplacing: false,
    end,
  };
  // The default of every platform but one; said, because all that stands above rests on it.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!supervision.isStopping) supervision.log.info({ signal }, 'draining');
      end(0);
    });
  }
  const drainMs = config.shutdownSeconds * 1_000 + closeMs;
  // In a terminal it says that the terminal was closed.
  if (!process.stdout.isTTY) process.on('SIGHUP', () => void replaceAll(supervision, drainMs));
  supervision.log.info({ port: config.port, processes: config.apiProcesses }, 'starting');
  for (const place of supervision.places) start(supervision, place);
  const ticks = setInterval(() => tick(supervision), tickMs);
  const code = await ended;
  clearInterval(ticks);
  const isClean = await stop(supervision, drainMs);
  return isClean ? code : 1;
}

function start(supervision: Supervision, place: Place): void {
  const worker = cluster.fork({ API_PROCESS: String(place.number) });
  Object.assign(place, { worker, reasons: undefined, silentTicks: 0, isLeaving: false });
  worker.on('message', (message: FromProcess) => hear(supervision, place, worker, message));
  let isGone = false;
  const gone = (how: string) => {
    if (isGone) return;
    isGone = true;
    bury(supervision, place, how);
  };
  worker.once('exit', (code, signal) => gone(signal === null ? `exit code ${code}` : `signal ${signal}`));
  worker.on('error', (error) => {
    // What cannot be said to a process that dies is of no use any more; one that was never there does not exit.
    if (worker.process.pid === undefined) gone(error.message);
  });
}

function bury(supervision: Supervision, place: Place, how: string): void {
  const { log, end } = supervision;
  const { number } = place;
  Object.assign(place, { worker: undefined, reasons: undefined });
  publish(supervision);
  if (supervision.isStopping) return;
  if (place.isLeaving) {
    start(supervision, place);
    return;
  }
  const count = place.died();
  const othersServe = supervision.places.some(({ reasons }) => reasons !== undefined);
  if (!supervision.hasServed) {
    log.fatal({ number, how }, 'an API process ended before any served');
    end(1);
  } else if (count > restartsPerMinuteMax && !othersServe) {
    log.fatal({ number, how, count }, 'an API process ended too often within a minute');
    end(1);
  } else {
    log.error({ number, how, count }, 'an API process ended unexpectedly; starting it again');
    place.restart = setTimeout(() => start(supervision, place), restartPauseMs(count));
  }
}

function tick({ places, log }: Supervision): void {
  for (const place of places) {
    const { worker, number } = place;
    if (worker === undefined) continue;
    place.silentTicks += 1;
    if (place.silentTicks < (place.reasons === undefined ? startTicksMax : killedAfterTicks)) continue;
    log.error({ number, seconds: place.silentTicks }, 'an API process does not answer and is killed');
    place.silentTicks = 0;
    worker.process.kill('SIGKILL');
  }
}

function publish({ places, metrics }: Supervision): void {
  metrics.processes.set(places.filter(({ reasons }) => reasons !== undefined).length);
}

function hear(supervision: Supervision, place: Place, worker: Worker, message: FromProcess): void {
  if (place.worker !== worker) return;
  if (message.kind === 'standing') {
    if (place.reasons === undefined) supervision.log.info({ number: place.number }, 'takes connections');
    Object.assign(place, { reasons: message.reasons, silentTicks: 0 });
    supervision.hasServed = true;
    publish(supervision);
  } else if (message.kind === 'metrics') {
    received(supervision.collections.get(message.collection), place.number, message.text);
  } else if (message.kind === 'ask' && message.what === 'standings') {
    const standings = standingsBeside(supervision, place);
    tell(worker, { kind: 'standings', ask: message.ask, standings });
  } else if (message.kind === 'ask' && message.what === 'metrics') {
    void collect(supervision, place).then((texts) =>
      tell(worker, { kind: 'texts', ask: message.ask, texts }),
    );
  }
}

function tell(worker: Worker, message: ToProcess): void {
  if (worker.isConnected()) worker.send(message, () => undefined);
}

/** How the others that take connections stand. */
function standingsBeside({ places }: Supervision, asker: Place): ProcessStanding[] {
  return places.flatMap((place) => {
    const { number, reasons, silentTicks } = place;
    if (reasons === undefined || place === asker) return [];
    const detail = `it has said nothing for ${silentTicks} s; after ${killedAfterTicks} s it is killed`;
    const silent = silentTicks > silentTicksMax ? [{ reason: 'process_silent', detail }] : [];
    return [{ number, reasons: [...reasons, ...silent] }];
  });
}

function received(collection: Collection | undefined, number: number, text: string): void {
  if (!collection?.missing.delete(number)) return;
  collection.texts.set(number, text);
  if (collection.missing.size === 0) collection.whole();
}

/** The metrics of the others and of this process. One that does not answer in time is left out. */
async function collect(supervision: Supervision, asker: Place): Promise<string[]> {
  const { places, collections, metrics } = supervision;
  const asked = places.filter(
    (place) => place !== asker && place.reasons !== undefined && place.silentTicks <= silentTicksMax,
  );
  supervision.lastCollection += 1;
  const number = supervision.lastCollection;
  const { promise: whole, resolve } = Promise.withResolvers<void>();
  const missing = new Set(asked.map((place) => place.number));
  const collection: Collection = { texts: new Map(), missing, whole: resolve };
  if (asked.length === 0) resolve();
  collections.set(number, collection);
  for (const { worker } of asked) if (worker) tell(worker, { kind: 'collect', collection: number });
  await Promise.race([whole, delay(collectMsMax, undefined, { ref: false })]);
  collections.delete(number);
  const byNumber = [...collection.texts].toSorted(([a], [b]) => a - b);
  return [...byNumber.map(([, text]) => text), await metrics.text()];
}

/** Replaces one process after the other; stops at the first whose successor does not come up, while the others serve on. */
async function replaceAll(supervision: Supervision, drainMs: number): Promise<void> {
  const { places, log } = supervision;
  if (supervision.isReplacing || supervision.isStopping) return;
  supervision.isReplacing = true;
  try {
    for (const place of places) {
      const { worker, number } = place;
      if (worker === undefined || supervision.isStopping) continue;
      log.info({ number }, 'replacing');
      place.isLeaving = true;
      worker.process.kill('SIGTERM');
      const hasLeft = () => place.worker !== worker;
      if (!(await waitUntil(hasLeft, drainMs))) worker.process.kill('SIGKILL');
      const isBack = () => supervision.isStopping || (hasLeft() && place.reasons !== undefined);
      if (await waitUntil(isBack, startTicksMax * tickMs)) continue;
      log.error({ number }, 'its successor does not come up; the others are left as they are');
      return;
    }
  } finally {
    supervision.isReplacing = false;
  }
}

/** Lets every process drain, and kills what still stands after that. True when each ended by itself and cleanly. */
async function stop(supervision: Supervision, drainMs: number): Promise<boolean> {
  const { places, log } = supervision;
  supervision.isStopping = true;
  for (const { restart } of places) clearTimeout(restart);
  const serving = places.flatMap(({ worker, reasons }) => (worker && reasons ? worker : []));
  for (const { worker } of places) worker?.process.kill('SIGTERM');
  const areGone = () => places.every(({ worker }) => worker === undefined);
  if (!(await waitUntil(areGone, drainMs))) {
    const left = places.filter(({ worker }) => worker !== undefined);
    log.error(
      { numbers: left.map(({ number }) => number) },
      'API processes did not drain in time and are killed',
    );
    for (const { worker } of left) worker?.process.kill('SIGKILL');
    await waitUntil(areGone, closeMs);
  }
  // One that was on its way had nothing to drain.
  return serving.every((worker) => worker.process.exitCode === 0);
}
