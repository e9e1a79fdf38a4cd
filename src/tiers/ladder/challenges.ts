/**
 * PURE. Trials and what keeps them. A challenge that was met counts as a promotion on that day: from then on the tier is earned,
 * so that a keep that is less than reach, a soft landing, warnings and returns are those of everybody else. The trial itself
 * goes on to its end as what it was, a floor.
 */
import { carriedInto } from './carry.ts';
import { amountsIn, isMet, type Look, nearest } from './counting.ts';
import { levelOf, remembered, settled, spentOn, without } from './earned.ts';
import type { Day, Earned, Grant, Step, Window } from './types.ts';
import { endlessDay, endOfPromotion, splitsAtPromotion, windowAt } from './windows.ts';

/** The days that a challenge counts; undefined without one. A trial that somebody ended counts nothing after its end. */
export function challengeWindow({ fromDay, untilDay, challenge }: Grant): Window | undefined {
  if (!challenge) return undefined;
  return { fromDay, throughDay: Math.min(challenge.throughDay, untilDay ?? endlessDay) };
}

/** The day on which a challenge was met, or would be now. */
export function metOnDay(look: Pick<Look, 'day'>, { challenge }: Grant, { throughDay }: Window): Day {
  return challenge?.metOnDay ?? Math.min(look.day, throughDay);
}

/** What is earned by a challenge that was met; undefined where as much is earned already, or it would have ended by now. */
function reachedBy(look: Look, state: Earned, grant: Grant, counted: Window): Earned | undefined {
  const { ladder, joinedDay, day } = look;
  const onDay = metOnDay(look, grant, counted);
  const untilDay = endOfPromotion(ladder, joinedDay, state, onDay);
  const level = levelOf(ladder, grant.tier);
  const above = level - levelOf(ladder, state.tier);
  const isLonger = (untilDay ?? endlessDay) > (state.untilDay ?? endlessDay);
  if (level === 0 || above < 0 || (above === 0 && !isLonger) || (untilDay ?? endlessDay) < day)
    return undefined;
  const window = windowAt(ladder, joinedDay, state, onDay);
  const isSplit = splitsAtPromotion(ladder) && (state.promotion?.onDay ?? -1) < onDay;
  const carried = isSplit ? carriedInto(look, state, window) : {};
  const tier = ladder.tiers[level]!.name;
  const isSpent = state.spent !== undefined && state.spent.fromDay >= window.fromDay;
  return {
    ...without(state, 'qualified', 'wrongSinceDay', 'untilDay', 'before'),
    ...{ tier, sinceDay: above === 0 ? state.sinceDay : day },
    ...(untilDay === undefined ? {} : { untilDay }),
    ...(isSplit ? { promotion: { onDay, endedFromDay: window.fromDay, carried } } : {}),
    ...(isSpent ? {} : spentOn(look, window, tier)),
    how: 'reached',
    qualified: { ...counted, onDay, by: 'challenge', needed: grant.challenge!.needed },
    before: remembered(state),
  };
}

interface Tried {
  readonly earned: Earned;
  readonly grants: readonly Grant[];
}

/** One grant with what it says of its challenge: met on this day, or not met any more. */
function marked(look: Look, grant: Grant, window: Window, isNowMet: boolean): Grant {
  const { metOnDay: before, ...challenge } = grant.challenge!;
  if ((before !== undefined) === isNowMet) return grant;
  if (!isNowMet) return { ...grant, challenge };
  return { ...grant, challenge: { ...challenge, metOnDay: metOnDay(look, grant, window) } };
}

/** Looks at the challenges of a member whose ends have been decided. */
export function afterChallenges(look: Look, { earned, grants }: Tried, steps: Step[]): Tried {
  let state = earned;
  const after = grants.map((grant) => {
    const window = challengeWindow(grant);
    if (!window || look.day < window.fromDay || window.throughDay < window.fromDay) return grant;
    const { needed } = grant.challenge!;
    const amountOf = amountsIn(look, window);
    const isNowMet = isMet(needed, amountOf);
    const reached = isNowMet ? reachedBy(look, state, grant, window) : undefined;
    if (reached) {
      const ends = reached.untilDay === undefined ? {} : { untilDay: reached.untilDay };
      const counted = nearest(needed, amountOf);
      steps.push({
        what: 'challenge_met',
        ...{ from: state.tier, to: reached.tier, window, counted, ...ends, grant: grant.id },
      });
      state = settled(look, reached, steps);
    }
    return marked(look, grant, window, isNowMet);
  });
  const isSame = after.every((grant, i) => grant === grants[i]);
  return { earned: state, grants: isSame ? grants : after };
}
