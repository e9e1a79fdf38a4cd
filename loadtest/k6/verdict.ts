/** PURE. What a run says of the service: which of its conditions failed, as text for people and one line for programs. */
import type { Options } from './options.ts';
import type { Figures } from './summary.ts';

export type AuditResult = 'clean' | 'findings' | 'failed' | 'not made';

/** Seconds until the books held everything. */
export type Drain = number | 'not reached' | 'not seen';

/** What was seen after k6 had ended. */
export interface Aftermath {
  readonly drain: Drain;
  /** Acknowledged movements that the books lack; undefined where only the service itself could be asked. */
  readonly missing: number | undefined;
  readonly audit: AuditResult;
  /** Checks that could not be made, a sentence each. */
  readonly unchecked: readonly string[];
  readonly isInterrupted: boolean;
}

/** What grew over a soak: half as much again, and more than a small machine's noise. */
const growthMax = 1.5;
const noiseMs = 25;
const noiseSeconds = 0.5;

function hasGrown(first: number, last: number, noise: number): boolean {
  return last > first * growthMax + noise;
}

/** What the last quarter of a soak has more of than the first. */
export function growthOf({ selections }: Figures): string[] {
  const first = selections.find(({ name }) => name === '1');
  const last = selections.find(({ name }) => name === '4');
  if (!first || !last) return ['a quarter of the run has no figures, so growth cannot be judged'];
  const grown: string[] = [];
  if (hasGrown(first.p50Ms, last.p50Ms, noiseMs))
    grown.push(`p50 grew from ${milliseconds(first.p50Ms)} to ${milliseconds(last.p50Ms)}`);
  if (hasGrown(first.p99Ms, last.p99Ms, 2 * noiseMs))
    grown.push(`p99 grew from ${milliseconds(first.p99Ms)} to ${milliseconds(last.p99Ms)}`);
  const [firstLag, lastLag] = [first.lagSecondsP90, last.lagSecondsP90];
  if (firstLag === undefined || lastLag === undefined) grown.push('the lag of the books was not read');
  else if (hasGrown(firstLag, lastLag, noiseSeconds))
    grown.push(`the lag of the books grew from ${firstLag.toFixed(1)} s to ${lastLag.toFixed(1)} s`);
  return grown;
}

/** Everything that makes the run fail, a sentence each. */
export function failuresOf(options: Options, figures: Figures, after: Aftermath): string[] {
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

export function exitCodeOf(failures: readonly string[], { isInterrupted }: Aftermath): number {
  if (isInterrupted) return 130;
  return failures.length > 0 ? 1 : 0;
}

function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(12)} ${text}`;
}

/** The run as lines for people. */
export function reportText(
  options: Options,
  figures: Figures,
  after: Aftermath,
  failures: readonly string[],
): string {
  const { accepted, seconds, selections, p50Ms, p99Ms, p999Ms, longestMs } = figures;
  const drain = typeof after.drain === 'number' ? `${after.drain.toFixed(1)} s` : after.drain;
  const lines = [
    `${options.name}, ${options.rate} arrivals/s for ${Math.round(seconds)} s, ${options.members} members`,
    row('accepted', `${accepted}, ${Math.round(accepted / seconds)}/s`),
    row(
      'latency',
      `p50 ${milliseconds(p50Ms)}, p99 ${milliseconds(p99Ms)}, p99.9 ${milliseconds(p999Ms)}, longest ${milliseconds(longestMs)}`,
    ),
    row(
      'errors',
      `${figures.errors}, arrivals dropped ${figures.dropped}, books late (202) ${figures.booksLate}`,
    ),
    ...selections.map((each) =>
      row(
        `  ${each.name}`,
        `${each.accepted} accepted, p50 ${milliseconds(each.p50Ms)}, p99 ${milliseconds(each.p99Ms)}` +
          (each.lagSecondsP90 === undefined ? '' : `, lag p90 ${each.lagSecondsP90.toFixed(2)} s`),
      ),
    ),
    row('drain', drain),
    row(
      'books',
      after.missing === undefined ? 'not counted' : `${Math.max(0, after.missing)} acknowledged are missing`,
    ),
    row('audit', after.audit),
    ...after.unchecked.map((sentence) => row('unchecked', sentence)),
    ...failures.map((failure) => row('FAILED', failure)),
  ];
  return lines.join('\n');
}

/** The run as one JSON object. */
export function reportLine(
  options: Options,
  figures: Figures,
  after: Aftermath,
  failures: readonly string[],
): string {
  const rounded = (value: number) => Math.round(value * 100) / 100;
  const { name, rate, members, service } = options;
  return JSON.stringify({
    object: 'loadtest',
    name,
    rate,
    members,
    ownInstallation: service === undefined,
    seconds: rounded(figures.seconds),
    accepted: figures.accepted,
    acceptedPerSecond: rounded(figures.accepted / figures.seconds),
    errors: figures.errors,
    dropped: figures.dropped,
    booksLate: figures.booksLate,
    p50Ms: rounded(figures.p50Ms),
    p99Ms: rounded(figures.p99Ms),
    p999Ms: rounded(figures.p999Ms),
    selections: figures.selections.map((each) => ({
      ...each,
      p50Ms: rounded(each.p50Ms),
      p99Ms: rounded(each.p99Ms),
    })),
    drainSeconds: typeof after.drain === 'number' ? rounded(after.drain) : null,
    missing: after.missing ?? null,
    audit: after.audit,
    unchecked: after.unchecked,
    interrupted: after.isInterrupted,
    failures,
  });
}
