/** One run: bring the house up, load it, break it at the moments of the schedule, heal, drain, judge. */
import { setTimeout as delay } from 'node:timers/promises';
import { logTail } from '#src/platform/local/processes.ts';
import { upgradeUnderLoad } from './beside.ts';
import { drained } from './drain.ts';
import { faultsFor } from './faults/all.ts';
import { type Fault, NoBite, type Stage } from './faults/fault.ts';
import { type House, openHouse, untilServing } from './house.ts';
import type { Destruction, Shown } from './judge/evidence.ts';
import { judge } from './judge/judge.ts';
import { readBooks } from './judge/read.ts';
import { type Load, startLoad } from './load.ts';
import type { FaultRun, RunResult } from './report.ts';
import { scheduleOf } from './schedule.ts';

export interface ChaosOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly faults: readonly string[];
  /** Ends when so many have bitten, before the seconds are over. */
  readonly faultsMax?: number;
  readonly callers: number;
  readonly folder: string;
  readonly cacheDir: string;
  readonly root: string;
  /** The tree that takes the place of `root` during the run, where it is an upgrade. */
  readonly nextRoot?: string;
  readonly isCluster: boolean;
  readonly abort: AbortSignal;
  readonly print: (text: string) => void;
}

const startMs = 60_000;
const recoveryMsMax = 60_000;
const drainMsMax = 90_000;
/** A loss is named when its shard is recovered, which may be a little after everything serves again. */
const namingMs = 5_000;

/** Nodes of a cluster that come back copy everything from their masters. */
const wholeMsMax = 60_000;

interface Course {
  readonly runs: FaultRun[];
  readonly destructions: Destruction[];
  readonly troubles: string[];
  /** Who decided for which shard when it was last asked, and when that was. */
  owners: string;
  ownersAtMs: number;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A failover that the fault does not bring about, because a node was slow to come back or this machine was busy, may cost
 * what the replica did not have yet: a destruction like any other.
 */
async function noteFailover(
  { name, destroys, losesNothing }: Fault,
  house: House,
  course: Course,
  print: (text: string) => void,
): Promise<void> {
  const owners = await house.redis.owners();
  const atMs = Date.now();
  if (owners !== course.owners && !destroys && !losesNothing) {
    course.destructions.push({ fromMs: course.ownersAtMs, toMs: atMs + namingMs });
    print(`${name}: there was a failover beside it (${course.owners}, now ${owners})`);
  }
  course.owners = owners;
  course.ownersAtMs = atMs;
}

/** Injects a fault, holds it, heals it and waits until everything serves. False where it does not any more. */
async function oneFault(
  fault: Fault,
  stage: Stage,
  course: Course,
  print: (text: string) => void,
): Promise<boolean> {
  const { house } = stage;
  const fromMs = Date.now();
  let bitten = true;
  let word: string;
  try {
    const bite = await fault.inject(stage);
    await delay(bite.holdMs);
    await bite.heal();
    word = bite.evidence;
  } catch (error) {
    if (!(error instanceof NoBite)) {
      course.troubles.push(`${fault.name}: ${messageOf(error)}`);
      return false;
    }
    bitten = false;
    word = `did not bite: ${error.message}`;
  }
  let serves = true;
  let recoverySeconds = recoveryMsMax / 1_000;
  try {
    recoverySeconds = await untilServing(house, Date.now(), recoveryMsMax);
  } catch (error) {
    serves = false;
    course.troubles.push(`after ${fault.name}: ${messageOf(error)}`);
    for (const { name, isGone, logPath } of house.processes) {
      if (isGone()) course.troubles.push(`${name} ended by itself: ${await logTail(logPath)}`);
    }
  }
  const toMs = Date.now();
  const isWhole = await house.redis.whole(wholeMsMax).catch(messageOf);
  if (typeof isWhole === 'string') course.troubles.push(`after ${fault.name}: ${isWhole}`);
  await noteFailover(fault, house, course, print);
  if (bitten) course.runs.push({ name: fault.name, fromMs, toMs, recoverySeconds });
  if (fault.destroys) course.destructions.push({ fromMs, toMs: toMs + namingMs });
  print(`${fault.name}: ${word}; served again after ${recoverySeconds.toFixed(2)} s`);
  return serves && course.troubles.length === 0;
}

/** Faults that this machine can have; the others are named. */
async function possible({ faults: names, isCluster, print }: ChaosOptions): Promise<Fault[]> {
  const known = faultsFor(isCluster);
  const found: Fault[] = [];
  for (const name of names) {
    const fault = known.find((each) => each.name === name);
    if (!fault) throw new Error(`there is no fault ${name} here`);
    const missing = await fault.missing?.();
    if (missing === undefined) found.push(fault);
    else print(`${name}: skipped, because ${missing}`);
  }
  return found;
}

async function breakAgainAndAgain(
  options: ChaosOptions,
  house: House,
  load: Load,
  course: Course,
): Promise<void> {
  const { seconds, seed, print, abort, faultsMax = Infinity } = options;
  const chosen = await possible(options);
  if (chosen.length === 0) {
    course.troubles.push('none of the faults can be injected on this machine');
    return;
  }
  const deadline = performance.now() + seconds * 1_000;
  for (const { fault: name, pauseMs, random } of scheduleOf(
    seed,
    chosen.map((each) => each.name),
  )) {
    await delay(pauseMs);
    abort.throwIfAborted();
    if (performance.now() > deadline || course.runs.length >= faultsMax) return;
    const fault = chosen.find((each) => each.name === name)!;
    if (!(await oneFault(fault, { house, load, random }, course, print))) return;
  }
}

/** Runs chaos once and judges it. Throws where the harness itself fails. */
export async function runChaos(options: ChaosOptions): Promise<RunResult> {
  const { seed, callers } = options;
  const house = await openHouse(options);
  const course: Course = { runs: [], destructions: [], troubles: [], owners: '', ownersAtMs: Date.now() };
  try {
    await untilServing(house, 0, startMs);
    course.owners = await house.redis.owners();
    const urls = house.of('api').map(({ httpLink }) => `http://127.0.0.1:${httpLink!.port}`);
    const load = await startLoad({ urls, tenant: house.tenant, seed, callers });
    const breaks = () => breakAgainAndAgain(options, house, load, course);
    const { nextRoot, print } = options;
    if (nextRoot === undefined) await breaks();
    else {
      await upgradeUnderLoad({ house, nextRoot, ...course, breaks, print });
      course.troubles.push(...load.broken.map((answer) => `a caller was answered ${answer}`));
    }
    const isWell = course.troubles.length === 0;
    const left = await load.stop(isWell ? drainMsMax : 10_000);
    if (left > 0) course.troubles.push(`${left} callers had no definite answer in the end`);
    const late = await drained(house, isWell ? drainMsMax : 10_000);
    if (late !== undefined) course.troubles.push(`not drained: ${late}`);
    let shown: Shown[] = [];
    try {
      shown = await load.show();
    } catch (error) {
      course.troubles.push(messageOf(error));
    }
    // A hold that ends by itself may be booked while balances are read; the books are read after them, so drain again.
    await drained(house, 10_000);
    const books = await readBooks(house.postgres.url, house.tenant.program);
    const { attempts, acknowledgedAtMs } = load;
    const verdict = judge({ attempts, books, shown, destructions: course.destructions });
    return { seed, verdict, runs: course.runs, acknowledgedAtMs, troubles: course.troubles };
  } finally {
    await house.end();
  }
}
