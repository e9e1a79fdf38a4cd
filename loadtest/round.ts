/** One round: a stage is started alone, loaded by each of its contestants, measured, checked and stopped. */
import type { Contestant, Stage, Standing, Surroundings } from './contestant.ts';
import type { Measured } from './generator.ts';
import { drained, type LagReading, largestLag } from './lag.ts';
import { type Load, runLoad } from './load.ts';
import { cpuSeconds } from './machine.ts';

interface RoundSettings {
  readonly warmupMs: number;
  readonly measureMs: number;
}

export interface Round extends Measured {
  /** Of what the contestant counts. */
  readonly perSecond: number;
  /** Journal records that reached the books; fewer than accruals a second where their writer does not keep up. */
  readonly bookedPerSecond: number | undefined;
  /** CPU seconds per million of it, by process; empty where the system does not tell. */
  readonly cpuPerMillion: Readonly<Record<string, number>>;
  /** While under load; from the start of the measured window. */
  readonly lag: LagReading | undefined;
  /** From the last reply until the books held everything. */
  readonly drainSeconds: number | undefined;
  /** Accepted accruals less what the store has; anything but 0 is a fault. */
  readonly missing: number | undefined;
}

function cpuOf(processes: Readonly<Record<string, number>>): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(processes).map(([name, pid]) => [name, cpuSeconds(pid)]));
}

function used(
  before: Record<string, number | undefined>,
  after: Record<string, number | undefined>,
): Record<string, number> {
  const seconds: Record<string, number> = {};
  for (const [name, start] of Object.entries(before)) {
    const end = after[name];
    if (start !== undefined && end !== undefined) seconds[name] = end - start;
  }
  return seconds;
}

interface Window {
  readonly cpu: Readonly<Record<string, number>>;
  readonly largest: LagReading | undefined;
  readonly bookedPerSecond: number | undefined;
}

async function watched({ processes, lag }: Standing, load: Load): Promise<Window> {
  await load.measuring;
  const cpuBefore = cpuOf(processes);
  const readLag = async () => lag && { ...(await lag.read()), readAt: performance.now() };
  const before = await readLag();
  const atEnd = load.over.then(async () => ({
    cpu: used(cpuBefore, cpuOf(processes)),
    after: await readLag(),
  }));
  const [{ cpu, after }, largest] = await Promise.all([atEnd, lag && largestLag(lag, load.over)]);
  const bookedPerSecond =
    before && after && ((after.written - before.written) / (after.readAt - before.readAt)) * 1_000;
  return { cpu, largest, bookedPerSecond };
}

/** Loads what stands once and measures it. */
export async function underLoad(
  contestant: Contestant,
  standing: Standing,
  { warmupMs, measureMs }: RoundSettings,
  around: Surroundings,
): Promise<Round> {
  const { connections, traffic, counted, isAccrual, members = around.members } = contestant;
  const { port, lag, stored } = standing;
  const before = isAccrual ? await stored?.() : undefined;
  const load = runLoad({ port, connections, members, warmupMs, measureMs, traffic }, around);
  const [measured, window] = await Promise.all([load.measured, watched(standing, load)]);
  const drainSeconds = lag && (await drained(lag));
  const after = before === undefined ? undefined : await stored?.();
  const count = measured.requests * counted.perRequest;
  const perMillion = Object.entries(window.cpu).map(([name, seconds]) => [name, (seconds / count) * 1e6]);
  return {
    ...measured,
    perSecond: count / measured.seconds,
    bookedPerSecond: window.bookedPerSecond,
    cpuPerMillion: Object.fromEntries(perMillion) as Record<string, number>,
    lag: window.largest,
    drainSeconds,
    missing:
      before === undefined || after === undefined
        ? undefined
        : measured.accepted * counted.perRequest - (after - before),
  };
}

/** Starts, loads and stops a stage. Its first load begins with the processes and is given longer to warm up. */
export async function runRound(
  stage: Stage,
  settings: RoundSettings,
  around: Surroundings,
  done: (contestant: Contestant, round: Round) => void,
): Promise<void> {
  const standing = await stage.start();
  try {
    for (const [index, contestant] of stage.contestants.entries()) {
      const warmupMs = settings.warmupMs / (index === 0 ? 1 : 2);
      done(contestant, await underLoad(contestant, standing, { ...settings, warmupMs }, around));
    }
  } finally {
    await standing.stop();
  }
}
