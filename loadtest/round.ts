/** One round: a contestant is started alone, loaded, measured, checked and stopped. */
import type { Contestant, Standing, Surroundings } from './contestant.ts';
import type { Measured } from './generator.ts';
import { drained, type LagReading, largestLag } from './lag.ts';
import { runLoad } from './load.ts';
import { cpuSeconds } from './machine.ts';

export interface RoundSettings {
  readonly warmupMs: number;
  readonly measureMs: number;
}

export interface Round extends Measured {
  readonly perSecond: number;
  /** CPU seconds per thousand requests by process; empty where the system does not tell. */
  readonly cpuPerThousand: Readonly<Record<string, number>>;
  /** While under load; from the start of the measured window. */
  readonly lag: LagReading | undefined;
  /** From the last reply until the books held everything. */
  readonly drainSeconds: number | undefined;
  /** Accepted requests less what the store has; anything but 0 is a fault. */
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

async function underLoad(
  contestant: Contestant,
  standing: Standing,
  { warmupMs, measureMs }: RoundSettings,
  around: Surroundings,
): Promise<Round> {
  const { connections, request } = contestant;
  const { port, lag } = standing;
  const load = runLoad({ port, connections, members: around.members, warmupMs, measureMs, request }, around);
  await load.measuring;
  const before = cpuOf(standing.processes);
  const window = load.over.then(() => used(before, cpuOf(standing.processes)));
  const [measured, cpu, largest] = await Promise.all([
    load.measured,
    window,
    lag && largestLag(lag, load.over),
  ]);
  const drainSeconds = lag && (await drained(lag));
  const stored = contestant.isAccrual ? await standing.stored() : undefined;
  const perThousand = Object.entries(cpu).map(([name, seconds]) => [
    name,
    (seconds / measured.requests) * 1_000,
  ]);
  return {
    ...measured,
    perSecond: measured.requests / measured.seconds,
    cpuPerThousand: Object.fromEntries(perThousand) as Record<string, number>,
    lag: largest,
    drainSeconds,
    missing: stored === undefined ? undefined : measured.accepted - stored,
  };
}

/** Starts, loads and stops a contestant. */
export async function runRound(
  contestant: Contestant,
  settings: RoundSettings,
  around: Surroundings,
): Promise<Round> {
  const standing = await contestant.start();
  try {
    return await underLoad(contestant, standing, settings, around);
  } finally {
    await standing.stop();
  }
}
