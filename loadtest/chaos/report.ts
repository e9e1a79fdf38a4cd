/** PURE. What a run says in the end: sentences for a person, and one line of JSON for everybody else. */
import type { Verdict } from './judge/judge.ts';

export interface FaultRun {
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** From healed to everything served. */
  readonly recoverySeconds: number;
}

export interface RunResult {
  readonly seed: number;
  readonly verdict: Verdict;
  readonly runs: readonly FaultRun[];
  readonly acknowledgedAtMs: readonly number[];
  /** Why the run did not come to its proper end; empty when it did. */
  readonly troubles: readonly string[];
}

const findingsShownMax = 25;

/** The share of acknowledged operations that were acknowledged while a fault was there or being recovered from. */
export function shareInside(acknowledgedAtMs: readonly number[], runs: readonly FaultRun[]): number {
  if (acknowledgedAtMs.length === 0) return 0;
  const inside = acknowledgedAtMs.filter((atMs) =>
    runs.some(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs),
  );
  return inside.length / acknowledgedAtMs.length;
}

/** Exactly the fields that the command promises. */
export function lastLine({ seed, verdict, runs }: RunResult): string {
  const faults: Record<string, number> = {};
  for (const { name } of runs) faults[name] = (faults[name] ?? 0) + 1;
  const recoverySecondsMax = Math.max(0, ...runs.map(({ recoverySeconds }) => recoverySeconds));
  return JSON.stringify({
    acknowledged: verdict.acknowledged,
    unknown: verdict.unknown,
    ...verdict.counts,
    forfeited: verdict.forfeited,
    decidedStale: verdict.decidedStale,
    faults,
    recoverySecondsMax: Math.round(recoverySecondsMax * 100) / 100,
    seed,
  });
}

/** What a person reads before the last line. */
export function sentences(result: RunResult): string[] {
  const { verdict, troubles, runs, acknowledgedAtMs } = result;
  const percent = Math.round(shareInside(acknowledgedAtMs, runs) * 1_000) / 10;
  const found = verdict.findings
    .slice(0, findingsShownMax)
    .map(({ charge, detail }) => `${charge}: ${detail}`);
  const more = verdict.findings.length - found.length;
  return [
    `${percent} % of the acknowledged operations fell inside fault windows${percent < 30 ? ': less than the 30 % that a run needs' : ''}.`,
    ...troubles.map((trouble) => `This run did not come to its end: ${trouble}`),
    ...found,
    ...(more > 0 ? [`… and ${more} more.`] : []),
  ];
}

/** 1 when anything was found, or when the run did not come to its end and so proves nothing. */
export function exitCodeOf({ verdict, troubles }: RunResult): number {
  return troubles.length > 0 || Object.values(verdict.counts).some((count) => count > 0) ? 1 : 0;
}
