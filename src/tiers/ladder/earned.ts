/**
 * PURE. The state of what a member earned on a ladder, and its moves.
 *
 *   start ──reach──► reached ──keep──► kept ──end, not kept──► landed (one step) or fell (to what was earned)
 *
 * `settled` brings a state to a day: first every end that came since, oldest first, then what the window before the present one
 * gives (late receipts), then the present one. Ends that come one after another lie on the same days whatever is decided
 * at each, so all sums are known to be needed beforehand (`asks.ts`).
 *
 * What qualified a state is looked at again each time (`afterReturns`), and an end that was decided too low by what was known
 * then is decided again (`afterLateReceipts`). Both begin from `before`, the state that was there until then.
 *
 * One window gives a tier once (`spent`): a validity shorter than its period does not renew itself by the same receipts.
 * Rolling and lifetime windows have no such rule; they keep a tier at its end as long as they still hold enough.
 */
import { carriedInto, carriedToQualify, countedIn, withCarry } from './carry.ts';
import { type AmountOf, amountsIn, highestMet, isMet, type Look, nearest } from './counting.ts';
import type { Day, Earned, Ladder, LadderMember, Qualified, Step, Window } from './types.ts';
import {
  endAfter,
  endOfKeeping,
  endOfPromotion,
  hasEnds,
  splitsAtPromotion,
  windowAt,
  windowBefore,
  withGrace,
} from './windows.ts';

/** Ends that one review decides at most; the next review goes on. */
export const endsMax = 24;
/** Earlier states that a state remembers. */
const beforesMax = 2;

/** Reviews go forward: a day before the one on which the state began, or a challenge was met, is that one. */
export function reviewDay({ earned, grants }: LadderMember, day: Day): Day {
  const met = grants.map(({ challenge }) => challenge?.metOnDay ?? day);
  return Math.max(day, earned?.sinceDay ?? day, earned?.qualified?.onDay ?? day, ...met);
}

export function startOf(ladder: Ladder, joinedDay: Day): Earned {
  return { tier: ladder.tiers[0]!.name, sinceDay: joinedDay, how: 'start' };
}

/** The tier's place, also under a name that it had; the first where the ladder does not know it. */
export function levelOf({ tiers }: Ladder, name: string): number {
  const level = tiers.findIndex((tier) => tier.name === name);
  return level >= 0
    ? level
    : Math.max(
        0,
        tiers.findIndex(({ was }) => was.includes(name)),
      );
}

/** Whether windows follow each other, so that each has a number of its own: its first day. */
function hasWindowsInTurn({ period: { kind } }: Ladder): boolean {
  return kind !== 'rolling_months' && kind !== 'lifetime';
}

export function remembered(state: Earned, depth = beforesMax): Omit<Earned, 'before'> & { before?: Earned } {
  const { before, ...rest } = state;
  return depth > 1 && before ? { ...rest, before: remembered(before, depth - 1) } : rest;
}

export function without<Key extends keyof Earned>(state: Earned, ...keys: readonly Key[]): Omit<Earned, Key> {
  const rest: Partial<Record<keyof Earned, unknown>> = { ...state };
  for (const key of keys) delete rest[key];
  return rest as Omit<Earned, Key>;
}

/**
 * The state under this ladder: with the tier's present name, without an end where nothing ends, and with one, counted from
 * the day that is looked at, where a version of the file before it had none.
 */
export function underLadder(ladder: Ladder, joinedDay: Day, state: Earned, day: Day): Earned {
  const { name } = ladder.tiers[levelOf(ladder, state.tier)]!;
  const named = name === state.tier ? state : { ...state, tier: name };
  const isEndless = !hasEnds(ladder) || name === ladder.tiers[0]!.name;
  if (isEndless === (named.untilDay === undefined)) return named;
  const ended = without(named, 'untilDay');
  const untilDay = isEndless ? undefined : endOfPromotion(ladder, joinedDay, named, day);
  return untilDay === undefined ? ended : { ...ended, untilDay };
}

/** The last day of a state if nothing is done for it: with grace and protection. Undefined: it does not end. */
export function lastDayOf(look: Look, state: Earned): Day | undefined {
  const { ladder, protectedThroughDay } = look;
  const level = levelOf(ladder, state.tier);
  if (level === 0 || state.untilDay === undefined || ladder.tiers[level]!.isProtected) return undefined;
  const last = lastDayFrom(look, state.untilDay);
  return protectedThroughDay === Number.POSITIVE_INFINITY ? undefined : last;
}

export function lastDayFrom({ ladder, protectedThroughDay }: Look, untilDay: Day): Day {
  const last = withGrace(ladder, untilDay);
  const isProtected = protectedThroughDay !== undefined && Number.isFinite(protectedThroughDay);
  return isProtected ? Math.max(last, protectedThroughDay) : last;
}

