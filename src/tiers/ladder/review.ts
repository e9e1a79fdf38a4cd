/**
 * PURE. The review of one member on one ladder: what was earned is brought to the day (`earned.ts`), challenges are looked at,
 * and the standing that holds is the highest of both.
 *
 * It is called after the day's receipts were counted, and on the days that it names itself (`nextDay`). It sees the days through
 * the one it is called for and none after it, so that a night that is caught up finds what it would have found. A receipt that
 * is dated after midnight by a clock that is minutes fast waits for a review of its day. Reviews go forward: a day before the
 * one on which the state began is that one.
 */
import { afterChallenges } from './challenges.ts';
import type { Look } from './counting.ts';
import {
  afterLateReceipts,
  afterReturns,
  heldThrough,
  isBehind,
  lastDayOf,
  levelOf,
  reviewDay,
  settled,
  startOf,
  underLadder,
} from './earned.ts';
import { challengeKeep, earnedKeep, endsWithTier, nextTier } from './progress.ts';
import type {
  Day,
  Earned,
  GoalProgress,
  Grant,
  Ladder,
  LadderMember,
  Progress,
  Review,
  Standing,
  Step,
  Sums,
  Warning,
} from './types.ts';
import { endlessDay, windowAt } from './windows.ts';

function earnedOn(look: Look, earned: Earned | undefined, steps: Step[]): Earned {
  const { ladder, joinedDay, day } = look;
  const present = underLadder(ladder, joinedDay, earned ?? startOf(ladder, joinedDay), day);
  return settled(look, afterLateReceipts(look, afterReturns(look, present, steps), steps), steps);
}

function isActive({ fromDay, untilDay }: Grant, day: Day): boolean {
  return fromDay <= day && day <= (untilDay ?? endlessDay);
}

function earnedStanding(look: Look, state: Earned): Standing {
  const last = lastDayOf(look, state);
  return {
    ...{ tier: state.tier, level: levelOf(look.ladder, state.tier), sinceDay: state.sinceDay },
    ...(state.untilDay === undefined ? {} : { untilDay: state.untilDay }),
    ...(last === undefined ? {} : { holdsThroughDay: last }),
    ...{ origin: 'earned', how: state.how },
  };
}

function grantStanding({ ladder }: Look, { tier, fromDay, untilDay, origin, id }: Grant): Standing {
  const level = levelOf(ladder, tier);
  const ends = untilDay === undefined ? {} : { untilDay, holdsThroughDay: untilDay };
  return { tier: ladder.tiers[level]!.name, level, sinceDay: fromDay, ...ends, origin, grant: id };
}

/** The highest; of equals the one that was earned, else the one that holds longest. */
function standingOf(look: Look, state: Earned, grants: readonly Grant[]): Standing {
  let best = earnedStanding(look, state);
  for (const grant of grants.filter((each) => isActive(each, look.day))) {
    const other = grantStanding(look, grant);
    const isLonger = (other.holdsThroughDay ?? endlessDay) > (best.holdsThroughDay ?? endlessDay);
    if (other.level > best.level || (other.level === best.level && best.origin !== 'earned' && isLonger))
      best = other;
  }
  return best;
}

/** What keeps the standing that holds; nothing where another one of at least its height goes on after its end. */
function keepOf(
  look: Look,
  state: Earned,
  grants: readonly Grant[],
  standing: Standing,
): GoalProgress | undefined {
  const last = standing.holdsThroughDay;
  if (last === undefined) return undefined;
  const granted = grants
    .filter((grant) => isActive(grant, last + 1))
    .map((grant) => grantStanding(look, grant));
  const goesOn = [earnedStanding(look, state), ...granted].some(
    ({ level, holdsThroughDay }) => level >= standing.level && (holdsThroughDay ?? endlessDay) > last,
  );
  if (goesOn) return undefined;
  if (standing.origin === 'earned') return earnedKeep(look, state);
  const grant = grants.find(({ id }) => id === standing.grant);
  return grant && challengeKeep(look, grant);
}

