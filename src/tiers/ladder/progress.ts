/** PURE. How far it is: to the next tier, and to what keeps the present one. */
import { countedIn } from './carry.ts';
import { challengeWindow } from './challenges.ts';
import { amountsIn, isMet, type Look, nearest } from './counting.ts';
import { lastDayOf, levelOf } from './earned.ts';
import type { CountingPeriod, Day, Earned, GoalProgress, Grant, Window } from './types.ts';
import { endlessDay, endOfKeeping, windowAt } from './windows.ts';

/** Windows that are looked ahead for the one that keeps a tier. */
const windowsAheadMax = 4;

interface KeepWindow {
  /** What is counted, in days that may still come too. */
  readonly counted: Window;
  /** The last day that counts. */
  readonly byDay: Day;
}

/** Whether windows have no end of their own: what counts is what they hold on a tier's last day. */
export function endsWithTier({ kind }: CountingPeriod): boolean {
  return kind === 'rolling_months' || kind === 'lifetime';
}

/** The window that decides over a tier with such periods, on its last day. */
export function lastWindow({ ladder, joinedDay, day }: Look, state: Earned, lastDay: Day): Window {
  const throughDay = Math.max(lastDay, day);
  const { fromDay } = windowAt(ladder, joinedDay, state, throughDay);
  return { fromDay, throughDay };
}

/** The window that keeps a tier beyond its end; undefined where none does before it comes, or nothing ends. */
function keepWindow(look: Look, state: Earned): KeepWindow | undefined {
  const { ladder, joinedDay, day } = look;
  const last = lastDayOf(look, state);
  if (last === undefined || state.untilDay === undefined) return undefined;
  if (endsWithTier(ladder.period)) return { counted: lastWindow(look, state, last), byDay: last };
  const used = Math.max(state.qualified?.fromDay ?? -1, state.spent?.fromDay ?? -1);
  let window = windowAt(ladder, joinedDay, state, day);
  for (let ahead = 0; ahead < windowsAheadMax && window.fromDay <= last; ahead += 1) {
    const end = endOfKeeping(ladder, joinedDay, state, window.throughDay) ?? endlessDay;
    if (window.fromDay > used && end > state.untilDay)
      return { counted: window, byDay: Math.min(window.throughDay, last) };
    window = windowAt(ladder, joinedDay, state, window.throughDay + 1);
  }
  return undefined;
}

/** What keeps the tier that was earned. */
export function earnedKeep(look: Look, state: Earned): GoalProgress | undefined {
  const window = keepWindow(look, state);
  if (!window) return undefined;
  const { name, keep } = look.ladder.tiers[levelOf(look.ladder, state.tier)]!;
  if (keep.length === 0) return undefined;
  const amountOf = countedIn(look, state, window.counted);
  const isKept = isMet(keep, amountOf);
  return { tier: name, isMet: isKept, goals: nearest(keep, amountOf), byDay: window.byDay };
}

/** What a trial has to reach so that it stays. */
export function challengeKeep(look: Look, grant: Grant): GoalProgress | undefined {
  const window = challengeWindow(grant);
  if (!grant.challenge || !window || grant.challenge.metOnDay !== undefined) return undefined;
  const { needed } = grant.challenge;
  const amountOf = amountsIn(look, window);
  return {
    ...{ tier: grant.tier, isMet: isMet(needed, amountOf), goals: nearest(needed, amountOf) },
    byDay: window.throughDay,
  };
}

/** The next tier above a level that can be earned, and what is missing to it. */
export function nextTier(look: Look, state: Earned, level: number): GoalProgress | undefined {
  const { ladder, joinedDay, day } = look;
  const next = ladder.tiers.find(({ reach }, place) => place > level && reach.length > 0);
  if (!next) return undefined;
  const window = windowAt(ladder, joinedDay, state, day);
  const amountOf = countedIn(look, state, window);
  const goals = nearest(next.reach, amountOf);
  return {
    ...{ tier: next.name, isMet: isMet(next.reach, amountOf), goals },
    ...(endsWithTier(ladder.period) ? {} : { byDay: window.throughDay }),
  };
}