/**
 * The windows that decide at an end: what they counted through its last day keeps a tier, or says which one was earned. An
 * end by months lies somewhere in a period, so there the one before it counts as well.
 */
export function decidingWindows(look: Look, state: Earned, untilDay: Day, lastDay: Day): readonly Window[] {
  const { ladder, joinedDay } = look;
  const ending = windowAt(ladder, joinedDay, state, untilDay);
  const isWithin = ladder.validity.kind === 'months' && hasWindowsInTurn(ladder);
  const earlier = isWithin ? windowBefore(ladder, joinedDay, state, ending) : undefined;
  const windows: Window[] = [];
  for (const window of [earlier, ending, windowAt(ladder, joinedDay, state, lastDay)]) {
    if (!window || (hasWindowsInTurn(ladder) && !countsBeyond(ladder, window, untilDay))) continue;
    const throughDay = Math.min(window.throughDay, lastDay);
    const { fromDay } = window;
    if (!windows.some((each) => each.fromDay === fromDay && each.throughDay === throughDay))
      windows.push({ fromDay, throughDay });
  }
  return windows;
}

/** Whether what a window counted is valid longer than through the end that is decided. */
function countsBeyond({ validity, period }: Ladder, { fromDay }: Window, untilDay: Day): boolean {
  return validity.kind !== 'end_of_period' || period.kind === 'since_promotion' || fromDay > untilDay;
}

interface Attained {
  readonly level: number;
  readonly window: Window;
  readonly amountOf: AmountOf;
}

/** Whether a window gave what is held already: it does not give it twice. */
function isUsed({ ladder }: Look, { qualified, spent }: Earned, { fromDay }: Window): boolean {
  const lastUsed = Math.max(qualified?.fromDay ?? -1, spent?.fromDay ?? -1);
  return hasWindowsInTurn(ladder) && fromDay <= lastUsed;
}

/** The highest tier, up to the present one, that was kept in one of the windows. */
function attainedIn(look: Look, state: Earned, windows: readonly Window[]): Attained | undefined {
  const { ladder } = look;
  let best: Attained | undefined;
  for (const window of windows) {
    if (isUsed(look, state, window)) continue;
    const amountOf = countedIn(look, state, window);
    const level = highestMet(ladder, 'keep', amountOf, (best?.level ?? 0) + 1, levelOf(ladder, state.tier));
    if (level !== undefined) best = { level, window, amountOf };
  }
  return best;
}

/** The next tier below that can be earned. */
function levelBelow({ tiers }: Ladder, level: number): number {
  let below = level - 1;
  while (below > 0 && tiers[below]!.reach.length === 0) below -= 1;
  return Math.max(0, below);
}

function qualifiedBy(
  look: Look,
  state: Earned,
  window: Window,
  rest: Pick<Qualified, 'onDay' | 'by' | 'needed'>,
): Qualified {
  const carried = carriedInto(look, state, window);
  return { ...window, ...rest, ...(Object.keys(carried).length > 0 ? { carried } : {}) };
}

/** The end after one: where a period counted in grace is what keeps, as long as what it gives is valid. */
function nextEnd(look: Look, state: Earned, lastDay: Day, window: Window | undefined): Day | undefined {
  const { ladder, joinedDay } = look;
  const end = endAfter(ladder, joinedDay, state, state.untilDay!, lastDay);
  if (!window || end === undefined || ladder.validity.kind === 'months') return end;
  return Math.max(end, endOfKeeping(ladder, joinedDay, state, window.throughDay) ?? end);
}

/** What holds from the day after an end on. */
function decided(look: Look, state: Earned, lastDay: Day, steps: Step[]): Earned {
  const { ladder } = look;
  const untilDay = state.untilDay!;
  const level = levelOf(ladder, state.tier);
  const attained = attainedIn(look, state, decidingWindows(look, state, untilDay, lastDay));
  const floor = ladder.down === 'one_step' ? levelBelow(ladder, level) : 0;
  const target = Math.max(attained?.level ?? 0, floor);
  const { name, keep } = ladder.tiers[target]!;
  const isEarned = attained !== undefined && attained.level === target;
  const next =
    target === 0 ? undefined : nextEnd(look, state, lastDay, isEarned ? attained.window : undefined);
  const how = target === level ? 'kept' : ladder.down === 'one_step' && target === floor ? 'landed' : 'fell';
  const dropped = state.wrongSinceDay === undefined ? ([] as const) : (['spent'] as const);
  const rest = without(state, 'qualified', 'wrongSinceDay', 'untilDay', 'before', ...dropped);
  steps.push({
    what: how === 'landed' ? 'soft_landing' : how,
    from: state.tier,
    to: name,
    ...(isEarned ? { window: attained.window, counted: nearest(keep, attained.amountOf) } : {}),
    ...(next === undefined ? {} : { untilDay: next }),
  });
  return {
    ...rest,
    tier: name,
    sinceDay: target === level ? state.sinceDay : lastDay + 1,
    how,
    ...(next === undefined ? {} : { untilDay: next }),
    ...(isEarned
      ? {
          qualified: qualifiedBy(look, state, attained.window, {
            onDay: lastDay + 1,
            by: 'keep',
            needed: keep,
          }),
          ...spentOn(look, attained.window, name),
        }
      : {}),
    before: remembered(state),
  };
}