/** The warning that is due: of several the one nearest to the end. */
function warningsOf({ ladder, day }: Look, keep: GoalProgress | undefined): readonly Warning[] {
  if (!keep || keep.isMet || keep.byDay === undefined) return [];
  const lastDay = keep.byDay;
  const due = ladder.warnDays.filter((days) => lastDay - days <= day && day <= lastDay);
  if (due.length === 0) return [];
  const daysBefore = Math.min(...due);
  return [{ daysBefore, lastDay, onDay: lastDay - daysBefore, keep }];
}

function nextDayOf(
  look: Look,
  state: Earned,
  grants: readonly Grant[],
  keep: GoalProgress | undefined,
): Day | undefined {
  const { ladder, joinedDay, day } = look;
  if (isBehind(look, state)) return day;
  const days: (Day | undefined)[] = [lastDayOf(look, state)].map((last) => last && last + 1);
  // Where windows have no end of their own, what they hold when grace begins is enough.
  if (endsWithTier(ladder.period) && ladder.grace && state.untilDay !== undefined)
    days.push(state.untilDay + 1);
  if (state.wrongSinceDay !== undefined) {
    const held = heldThrough(look, state, state.wrongSinceDay);
    days.push(held && held + 1, look.protectedThroughDay && look.protectedThroughDay + 1);
  }
  for (const { fromDay, untilDay } of grants)
    days.push(fromDay, untilDay === undefined ? undefined : untilDay + 1);
  // What is carried into the next window may keep a tier on its first day.
  if (ladder.atPeriodEnd === 'roll_over' || ladder.atPromotion === 'roll_over')
    days.push(windowAt(ladder, joinedDay, state, day).throughDay + 1);
  const byDay = keep?.isMet === false ? keep.byDay : undefined;
  if (byDay !== undefined) days.push(...ladder.warnDays.map((before) => byDay - before));
  const ahead = days.filter((each) => each !== undefined && each > day && each <= endlessDay) as Day[];
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}

function lookAt(ladder: Ladder, member: LadderMember, day: Day, sums: Sums): Look {
  const { joinedDay, protectedThroughDay } = member;
  return { ladder, joinedDay, day: reviewDay(member, day), protectedThroughDay, sums };
}

/** What the member's standing is on a day, what to store of it, and why. `sums` answers `asksOf` of the same arguments. */
export function review(ladder: Ladder, member: LadderMember, day: Day, sums: Sums): Review {
  const look = lookAt(ladder, member, day, sums);
  const steps: Step[] = [];
  const settledState = earnedOn(look, member.earned, steps);
  const { earned, grants } = isBehind(look, settledState)
    ? { earned: settledState, grants: member.grants }
    : afterChallenges(look, { earned: settledState, grants: member.grants }, steps);
  const standing = standingOf(look, earned, grants);
  const keep = isBehind(look, earned) ? undefined : keepOf(look, earned, grants, standing);
  const nextDay = nextDayOf(look, earned, grants, keep);
  return {
    ...{ earned, grants, standing, steps },
    warnings: warningsOf(look, keep),
    ...(nextDay === undefined ? {} : { nextDay }),
  };
}

/** How far it is, for a member as the last review left it. `sums` answers `asksOf` of the same arguments. */
export function progress(ladder: Ladder, member: LadderMember, day: Day, sums: Sums): Progress {
  const look = lookAt(ladder, member, day, sums);
  const earned = underLadder(
    ladder,
    look.joinedDay,
    member.earned ?? startOf(ladder, look.joinedDay),
    look.day,
  );
  const standing = standingOf(look, earned, member.grants);
  const next = nextTier(look, earned, standing.level);
  const keep = keepOf(look, earned, member.grants, standing);
  return { standing, ...(next ? { next } : {}), ...(keep ? { keep } : {}) };
}
