/** PURE. What the figures are judged by: ratios between contestants of the same run, other measures, and what we want of them. */
import type { Contestant } from './contestant.ts';
import type { Round } from './round.ts';

export interface Entry {
  readonly contestant: Contestant;
  readonly chosen: string;
  readonly rounds: readonly Round[];
}

interface Spread {
  readonly median: number;
  readonly smallest: number;
  readonly largest: number;
}

export interface Mark extends Spread {
  readonly measure: string;
  readonly bound: string;
  readonly aim: string;
  readonly isMet: boolean;
}

/** Median, smallest and largest of a figure over the rounds. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, smallest: sorted[0]!, largest: sorted.at(-1)! };
}

interface Bound {
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

interface RatioMark {
  readonly of: string;
  readonly beside: string;
  readonly atLeast: number;
  readonly aim: number;
}

/** A service that meets them is as close to the limit of its machine as we know how to come. */
export const ratioMarks: readonly RatioMark[] = [
  { of: 'service', beside: 'script-only', atLeast: 0.55, aim: 0.7 },
  { of: 'service', beside: 'script-writer', atLeast: 0.85, aim: 1 },
  { of: 'service', beside: 'node-echo', atLeast: 0.18, aim: 0.25 },
  { of: 'service', beside: 'prisma', atLeast: 10, aim: 15 },
  { of: 'service', beside: 'single-sql', atLeast: 1.4, aim: 2 },
  { of: 'service', beside: 'single-sql-pool', atLeast: 1.4, aim: 2 },
  { of: 'service-hot-member', beside: 'single-sql-hot-member', atLeast: 5, aim: 10 },
  { of: 'service-ledger', beside: 'service-256', atLeast: 0.8, aim: 0.95 },
  { of: 'service-natural', beside: 'service', atLeast: 0.9, aim: 0.95 },
];
const lagSecondsMax = 1;

/** Each round's ratio is of two runs close to one another, so a slow minute of the machine falls on both. */
export function ratiosOf(entries: readonly Entry[], of: string, beside: string): number[] {
  const roundsOf = (name: string) => entries.find(({ contestant }) => contestant.name === name)?.rounds ?? [];
  const others = roundsOf(beside);
  return roundsOf(of).flatMap((round, i) => {
    const other = others[i];
    return other ? [round.perSecond / other.perSecond] : [];
  });
}

/** The marks that can be judged with the contestants that ran. */
export function marksOf(entries: readonly Entry[]): Mark[] {
  const marks = ratioMarks.flatMap(({ of, beside, atLeast, aim }): Mark[] => {
    const ratios = ratiosOf(entries, of, beside);
    return ratios.length === 0 ? [] : [markOf(`${of} / ${beside}`, ratios, { atLeast, aim })];
  });
  const service = entries.find(({ contestant }) => contestant.name === 'service');
  const lags = service?.rounds.flatMap(({ lag }) => (lag ? [lag.seconds] : [])) ?? [];
  if (lags.length > 0) {
    const figure = spread(lags);
    const isMet = figure.largest < lagSecondsMax;
    const measure = 'service, largest ledger lag, seconds';
    marks.push({ measure, ...figure, bound: `below ${lagSecondsMax}`, aim: '-', isMet });
  }
  return marks;
}