/** What a window gave, so that it does not give it again. */
export function spentOn({ ladder }: Look, { fromDay }: Window, tier: string): Pick<Earned, 'spent'> {
  return hasWindowsInTurn(ladder) ? { spent: { fromDay, tier } } : {};
}

function isSpent({ ladder }: Look, { spent }: Earned, { fromDay }: Window, level: number): boolean {
  if (!spent || !hasWindowsInTurn(ladder)) return false;
  return fromDay < spent.fromDay || (fromDay === spent.fromDay && level <= levelOf(ladder, spent.tier));
}

/** Up to the highest tier that a window reached. */
function promotedBy(look: Look, state: Earned, window: Window, steps: Step[]): Earned | undefined {
  const { ladder, joinedDay, day } = look;
  const amountOf = countedIn(look, state, window);
  const level = highestMet(ladder, 'reach', amountOf, levelOf(ladder, state.tier) + 1);
  if (level === undefined || isSpent(look, state, window, level)) return undefined;
  const onDay = Math.min(day, window.throughDay);
  const untilDay = endOfPromotion(ladder, joinedDay, state, onDay);
  if (untilDay !== undefined && untilDay < day) return undefined;
  const { name, reach } = ladder.tiers[level]!;
  const ends = untilDay === undefined ? {} : { untilDay };
  const before = state.qualified?.fromDay === window.fromDay ? state.before : remembered(state);
  const carried = carriedInto(look, state, window);
  const isSplit = splitsAtPromotion(ladder);
  const split = isSplit ? { promotion: { onDay, endedFromDay: window.fromDay, carried } } : {};
  const given = isSplit ? { fromDay: window.fromDay, throughDay: onDay } : window;
  const counted = nearest(reach, amountOf);
  steps.push({ what: 'promoted', from: state.tier, to: name, window: given, counted, ...ends });
  return {
    ...without(state, 'qualified', 'wrongSinceDay', 'untilDay', 'before'),
    ...{ tier: name, sinceDay: day, ...ends, ...split },
    how: 'reached',
    qualified: { ...qualifiedBy(look, state, window, { onDay, by: 'reach', needed: reach }), ...given },
    ...spentOn(look, window, name),
    ...(before ? { before } : {}),
  };
}

function keptUntil(
  look: Look,
  state: Earned,
  attained: Attained,
  onDay: Day,
  untilDay: Day,
  steps: Step[],
): Earned {
  const { keep } = look.ladder.tiers[attained.level]!;
  const counted = nearest(keep, attained.amountOf);
  steps.push({ what: 'kept', from: state.tier, to: state.tier, window: attained.window, counted, untilDay });
  return {
    ...without(state, 'qualified', 'wrongSinceDay', 'before'),
    how: 'kept',
    untilDay,
    ...spentOn(look, attained.window, state.tier),
    qualified: qualifiedBy(look, state, attained.window, { onDay, by: 'keep', needed: keep }),
    before: remembered(state),
  };
}

/** A longer validity, as soon as a window that did not give the present one has what keeps the tier. */
function keptBy(look: Look, state: Earned, window: Window, steps: Step[]): Earned | undefined {
  const { ladder, joinedDay, day } = look;
  const level = levelOf(ladder, state.tier);
  if (level === 0 || state.untilDay === undefined || !hasWindowsInTurn(ladder)) return undefined;
  const onDay = Math.min(day, window.throughDay);
  const untilDay = endOfKeeping(ladder, joinedDay, state, onDay);
  if (untilDay === undefined || untilDay <= state.untilDay) return undefined;
  const attained = attainedIn(look, state, [window]);
  return attained?.level === level ? keptUntil(look, state, attained, onDay, untilDay, steps) : undefined;
}

/** In the days of grace of a ladder that rolls: enough now is enough. */
function keptInGrace(look: Look, state: Earned, steps: Step[]): Earned | undefined {
  const { ladder, joinedDay, day } = look;
  const { untilDay } = state;
  if (hasWindowsInTurn(ladder) || untilDay === undefined || day <= untilDay) return undefined;
  const attained = attainedIn(look, state, decidingWindows(look, state, untilDay, day));
  const next = endAfter(ladder, joinedDay, state, untilDay, day);
  if (next === undefined || attained?.level !== levelOf(ladder, state.tier)) return undefined;
  return keptUntil(look, state, attained, day, next, steps);
}

