/**
 * PURE. The shapes of a ladder: what a file says of it, compiled; what is known of a member; what a review answers.
 *
 * All times are days of the program's zone, counted from 1970-01-01 (`CalendarDay.dayNumber`), and every last day is still in.
 * A review depends on nothing but the ladder, the member's state, the day and the sums by day that it asked for: reviewing
 * twice on a day changes nothing, and the order in which receipts of a day or a period arrived is not in it.
 *
 * A member's tier has two sources. What was **earned** is a state that moves: up as soon as a period's sums reach a tier, kept
 * as soon as they reach what keeps it, down where its validity (and grace) ended without. **Grants** by people, matches and
 * trials are a floor under it, each with an origin, a reason and an end; they are never mixed into what was earned, except
 * that a trial whose challenge was met has earned its tier. The standing that holds is the higher of the two, and says which.
 *
 * Periods of counting are windows of days. `calendar_year` and `anniversary` follow each other without a gap;
 * `since_promotion` begins on the day after a promotion (for who has none, on the day of joining) and again after so many
 * months; `rolling_months` ends with the day that is looked at; `lifetime` never ends. Where a promotion resets or rolls over
 * what was counted, the window ends with the promotion's day and another begins on the day after it: the day itself belongs
 * to what was reached.
 *
 * What qualified a standing is remembered with what was needed then (`Qualified`). Every review looks at it again, so that a
 * return shows; a later version of the file with higher thresholds does not take a tier from anybody before its end.
 *
 * Not here: reading sums, storing states, telling anybody. `src/tiers/` does.
 */

import type { Measure } from '#src/diary/measures.ts';

export type Day = number;

/** At least so much of a measure. Spend in minor units of the program's money, distance in miles. */
export interface Goal {
  readonly measure: Measure;
  readonly atLeast: number;
}

/** Any of the lists, all of a list: `[[a, b], [c]]` is (a and b) or c. Empty: nothing meets it. */
export type Condition = readonly (readonly Goal[])[];

export interface LadderTier {
  readonly name: string;
  /** Names that it had in earlier versions. */
  readonly was: readonly string[];
  /** What has to be counted in a period to come up to it; empty for the first tier and for tiers that are only granted. */
  readonly reach: Condition;
  /** What has to be counted to stay; where the file says nothing, the same. */
  readonly keep: Condition;
  /** Nobody goes down from it by a review. */
  readonly isProtected: boolean;
}

export type CountingPeriod =
  | { readonly kind: 'calendar_year'; readonly firstMonth: number }
  | { readonly kind: 'rolling_months'; readonly months: number }
  | { readonly kind: 'anniversary' }
  | { readonly kind: 'since_promotion'; readonly months: number }
  | { readonly kind: 'lifetime' };

/** To which day a number of months is rounded up. Quarters and years are those of the calendar. */
export type Through = 'day' | 'month_end' | 'quarter_end' | 'year_end';

export interface MonthsThrough {
  readonly months: number;
  readonly through: Through;
}

export type Validity =
  | { readonly kind: 'end_of_period' }
  | { readonly kind: 'end_of_next_period' }
  | ({ readonly kind: 'months' } & MonthsThrough)
  | { readonly kind: 'for_ever' };

export type WhenTakenBack =
  | { readonly kind: 'until_end' }
  | { readonly kind: 'days'; readonly days: number }
  | { readonly kind: 'nothing' };

/** A ladder as `ladderOf` (compile.ts) makes it of a version's definition. */
export interface Ladder {
  readonly name: string;
  /** From the lowest up; the first is what everybody has. */
  readonly tiers: readonly LadderTier[];
  readonly period: CountingPeriod;
  readonly validity: Validity;
  readonly atPromotion: 'keep' | 'reset' | 'roll_over';
  readonly atPeriodEnd: 'reset' | 'roll_over';
  readonly down: 'none' | 'one_step' | 'earned';
  readonly grace: MonthsThrough | undefined;
  readonly whenTakenBack: WhenTakenBack;
  /** Days before the last one, the most first. */
  readonly warnDays: readonly number[];
}

/** From the first day through the last. */
export interface Window {
  readonly fromDay: Day;
  readonly throughDay: Day;
}

/** A sum that a review needs, for one member: `Ask` of `src/diary/reading.ts` without the member. */
export interface LadderAsk extends Window {
  readonly measure: Measure;
}

/** Carried amounts by `measureKey` (such as `spend` or `points:3`). */
export type Amounts = Readonly<Record<string, number>>;

/** What a standing rests on: the days that were counted, and what had to be met on them. */
export interface Qualified extends Window {
  /** The day on which it was found to be met. */
  readonly onDay: Day;
  readonly by: 'reach' | 'keep' | 'challenge';
  readonly needed: Condition;
  /** What was carried into the window, where the ladder rolls over. */
  readonly carried?: Amounts;
}

/**
 * What a member has earned on a ladder: the state that is stored, as JSON, and given to the next review.
 *
 * `how`: `start` everybody's first tier; `reached` by a promotion; `kept` what keeps it was met; `landed` one step down at the
 * end; `fell` to what was earned; `taken_back` a return took what was above it; `moved` by another version of the file.
 */
