/** PURE. Measures over several rounds beside what they are to reach, and how both are printed. */
import { type Mark, spread } from './marks.ts';
import { table } from './report.ts';

export interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
  /** What we would like to reach; it changes no verdict. */
  readonly aim: number;
}

/** Judges a measure by the median of its rounds. */
export function markOf(measure: string, values: readonly number[], { atLeast, atMost, aim }: Bound): Mark {
  const figure = spread(values);
  const isMet = figure.median >= (atLeast ?? -Infinity) && figure.median <= (atMost ?? Infinity);
  const bound = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
  return { measure, ...figure, bound, aim: `${aim}`, isMet };
}

/** Ratios of what was measured in the same round, so that a slow minute of the machine falls on both. */
export function ratios(over: readonly number[], under: readonly number[]): number[] {
  if (over.length !== under.length)
    throw new Error(`${over.length} rounds beside ${under.length}: they did not run together`);
  return over.map((value, round) => value / under[round]!);
}

/** The value below which a share of the values stayed; 0 where there are none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** `1,234 (1,200-1,300)`: the median and the spread. */
export function spreadText(values: readonly number[], digits = 0): string {
  const { median, smallest, largest } = spread(values);
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return values.length === 1 ? text(median) : `${text(median)} (${text(smallest)}-${text(largest)})`;
}

export function marksText(marks: readonly Mark[]): string {
  const rows = marks.map(({ measure, median, smallest, largest, bound, aim, isMet }) => [
    measure,
    median.toFixed(2),
    `${smallest.toFixed(2)}-${largest.toFixed(2)}`,
    bound,
    aim,
    isMet ? 'met' : 'missed',
  ]);
  return table([['measure', 'median', 'rounds', 'mark', 'aim', ''], ...rows]);
}