function movedBy(look: Look, state: Earned, window: Window, steps: Step[]): Earned {
  const risen = promotedBy(look, state, window, steps) ?? state;
  return keptBy(look, risen, window, steps) ?? risen;
}

/** Brings a state to the day; where more ends came than one review decides, as far as it goes. */
export function settled(look: Look, from: Earned, steps: Step[]): Earned {
  const { ladder, joinedDay, day } = look;
  let state = from;
  for (let ends = 0; ends < endsMax; ends += 1) {
    const last = lastDayOf(look, state);
    if (last === undefined || last >= day) break;
    state = decided(look, state, last, steps);
  }
  if (isBehind(look, state)) return state;
  state = withCarry(look, keptInGrace(look, state, steps) ?? state);
  const before = windowBefore(ladder, joinedDay, state, windowAt(ladder, joinedDay, state, day));
  if (before) state = movedBy(look, state, before, steps);
  return movedBy(look, state, windowAt(ladder, joinedDay, state, day), steps);
}

/** Whether ends are left that a further review has to decide. */
export function isBehind(look: Look, state: Earned): boolean {
  const last = lastDayOf(look, state);
  return last !== undefined && last < look.day;
}

/** Whether what qualified a state is still there. */
function stillQualified(look: Look, state: Earned): boolean {
  const { qualified } = state;
  if (!qualified) return true;
  return isMet(qualified.needed, amountsIn(look, qualified, carriedToQualify(look, state, qualified)));
}

/** The last day on which a state that was taken back still holds; undefined: through its end. */
export function heldThrough(look: Look, state: Earned, wrongSinceDay: Day): Day | undefined {
  const { ladder, protectedThroughDay = -1, day } = look;
  const { whenTakenBack } = ladder;
  const isProtected = ladder.tiers[levelOf(ladder, state.tier)]!.isProtected || protectedThroughDay >= day;
  if (whenTakenBack.kind === 'until_end' || isProtected) return undefined;
  return wrongSinceDay + (whenTakenBack.kind === 'days' ? whenTakenBack.days : 0) - 1;
}

/** Where a return took away what qualified the state: marked, or gone back to what was there before. */
export function afterReturns(look: Look, state: Earned, steps: Step[]): Earned {
  const { ladder, joinedDay, day } = look;
  if (stillQualified(look, state)) {
    if (state.wrongSinceDay === undefined) return state;
    steps.push({ what: 'qualified_again', from: state.tier, to: state.tier });
    return without(state, 'wrongSinceDay');
  }
  const wrongSinceDay = state.wrongSinceDay ?? day;
  const held = heldThrough(look, state, wrongSinceDay);
  if (held === undefined || held >= day) {
    if (state.wrongSinceDay !== undefined) return state;
    steps.push({ what: 'held_though_taken_back', from: state.tier, to: state.tier });
    return { ...state, wrongSinceDay };
  }
  let earlier: Earned | undefined = state.before;
  while (earlier && !stillQualified(look, earlier)) earlier = earlier.before;
  const from = earlier ? without(earlier, 'wrongSinceDay') : startOf(ladder, joinedDay);
  const right = settled(look, underLadder(ladder, joinedDay, from, day), []);
  const isSame = right.tier === state.tier;
  const isLower = levelOf(ladder, right.tier) < levelOf(ladder, state.tier);
  const isLess = isLower || (isSame && (right.untilDay ?? 0) < (state.untilDay ?? 0));
  const ends = right.untilDay === undefined ? {} : { untilDay: right.untilDay };
  steps.push({ what: isLess ? 'taken_back' : 'qualified_again', from: state.tier, to: right.tier, ...ends });
  return isSame
    ? { ...right, sinceDay: state.sinceDay }
    : { ...right, sinceDay: day, ...(right.how === 'start' ? { how: 'taken_back' as const } : {}) };
}

/** Where an end was decided by less than is known now: decided again. */
export function afterLateReceipts(look: Look, state: Earned, steps: Step[]): Earned {
  const { before } = state;
  if ((state.how !== 'landed' && state.how !== 'fell') || !before) return state;
  const last = lastDayOf(look, before);
  if (last === undefined || state.sinceDay !== last + 1 || last >= look.day) return state;
  const again = decided(look, before, last, []);
  if (levelOf(look.ladder, again.tier) <= levelOf(look.ladder, state.tier)) return state;
  const ends = again.untilDay === undefined ? {} : { untilDay: again.untilDay };
  steps.push({ what: 'late_receipt', from: state.tier, to: again.tier, ...ends });
  return { ...again, sinceDay: look.day };
}
