/** PURE. Figures from many values: ratios, percentiles, and a spread as text. */
import { spread } from './marks.ts';

/** Ratios of what was measured in the same round, so that a slow minute of the machine falls on both. */
export function ratios(over: readonly number[], under: readonly number[]): number[] {
  if (over.length !== under.length)
    throw new Error(`${over.length} rounds beside ${under.length}: they did not run together`);
  return over.map((value, round) => value / under[round]!);
}

/** The value below which a share of sorted values stayed; 0 where there are none. */
export function percentileOfSorted(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

/** The same of values in any order. */
export function percentile(values: readonly number[], share: number): number {
  return percentileOfSorted(Float64Array.from(values).sort(), share);
}

/** `1,234 (1,200-1,300)`: the median and the spread. */
export function spreadText(values: readonly number[], digits = 0): string {
  const { median, smallest, largest } = spread(values);
  const text = (value: number) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return values.length === 1 ? text(median) : `${text(median)} (${text(smallest)}-${text(largest)})`;
}