export interface Earned {
  readonly tier: string;
  readonly sinceDay: Day;
  /** The last day of its validity, without grace; absent: for ever. */
  readonly untilDay?: Day;
  readonly how: 'start' | 'reached' | 'kept' | 'landed' | 'fell' | 'taken_back' | 'moved';
  readonly qualified?: Qualified;
  /** The highest tier that a period gave so far: one period gives a tier once. */
  readonly spent?: { readonly fromDay: Day; readonly tier: string };
  /** The last promotion, where windows are counted from it, and the window that it ended. */
  readonly promotion?: { readonly onDay: Day; readonly endedFromDay: Day; readonly carried: Amounts };
  /** What was carried into the window that began on `fromDay`, where the ladder rolls over. */
  readonly carried?: { readonly fromDay: Day; readonly amounts: Amounts };
  /** Since when it is held although what qualified it was taken back. */
  readonly wrongSinceDay?: Day;
  /** What was earned before the window that qualified it: what a return goes back to, and what a late receipt is judged from. */
  readonly before?: Omit<Earned, 'before'>;
}

/** Why somebody has a tier that was not earned. `gifted`, `matched` and `lifetime` cannot be matched from by others. */
export type GrantOrigin = 'granted' | 'gifted' | 'lifetime' | 'matched' | 'trial' | 'alliance';

/** A tier given by a person, a match or a challenge: a floor under what is earned until it ends. */
export interface Grant {
  readonly id: string;
  /** The caller's own number or name of it, where a caller gave it. */
  readonly reference?: string;
  readonly tier: string;
  readonly origin: GrantOrigin;
  readonly reason: string;
  readonly fromDay: Day;
  /** Absent: for ever. */
  readonly untilDay?: Day;
  /**
   * What has to be counted from `fromDay` through `throughDay`, or through the grant's end where that comes first. Met, the tier
   * is earned as if it had been reached on that day (`metOnDay`): kept, landed from and taken back like any other. Not met, it
   * ends with `untilDay`.
   */
  readonly challenge?: {
    readonly needed: Condition;
    readonly throughDay: Day;
    readonly metOnDay?: Day;
  };
}

/** What is known of a member when a ladder is looked at. */
export interface LadderMember {
  readonly joinedDay: Day;
  /** Absent for who was never reviewed: the first tier, from the day of joining. */
  readonly earned?: Earned | undefined;
  readonly grants: readonly Grant[];
  /** Nothing goes down through this day, whatever was earned; Infinity: for ever. */
  readonly protectedThroughDay?: Day | undefined;
}

/** The tier that holds on a day, and why. */
export interface Standing {
  readonly tier: string;
  /** From 0, the first tier. */
  readonly level: number;
  readonly sinceDay: Day;
  /** The last day of its validity; absent: for ever. */
  readonly untilDay?: Day;
  /** The last day on which it holds though nothing is done for it: with grace. Absent: for ever. */
  readonly holdsThroughDay?: Day;
  readonly origin: 'earned' | GrantOrigin;
  readonly how?: Earned['how'];
  /** Of the grant that holds it. */
  readonly grant?: string;
}

/**
 * One thing that a review did, for the history and for the member; amounts are what was counted for the goals of the tier.
 * That a grant begins or ends is not among them: only the standings before and after tell whether it shows.
 */
export interface Step {
  readonly what:
    | 'promoted'
    | 'kept'
    | 'soft_landing'
    | 'fell'
    | 'taken_back'
    | 'held_though_taken_back'
    | 'qualified_again'
    | 'late_receipt'
    | 'challenge_met';
  readonly from: string;
  readonly to: string;
  readonly window?: Window;
  readonly counted?: readonly GoalCount[];
  readonly untilDay?: Day;
  readonly grant?: string;
}

/** A goal and what was counted for it. */
export interface GoalCount extends Goal {
  readonly counted: number;
  /** 0 where it is met. */
  readonly missing: number;
}

/** "N more by DATE to stay": due on `onDay`, once a member, ladder, last day and number of days before. */
export interface Warning {
  readonly daysBefore: number;
  readonly lastDay: Day;
  readonly onDay: Day;
  readonly keep: GoalProgress;
}

export interface Review {
  /** What to store. The same object as it was given where nothing is different. */
  readonly earned: Earned;
  /** What to store of the grants: challenges say when they were met. */
  readonly grants: readonly Grant[];
  readonly standing: Standing;
  /** What happened, in order; empty: nothing. */
  readonly steps: readonly Step[];
  readonly warnings: readonly Warning[];
  /**
   * The next day on which a review may find something without any new receipt; absent: never. Where it is not after the day
   * of the review, so many periods ended since the last one that the rest is for another call at once.
   */
  readonly nextDay?: Day;
}

/** How far a condition is met: the alternative that is nearest. */
export interface GoalProgress {
  readonly tier: string;
  readonly isMet: boolean;
  readonly goals: readonly GoalCount[];
  /** The last day that counts; absent: no end. */
  readonly byDay?: Day;
}

export interface Progress {
  readonly standing: Standing;
  /** Absent on the top. */
  readonly next?: GoalProgress;
  /** What keeps the tier beyond its end; absent where nothing has to be done. */
  readonly keep?: GoalProgress;
}

/** Sums by `askKey`; a review throws where one is missing that it needs. */
export type Sums = ReadonlyMap<string, number>;

/** The key of a measure in amounts and asks. */
export function measureKey(measure: Measure): string {
  return typeof measure === 'string' ? measure : `points:${measure.points}`;
}

export function askKey({ measure, fromDay, throughDay }: LadderAsk): string {
  return `${measureKey(measure)}:${fromDay}:${throughDay}`;
}

/** The answers of `sumsOf`, which are in the order of the asks. */
export function sumsBy(asks: readonly LadderAsk[], sums: readonly number[]): Sums {
  return new Map(asks.map((ask, i) => [askKey(ask), sums[i] ?? 0]));
}
