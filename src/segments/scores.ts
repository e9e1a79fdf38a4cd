/**
 * PURE. From what was counted of a member, and the cut points of all members, to the facts that segments are made of. Equal
 * members get equal facts: every class is a comparison of a member's own figure with a cut point, never a place in an order.
 */
import type {
  Bound,
  NamedSegment,
  Scoring,
  SegmentFact,
  Segments,
  Stage,
  Where,
} from '#src/earning/file/segment-schema.ts';
import type { MemberNumber } from '#src/values.ts';

/** Of a member who has bought on some day. Days are numbers since 1970-01-01, amounts minor units. */
export interface Counted {
  readonly member: MemberNumber;
  readonly firstDay: number;
  readonly lastDay: number;
  /** On which something was bought or flown. */
  readonly purchaseDays: number;
  /** In the window. */
  readonly frequency: number;
  readonly monetary: number;
  /** Spent in the last `trendDays`, and in as many before. */
  readonly trendSpend: number;
  readonly trendBefore: number;
  /** Spent on all days but the first purchase day. */
  readonly repeatSpend: number;
  /** Median of the intervals that ended in the window; absent where they are too few. */
  readonly rhythmDays?: number | undefined;
  /** The last purchase day that came more than `lapsedDays` after the one before. */
  readonly backDay?: number | undefined;
}

/** What the models expect of a member. */
export interface Expected {
  readonly alive: number;
  readonly purchases: number;
  /** Minor units; absent where too few amounts are known to tell. */
  readonly value?: number | undefined;
}

export interface Measured extends Counted {
  readonly expected?: Expected | undefined;
}

/** Cut points over all members of a run, each list rising. A figure's place is the number of cut points below it. */
export interface Cuts {
  readonly recency: readonly number[];
  readonly frequency: readonly number[];
  readonly monetary: readonly number[];
  /** The least spend that is in class a, and in b. */
  readonly spendA?: number | undefined;
  readonly spendB?: number | undefined;
  /** Above the first it is medium, above the second high. */
  readonly value?: readonly number[] | undefined;
}

export type Facts = Readonly<Partial<Record<SegmentFact, number | string>>>;

function cutsBelow(cuts: readonly number[], value: number): number {
  let below = 0;
  for (const cut of cuts) if (cut < value) below += 1;
  return below;
}

/** 1 to 5. Of fifths, a figure that is on a cut point belongs below it; a threshold belongs to the better score. */
function scoreOf(
  scoring: Scoring,
  quintiles: readonly number[],
  value: number,
  isLessBetter: boolean,
): number {
  if (scoring === 'quintiles') {
    const below = cutsBelow(quintiles, value);
    return isLessBetter ? 5 - below : 1 + below;
  }
  const { thresholds } = scoring;
  return isLessBetter
    ? 5 - cutsBelow(thresholds, value)
    : 1 + thresholds.filter((threshold) => threshold <= value).length;
}

/** The stage in a member's life as a buyer; `lifecycleStages` says each in words. */
export function stageOf(counted: Counted, { lifecycle }: Segments, throughDay: number): Stage {
  const { newDays, lapsedDays, wonBackDays, growingPercent, decliningPercent } = lifecycle;
  const { firstDay, lastDay, backDay, trendSpend, trendBefore } = counted;
  if (throughDay - lastDay > lapsedDays) return 'lapsed';
  if (backDay !== undefined && throughDay - backDay < wonBackDays) return 'won_back';
  if (throughDay - firstDay < newDays) return 'new';
  if (trendSpend > 0 && trendSpend * 100 >= trendBefore * growingPercent) return 'growing';
  if (trendBefore > 0 && trendSpend * 100 <= trendBefore * decliningPercent) return 'declining';
  return 'mature';
}

function spendClassOf({ monetary }: Counted, { spendA, spendB }: Cuts): 'a' | 'b' | 'c' {
  if (spendA !== undefined && monetary >= spendA) return 'a';
  return spendB !== undefined && monetary >= spendB ? 'b' : 'c';
}

function valueFactsOf(expected: Expected, cuts: Cuts): Facts {
  const { alive, purchases, value } = expected;
  const known = { alive_percent: alive * 100, expected_purchases: purchases };
  if (value === undefined || !cuts.value) return known;
  const value_class = (['low', 'medium', 'high'] as const)[cutsBelow(cuts.value, value)]!;
  return { ...known, expected_value: value, value_class };
}

/** Everything that is known of a member. */
export function factsOf(measured: Measured, cuts: Cuts, segments: Segments, throughDay: number): Facts {
  const { firstDay, lastDay, frequency, monetary, rhythmDays, expected } = measured;
  const recency = throughDay - lastDay;
  const isInWindow = frequency > 0;
  const score = (measure: 'recency' | 'frequency' | 'monetary', value: number) =>
    isInWindow ? scoreOf(segments[measure], cuts[measure], value, measure === 'recency') : 0;
  return {
    recency_days: recency,
    age_days: throughDay - firstDay,
    frequency,
    monetary,
    recency_score: score('recency', recency),
    frequency_score: score('frequency', frequency),
    monetary_score: score('monetary', monetary),
    spend_class: spendClassOf(measured, cuts),
    lifecycle: stageOf(measured, segments, throughDay),
    ...(rhythmDays === undefined ? {} : { rhythm_days: rhythmDays }),
    ...(expected ? valueFactsOf(expected, cuts) : {}),
  };
}

function liesIn(bound: Bound, value: number | string | undefined): boolean {
  if (value === undefined) return false;
  if (Array.isArray(bound)) return typeof value === 'string' && bound.includes(value);
  if (typeof value === 'string') return false;
  return (bound.min === undefined || value >= bound.min) && (bound.max === undefined || value <= bound.max);
}

function holds(where: Where, facts: Facts): boolean {
  return Object.entries(where).every(([name, bound]) => liesIn(bound, facts[name as SegmentFact]));
}

/** Names of the segments that facts lie in, in the order of the file. */
export function segmentsOf(named: readonly NamedSegment[], facts: Facts): string[] {
  return named
    .filter(({ where }) => (Array.isArray(where) ? where : [where]).some((each) => holds(each, facts)))
    .map(({ name }) => name);
}

/** A rhythm that a member has left. */
export interface Break {
  /** The day from which on it is broken: `lateDays` after the next purchase was due. */
  readonly brokenDay: number;
  readonly lastDay: number;
  readonly rhythmDays: number;
}

/** A break is told so many days late at most, when nobody measured meanwhile; older ones of a new program are left alone. */
export const breakDaysMax = 31;

/** The break that an event has to tell of, if there is one. */
export function breakOf(counted: Counted, { rhythm }: Segments, throughDay: number): Break | undefined {
  const { lastDay, rhythmDays } = counted;
  if (rhythmDays === undefined || !rhythm.alerts) return undefined;
  const brokenDay = lastDay + rhythmDays + rhythm.lateDays;
  if (brokenDay > throughDay || brokenDay <= throughDay - breakDaysMax) return undefined;
  return { brokenDay, lastDay, rhythmDays };
}
