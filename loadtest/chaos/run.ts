/** One run: bring the house up, load it, break it at the moments of the schedule, heal, drain, judge. */
import { setTimeout as delay } from 'node:timers/promises';
import { logTail } from '#src/platform/local/processes.ts';
import { upgradeUnderLoad } from './beside.ts';
import { drained } from './drain.ts';
import { faults as allFaults } from './faults/all.ts';
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
  readonly callers: number;
  readonly folder: string;
  readonly cacheDir: string;
  readonly root: string;
  /** The tree that takes the place of `root` during the run, where it is an upgrade. */
  readonly nextRoot?: string;
  readonly abort: AbortSignal;
  readonly print: (text: string) => void;
}

const startMs = 60_000;
const recoveryMsMax = 60_000;
const drainMsMax = 90_000;
/** A loss is named when its shard is recovered, which may be a little after everything serves again. */
const namingMs = 5_000;

interface Course {
  readonly runs: FaultRun[];
  readonly destructions: Destruction[];
  readonly troubles: string[];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
  if (bitten) course.runs.push({ name: fault.name, fromMs, toMs, recoverySeconds });
  if (fault.destroys) course.destructions.push({ fromMs, toMs: toMs + namingMs });
  print(`${fault.name}: ${word}; served again after ${recoverySeconds.toFixed(2)} s`);
  return serves;
}

/** Faults that this machine can have; the others are named. */
async function possible(names: readonly string[], print: (text: string) => void): Promise<Fault[]> {
  const found: Fault[] = [];
  for (const name of names) {
    const fault = allFaults.find((each) => each.name === name);
    if (!fault) throw new Error(`there is no fault ${name}`);
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
  const { seconds, seed, print, abort } = options;
  const chosen = await possible(options.faults, print);
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
    if (performance.now() > deadline) return;
    const fault = chosen.find((each) => each.name === name)!;
    if (!(await oneFault(fault, { house, load, random }, course, print))) return;
  }
}

/** Runs chaos once and judges it. Throws where the harness itself fails. */
export async function runChaos(options: ChaosOptions): Promise<RunResult> {
  const { seed, folder, cacheDir, root, abort, callers } = options;
  const house = await openHouse({ folder, cacheDir, root, abort });
  const course: Course = { runs: [], destructions: [], troubles: [] };
  try {
    await untilServing(house, 0, startMs);
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
