/** PURE. What a run says of the service: which of its conditions failed, as text for people and one line for programs. */
import type { Machine } from '../machine.ts';
import type { Options } from './options.ts';
import type { Figures } from './summary.ts';

export type AuditResult = 'clean' | 'findings' | 'failed' | 'not made';

/** Seconds until the books held everything. */
export type Drain = number | 'not reached' | 'not seen';

/** What was seen after k6 had ended. */
export interface Aftermath {
  readonly drain: Drain;
  /** Acknowledged movements that the books lack; undefined where only the API can be asked. */
  readonly missing: number | undefined;
  readonly audit: AuditResult;
  /** Checks that could not be made, a sentence each. */
  readonly unchecked: readonly string[];
  readonly isInterrupted: boolean;
}

/** A whole run, and the machine under it with its load average before k6 began. */
export interface Run {
  readonly options: Options;
  readonly figures: Figures;
  readonly after: Aftermath;
  readonly machine: Machine;
  readonly loadBefore: number;
}

/** A soak's figure has grown when the last quarter has half as much again as the first, and more than noise on top. */
const growthMax = 1.5;
const p50NoiseMs = 25;
const p99NoiseMs = 50;
/** The API publishes the age of the last position, which an idle shard renews each second. */
const lagNoiseSeconds = 1.5;

function hasGrown(first: number, last: number, noise: number): boolean {
  return last > first * growthMax + noise;
}

/** What the last quarter of a soak has more of than the first. */
function growthOf({ selections }: Figures): string[] {
  const first = selections[0];
  const last = selections.at(-1);
  if (!first || !last || selections.some(({ accepted }) => accepted === 0))
    return ['a quarter of the run has no figures, so growth cannot be judged'];
  const grown: string[] = [];
  if (hasGrown(first.p50Ms, last.p50Ms, p50NoiseMs))
    grown.push(`p50 grew from ${milliseconds(first.p50Ms)} to ${milliseconds(last.p50Ms)}`);
  if (hasGrown(first.p99Ms, last.p99Ms, p99NoiseMs))
    grown.push(`p99 grew from ${milliseconds(first.p99Ms)} to ${milliseconds(last.p99Ms)}`);
  const [firstLag, lastLag] = [first.lagSecondsP90, last.lagSecondsP90];
  if (firstLag === undefined || lastLag === undefined) grown.push('the lag of the books was not read');
  else if (hasGrown(firstLag, lastLag, lagNoiseSeconds))
    grown.push(`the lag of the books grew from ${firstLag.toFixed(1)} s to ${lastLag.toFixed(1)} s`);
  return grown;
}

/** Everything that makes the run fail, a sentence each. */
export function failuresOf({ options, figures, after }: Run): string[] {
  const failures = figures.failedThresholds.map((threshold) => `threshold failed: ${threshold}`);
  if (figures.accepted === 0) failures.push('nothing was accepted');
  if (options.name === 'soak' && !after.isInterrupted) failures.push(...growthOf(figures));
  if (after.drain === 'not reached')
    failures.push(`the books did not catch up within ${options.drainSecondsMax} s`);
  if (after.missing !== undefined && after.missing > 0)
    failures.push(`the books lack ${after.missing} movements that were acknowledged`);
  if (after.audit === 'findings') failures.push('the audit has findings');
  if (after.audit === 'failed') failures.push('the audit did not come to its end');
  return failures;
}

/** 130 is what a shell makes of Ctrl-C. */
export function exitCodeOf(run: Run): number {
  if (run.after.isInterrupted) return 130;
  return failuresOf(run).length > 0 ? 1 : 0;
}

function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(12)} ${text}`;
}

/** The run as lines for people. */
export function reportText(run: Run): string {
  const { options, figures, after, machine, loadBefore } = run;
  const { accepted, seconds, selections, p50Ms, p99Ms, p999Ms, longestMs } = figures;
  const slow = `p99.9 ${milliseconds(p999Ms)}, longest ${milliseconds(longestMs)}`;
  const lines = [
    `${options.name}, ${options.rate} arrivals/s for ${Math.round(seconds)} s, ${options.members} members`,
    row(
      'machine',
      `${machine.cores} cores, Node ${machine.node}, load average ${loadBefore.toFixed(1)} before`,
    ),
    row('accepted', `${accepted}, ${Math.round(accepted / seconds)}/s`),
    row('latency', `p50 ${milliseconds(p50Ms)}, p99 ${milliseconds(p99Ms)}, ${slow}`),
    ...selections.map(({ name, lagSecondsP90: lag, ...each }) => {
      const latency = `p50 ${milliseconds(each.p50Ms)}, p99 ${milliseconds(each.p99Ms)}`;
      const behind = lag === undefined ? '' : `, lag p90 ${lag.toFixed(2)} s`;
      return row(`  ${name}`, `${latency}, ${each.accepted} accepted${behind}`);
    }),
    row('errors', `${figures.errors}; ${figures.dropped} arrivals dropped`),
    row('books late', `${figures.booksLate} answered before the books had them (202)`),
    row('drain', typeof after.drain === 'number' ? `${after.drain.toFixed(1)} s` : after.drain),
    row(
      'missing',
      after.missing === undefined ? 'not counted' : `${after.missing} of the accepted movements`,
    ),
    row('audit', after.audit),
    ...after.unchecked.map((sentence) => row('unchecked', sentence)),
    ...failuresOf(run).map((failure) => row('FAILED', failure)),
  ];
  return lines.join('\n');
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The run as one JSON object. */
export function reportLine(run: Run): string {
  const { options, figures, after, machine, loadBefore } = run;
  const { failedThresholds: _, selections, ...measured } = figures;
  const roundedAll = (values: object) =>
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        typeof value === 'number' ? rounded(value) : value,
      ]),
    );
  return JSON.stringify({
    object: 'loadtest',
    name: options.name,
    rate: options.rate,
    members: options.members,
    ownInstallation: options.target === undefined,
    ...roundedAll(measured),
    acceptedPerSecond: rounded(figures.accepted / figures.seconds),
    selections: selections.map(roundedAll),
    drainSeconds: typeof after.drain === 'number' ? rounded(after.drain) : null,
    missing: after.missing ?? null,
    audit: after.audit,
    unchecked: after.unchecked,
    interrupted: after.isInterrupted,
    failures: failuresOf(run),
    machine: { ...machine, loadBefore: rounded(loadBefore) },
  });
}
