/** PURE. What was counted in a window, and whether it meets a condition. */
import type { Measure } from '#src/diary/measures.ts';
import {
  type Amounts,
  askKey,
  type Condition,
  type Day,
  type Goal,
  type GoalCount,
  type Ladder,
  measureKey,
  type Sums,
  type Window,
} from './types.ts';

/** What a review looks at: the ladder, the member, the day and the sums that were asked for. */
export interface Look {
  readonly ladder: Ladder;
  readonly joinedDay: Day;
  readonly day: Day;
  readonly protectedThroughDay: Day | undefined;
  readonly sums: Sums;
}

export type AmountOf = (measure: Measure) => number;

/**
 * What a window holds through the day that is looked at. Days after it count for nothing, also where they are past by now: who is
 * looked at later is seen as on that day.
 */
function sumIn({ sums, day }: Look, measure: Measure, { fromDay, throughDay }: Window): number {
  if (fromDay > day) return 0;
  const sum = sums.get(askKey({ measure, fromDay, throughDay: Math.min(throughDay, day) }));
  if (sum === undefined)
    throw new Error(`nobody asked for ${measureKey(measure)} from day ${fromDay} through ${throughDay}`);
  return sum;
}

/** What a window counted beside what was carried into it. */
export function amountsIn(look: Look, window: Window, carried: Amounts = {}): AmountOf {
  return (measure) => sumIn(look, measure, window) + (carried[measureKey(measure)] ?? 0);
}

export function meets(goals: readonly Goal[], amountOf: AmountOf): boolean {
  return goals.every(({ measure, atLeast }) => amountOf(measure) >= atLeast);
}

export function isMet(condition: Condition, amountOf: AmountOf): boolean {
  return condition.some((goals) => meets(goals, amountOf));
}

/** The highest tier from `levelMin` through `levelMax` whose condition is met; undefined where none is. */
export function highestMet(
  { tiers }: Ladder,
  by: 'reach' | 'keep',
  amountOf: AmountOf,
  levelMin = 1,
  levelMax = tiers.length - 1,
): number | undefined {
  for (let level = levelMax; level >= Math.max(levelMin, 1); level -= 1)
    if (isMet(tiers[level]![by], amountOf)) return level;
  return undefined;
}

function missingShare(goals: readonly GoalCount[]): number {
  return Math.max(...goals.map(({ missing, atLeast }) => missing / atLeast));
}

/** The list of a condition that is nearest to being met, with what was counted; empty where nothing meets the condition. */
export function nearest(condition: Condition, amountOf: AmountOf): readonly GoalCount[] {
  let best: readonly GoalCount[] = [];
  for (const goals of condition) {
    const counts = goals.map(({ measure, atLeast }): GoalCount => {
      const counted = amountOf(measure);
      return { measure, atLeast, counted, missing: Math.max(0, atLeast - counted) };
    });
    if (best.length === 0 || missingShare(counts) < missingShare(best)) best = counts;
  }
  return best;
}
