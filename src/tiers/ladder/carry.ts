/**
 * PURE. What rolls over from one window into the next.
 *
 * Where a ladder rolls over, a window begins with what the one before it had above the highest tier that it reached: of the
 * measures of a list that was met, each above its own goal. What reached no tier rolls nothing over. The chain is followed back
 * to the window whose carried amount is stored in the state, so that late receipts and returns of the last period still move
 * what was carried out of it, and older ones do not.
 */
import { type AmountOf, amountsIn, highestMet, type Look, meets } from './counting.ts';
import { type Amounts, type Earned, type Ladder, measureKey, type Qualified, type Window } from './types.ts';
import { windowAt, windowBefore } from './windows.ts';

/** Windows further back than this carry nothing: a state that was stored within them says what they carried. */
export const carryWindowsMax = 24;

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

/**
 * What was carried into a qualifying window: worked out again until the window before it is out of reach. The days of a
 * challenge are nobody's window.
 */
export function carriedToQualify(look: Look, state: Earned, qualified: Qualified): Qualified['carried'] {
  if (qualified.by === 'challenge') return {};
  const isPast = state.carried !== undefined && state.carried.fromDay > qualified.fromDay;
  return isPast ? qualified.carried : carriedInto(look, state, qualified);
}

/**
 * What was carried into the window before the present one is stored, so that the chain does not grow. From then on what was
 * carried into an earlier window that qualified is what it is now.
 */
export function withCarry(look: Look, state: Earned): Earned {
  const { ladder, joinedDay, day } = look;
  const { qualified } = state;
  if (ladder.atPeriodEnd !== 'roll_over') return state;
  const before = windowBefore(ladder, joinedDay, state, windowAt(ladder, joinedDay, state, day));
  if (
    !before ||
    state.carried?.fromDay === before.fromDay ||
    state.promotion?.endedFromDay === before.fromDay
  )
    return state;
  const carried = { fromDay: before.fromDay, amounts: carriedInto(look, state, before) };
  const into = qualified && carriedToQualify(look, state, qualified);
  return { ...state, carried, ...(qualified && into ? { qualified: { ...qualified, carried: into } } : {}) };
}
