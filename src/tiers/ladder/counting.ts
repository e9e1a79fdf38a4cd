/**
 * PURE. What was counted in a window, and whether it meets a condition.
 *
 * Where a ladder rolls over, a window begins with what the one before it had above the highest tier that it reached: of the
 * measures of a list that was met, each above its own goal. What reached no tier rolls nothing over. The chain is followed back
 * to the window whose carried amount is stored in the state, so that late receipts and returns of the last period still move
 * what was carried out of it, and older ones do not.
 */
import type {
  Amounts,
  Condition,
  Day,
  Earned,
  Goal,
  GoalCount,
  Ladder,
  Measure,
  Sums,
  Window,
} from './types.ts';
import { askKey, measureKey } from './types.ts';
import { windowBefore } from './windows.ts';

/** What a review looks at: the ladder, the member, the day and the sums that were asked for. */
export interface Look {
  readonly ladder: Ladder;
  readonly joinedDay: Day;
  readonly day: Day;
  readonly protectedThroughDay: Day | undefined;
  readonly sums: Sums;
}

export type AmountOf = (measure: Measure) => number;

/** Windows further back than this carry nothing: a state that was stored within them says what they carried. */
export const carryWindowsMax = 24;

/** Days to come hold nothing, so nobody has to ask for them. */
function sumIn({ sums, day }: Look, measure: Measure, { fromDay, throughDay }: Window): number {
  if (fromDay > day) return 0;
  const sum = sums.get(askKey({ measure, fromDay, throughDay }));
  if (sum === undefined)
    throw new Error(`nobody asked for ${measureKey(measure)} from day ${fromDay} through ${throughDay}`);
  return sum;
}

/** What a window counted beside what was carried into it. */
export function amountsIn(look: Look, window: Window, carried: Amounts = {}): AmountOf {
  return (measure) => sumIn(look, measure, window) + (carried[measureKey(measure)] ?? 0);
}

function meets(goals: readonly Goal[], amountOf: AmountOf): boolean {
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

/** What is above the goals that were met of the highest tier. */
function excessOf(ladder: Ladder, amountOf: AmountOf): Amounts {
  const level = highestMet(ladder, 'reach', amountOf);
  const excess: Record<string, number> = {};
  for (const goals of level === undefined ? [] : ladder.tiers[level]!.reach) {
    if (!meets(goals, amountOf)) continue;
    for (const { measure, atLeast } of goals) {
      const key = measureKey(measure);
      excess[key] = Math.max(excess[key] ?? 0, amountOf(measure) - atLeast);
    }
  }
  return excess;
}

type Carrying = Pick<Earned, 'promotion' | 'carried'>;

/** Whether something may be carried over the end of a window. */
function rollsOver(ladder: Ladder, { promotion }: Carrying, { throughDay }: Window): boolean {
  const isByPromotion = ladder.atPromotion !== 'keep' && promotion?.onDay === throughDay;
  return (isByPromotion ? ladder.atPromotion : ladder.atPeriodEnd) === 'roll_over';
}

/** The amounts that are stored in the state for a window. */
export function storedCarry({ promotion, carried }: Carrying, { fromDay }: Window): Amounts | undefined {
  if (promotion?.endedFromDay === fromDay) return promotion.carried;
  return carried?.fromDay === fromDay ? carried.amounts : undefined;
}

/** What was carried into a window. */
export function carriedInto(
  look: Look,
  state: Carrying,
  window: Window,
  windowsMax = carryWindowsMax,
): Amounts {
  const { ladder, joinedDay } = look;
  if (ladder.atPromotion !== 'roll_over' && ladder.atPeriodEnd !== 'roll_over') return {};
  const stored = storedCarry(state, window);
  if (stored) return stored;
  const before = windowBefore(ladder, joinedDay, state, window);
  if (!before || windowsMax === 0 || !rollsOver(ladder, state, before)) return {};
  return excessOf(ladder, amountsIn(look, before, carriedInto(look, state, before, windowsMax - 1)));
}

/** What counts in a window, with what was carried into it. */
export function countedIn(look: Look, state: Carrying, window: Window): AmountOf {
  return amountsIn(look, window, carriedInto(look, state, window));
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
