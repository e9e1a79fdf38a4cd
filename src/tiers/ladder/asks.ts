/**
 * PURE. Which sums a review needs, so that they can be read for many members at once before anything is decided.
 *
 * They are those of every state that the review may begin from (the present one, the ones it remembers, the start), and for
 * each the windows of the ends up to the day, the present window and the one before it, the one that a promotion in the window
 * before would begin, and where amounts roll over the chain of windows that they come from. The same windows of several states
 * are asked for once.
 */
import type { Measure } from '#src/diary/measures.ts';
import { carryWindowsMax, storedCarry } from './carry.ts';
import { challengeWindow, metOnDay } from './challenges.ts';
import type { Look } from './counting.ts';
import { decidingWindows, endsMax, lastDayFrom, reviewDay, startOf, underLadder } from './earned.ts';
import { endsWithTier, lastWindow } from './progress.ts';
import {
  askKey,
  type Condition,
  type Day,
  type Earned,
  type Grant,
  type Ladder,
  type LadderAsk,
  type LadderMember,
  measureKey,
  type Window,
} from './types.ts';
import { endAfter, endOfPromotion, splitsAtPromotion, windowAt, windowBefore } from './windows.ts';

/** More than the number of any day. */
const windowPlaces = 4_000_000;

function measuresIn(conditions: readonly Condition[]): readonly Measure[] {
  const goals = conditions.flat(2);
  return [...new Map(goals.map(({ measure }) => [measureKey(measure), measure])).values()];
}

/** A ladder never changes, so its measures are gathered once. */
const measuresKnown = new WeakMap<Ladder, readonly Measure[]>();

/** Everything that the tiers of a ladder look at. */
export function measuresOf(ladder: Ladder): readonly Measure[] {
  const known = measuresKnown.get(ladder);
  if (known) return known;
  const measures = measuresIn(ladder.tiers.flatMap(({ reach, keep }) => [reach, keep]));
  measuresKnown.set(ladder, measures);
  return measures;
}

/** The states that a review may begin from. */
function statesOf(ladder: Ladder, { joinedDay, earned }: LadderMember, day: Day): readonly Earned[] {
  const start = startOf(ladder, joinedDay);
  const states: Earned[] = [];
  for (let state: Earned | undefined = earned; state; state = state.before)
    states.push(underLadder(ladder, joinedDay, state, day));
  return [...states, start];
}

/** Windows that decide at the ends from a state's on, and the one that decides at the next end after the day. */
function endWindows(look: Look, state: Earned): readonly Window[] {
  const { ladder, joinedDay, day } = look;
  const windows: Window[] = [];
  const later = [endOfPromotion(ladder, joinedDay, state, day)];
  let untilDay = state.untilDay;
  for (let ends = 0; ends <= endsMax && untilDay !== undefined; ends += 1) {
    const last = lastDayFrom(look, untilDay);
    if (last >= day) {
      later.push(untilDay);
      if (day > untilDay) {
        windows.push(...decidingWindows(look, state, untilDay, day));
        later.push(endAfter(ladder, joinedDay, state, untilDay, day));
      }
      break;
    }
    windows.push(...decidingWindows(look, state, untilDay, last));
    untilDay = endAfter(ladder, joinedDay, state, untilDay, last);
  }
  if (!endsWithTier(ladder.period)) return windows;
  const known = later.filter((end) => end !== undefined);
  return [...windows, ...known.map((end) => lastWindow(look, state, lastDayFrom(look, end)))];
}

/** The window of the day and the one before it, and what follows where that one gives a promotion. */
function presentWindows({ ladder, joinedDay, day }: Look, state: Earned): readonly Window[] {
  const present = windowAt(ladder, joinedDay, state, day);
  const before = windowBefore(ladder, joinedDay, state, present);
  if (!before) return [present];
  const promotion = { onDay: before.throughDay, endedFromDay: before.fromDay, carried: {} };
  return [present, before, windowAt(ladder, joinedDay, { promotion }, day)];
}

/** The windows that what is carried into one comes from. */
function carryWindows({ ladder, joinedDay }: Look, state: Earned, into: Window): readonly Window[] {
  if (ladder.atPromotion !== 'roll_over' && ladder.atPeriodEnd !== 'roll_over') return [];
  const windows: Window[] = [];
  let window: Window | undefined = into;
  while (windows.length <= carryWindowsMax && !storedCarry(state, window)) {
    window = windowBefore(ladder, joinedDay, state, window);
    if (!window) break;
    windows.push(window);
  }
  return windows;
}

/** The state after a challenge was met, as far as windows depend on it, and the window in which it was. */
function triedState(look: Look, state: Earned, grant: Grant): { tried: Earned; window: Window } | undefined {
  const { ladder, joinedDay, day } = look;
  const counted = challengeWindow(grant);
  if (!counted || counted.fromDay > day) return undefined;
  const onDay = metOnDay(look, grant, counted);
  const untilDay = endOfPromotion(ladder, joinedDay, state, onDay);
  const window = windowAt(ladder, joinedDay, state, onDay);
  const promotion = { onDay, endedFromDay: window.fromDay, carried: {} };
  const isSplit = splitsAtPromotion(ladder) && (state.promotion?.onDay ?? -1) < onDay;
  return {
    tried: { ...state, ...(untilDay === undefined ? {} : { untilDay }), ...(isSplit ? { promotion } : {}) },
    window,
  };
}

/** The sums that a review of the member, or its progress, on a day needs; `sumsOf` answers them. */
export function asksOf(ladder: Ladder, member: LadderMember, onDay: Day): readonly LadderAsk[] {
  const day = reviewDay(member, onDay);
  const { joinedDay, protectedThroughDay } = member;
  const look: Look = { ladder, joinedDay, day, protectedThroughDay, sums: new Map() };
  const asks = new Map<string, LadderAsk>();
  const add = (window: Window, measures: readonly Measure[]) => {
    if (window.fromDay > day) return;
    for (const measure of measures) {
      const ask = { measure, fromDay: window.fromDay, throughDay: Math.min(window.throughDay, day) };
      asks.set(askKey(ask), ask);
    }
  };
  const measures = measuresOf(ladder);
  /** Most windows of one state are those of the others. */
  const added = new Set<number>();
  const addOnce = (window: Window) => {
    const place = window.fromDay * windowPlaces + window.throughDay;
    if (added.has(place)) return;
    added.add(place);
    add(window, measures);
  };
  const addOf = (state: Earned, windows: readonly Window[]) => {
    for (const window of windows) {
      addOnce(window);
      for (const earlier of carryWindows(look, state, window)) addOnce(earlier);
    }
  };
  for (const state of statesOf(ladder, member, day)) {
    const { qualified } = state;
    if (qualified) {
      add(qualified, measuresIn([qualified.needed]));
      for (const earlier of carryWindows(look, state, qualified)) addOnce(earlier);
    }
    addOf(state, [...endWindows(look, state), ...presentWindows(look, state)]);
    for (const grant of member.grants) {
      const after = triedState(look, state, grant);
      if (!after) continue;
      addOf(state, [after.window]);
      addOf(after.tried, [...endWindows(look, after.tried), ...presentWindows(look, after.tried)]);
    }
  }
  for (const grant of member.grants) {
    const window = challengeWindow(grant);
    if (window && grant.challenge) add(window, measuresIn([grant.challenge.needed]));
  }
  return [...asks.values()];
}
