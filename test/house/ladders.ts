/** Ladders in tests: one made from what a file says, and a member who walks it day by day with a list of receipts. */
import type { z } from 'zod';
import type { ladderSchema } from '#src/earning/file/ladder-schema.ts';
import { programFileSchema } from '#src/earning/file/schema.ts';
import { calendarDayOf, dayNumberOfDate } from '#src/earning/rules/calendar.ts';
import { asksOf } from '#src/tiers/ladder/asks.ts';
import { laddersOf } from '#src/tiers/ladder/compile.ts';
import { progress, review } from '#src/tiers/ladder/review.ts';
import {
  type Day,
  type Grant,
  type Ladder,
  type LadderAsk,
  type LadderMember,
  measureKey,
  type Progress,
  type Review,
  type Step,
  type Sums,
  sumsBy,
} from '#src/tiers/ladder/types.ts';

export const dayOf = dayNumberOfDate;
export const dateOf = (day: Day) => calendarDayOf(day).date;

type LadderInput = z.input<typeof ladderSchema>;

/** A ladder as a file would say it; `points` is the currency with number 1, `credits` the one with number 2. */
export function ladderFrom(input: Omit<LadderInput, 'name'>): Ladder {
  const currencies = [{ code: 'points' }, { code: 'credits' }];
  const file = programFileSchema.parse({
    timeZone: 'Europe/Paris',
    currencies,
    ladders: [{ name: 'club', ...input }],
  });
  const numbers = { currencies: { points: 1, credits: 2 }, funders: {}, counters: {}, budgets: {} };
  return laddersOf({ ladders: file.ladders, numbers })[0]!;
}

/** Tiers that look at spend alone: `{ silver: 100, gold: [200, 150] }` is silver from 100 and gold from 200, kept from 150. */
export function spendTiers(
  goals: Readonly<Record<string, number | readonly [reach: number, keep: number]>>,
): LadderInput['tiers'] {
  const spend = (atLeast: number) => ({ all: [{ measure: 'spend' as const, atLeast }] });
  const tiers = Object.entries(goals).map(([name, goal]) =>
    typeof goal === 'number'
      ? { name, reach: spend(goal) }
      : { name, reach: spend(goal[0]), keep: spend(goal[1]) },
  );
  return [{ name: 'base' }, ...tiers];
}

/** What was done on a day; what came back is negative. */
export interface Deed {
  readonly day: Day;
  readonly spend?: number;
  readonly visits?: number;
  readonly flights?: number;
  readonly distance?: number;
  readonly points?: number;
  readonly credits?: number;
}

const keys: Readonly<Record<string, keyof Deed>> = { 'points:1': 'points', 'points:2': 'credits' };

export function sumOf(deeds: readonly Deed[], { measure, fromDay, throughDay }: LadderAsk): number {
  const within = deeds.filter(({ day }) => fromDay <= day && day <= throughDay);
  if (measure === 'active_months') {
    const months = Map.groupBy(within, ({ day }) => dateOf(day).slice(0, 7));
    return [...months.values()].filter((ofMonth) => ofMonth.some(({ visits = 0 }) => visits > 0)).length;
  }
  const key = measureKey(measure);
  return within.reduce((sum, deed) => sum + Number(deed[keys[key] ?? (key as keyof Deed)] ?? 0), 0);
}

export function sumsFor(ladder: Ladder, member: LadderMember, day: Day, deeds: readonly Deed[]): Sums {
  const asks = asksOf(ladder, member, day);
  return sumsBy(
    asks,
    asks.map((ask) => sumOf(deeds, ask)),
  );
}

export interface Walk {
  readonly deeds: Deed[];
  member: LadderMember;
  /** Reviews on a day; the state is stored. */
  on(date: string | Day): Review;
  /** Something is done on a day and reviewed on that day, or on the one on which it arrives. */
  does(date: string, deed: number | Omit<Deed, 'day'>, arrives?: string): Review;
  /** The tier on a day and the last day of its validity: `gold through 2027-12-31`. */
  standing(date: string): string;
  /** What happened since the walk began: `promoted silver`. */
  readonly said: string[];
  grant(grant: Omit<Grant, 'id' | 'reason'>): void;
  progress(date: string): Progress;
}

function stepText({ what, to, untilDay }: Step): string {
  return untilDay === undefined ? `${what} ${to}` : `${what} ${to} ${dateOf(untilDay)}`;
}

/** A member from the day of joining on. A number that is done is spend. */
export function walkOn(ladder: Ladder, joined: string): Walk {
  const walk: Walk = {
    deeds: [],
    said: [],
    member: { joinedDay: dayOf(joined), grants: [] },
    on(date) {
      const day = typeof date === 'number' ? date : dayOf(date);
      const found = review(ladder, walk.member, day, sumsFor(ladder, walk.member, day, walk.deeds));
      walk.member = { ...walk.member, earned: found.earned, grants: found.grants };
      walk.said.push(...found.steps.map((step) => `${dateOf(day)} ${stepText(step)}`));
      return found;
    },
    does(date, deed, arrives = date) {
      walk.deeds.push({ day: dayOf(date), ...(typeof deed === 'number' ? { spend: deed } : deed) });
      return walk.on(arrives);
    },
    standing(date) {
      const { tier, untilDay } = walk.on(date).standing;
      return untilDay === undefined ? tier : `${tier} through ${dateOf(untilDay)}`;
    },
    grant(grant) {
      const id = `g${walk.member.grants.length + 1}`;
      walk.member = { ...walk.member, grants: [...walk.member.grants, { id, reason: 'test', ...grant }] };
    },
    progress(date) {
      const day = dayOf(date);
      return progress(ladder, walk.member, day, sumsFor(ladder, walk.member, day, walk.deeds));
    },
  };
  return walk;
}
