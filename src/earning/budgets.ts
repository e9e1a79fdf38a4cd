/**
 * PURE. What a budget of a program comes to at a moment. It is always counted in points: a budget of money pays for a whole
 * number of points, and so many can be given to the last one without any award being rounded. Where a later version says
 * another cost, what was given before counts at that too.
 */
import type { EpochMs, Points } from '#src/values.ts';
import { type BudgetStanding, type BudgetTerms, type Pace, pacedMax } from '#src/wallet/grants.ts';
import type { Budget } from './file/earning-schema.ts';
import { type Definition, type Program, type ProgramVersion, presentVersion, programNow } from './program.ts';
import { dayNumberOfDate, momentOf, spansOf } from './rules/calendar.ts';
import type { Award } from './rules/types.ts';

const dayMinutes = 1_440;

/** Whole points that a budget pays for. */
export function pointsOfBudget({ points, minorUnits, costPerPoint }: Omit<Budget, 'name'>): number {
  if (points !== undefined) return points;
  if (minorUnits === undefined || !costPerPoint || costPerPoint[0] === 0) return 0;
  const [numerator, denominator] = costPerPoint;
  const whole = (BigInt(minorUnits) * BigInt(denominator)) / BigInt(numerator);
  return Number(whole < Number.MAX_SAFE_INTEGER ? whole : Number.MAX_SAFE_INTEGER);
}

/** The last day of what a budget pays for, as `through` says; undefined where something has none. */
function lastDayOf({ rules, promotions }: Definition, name: string): number | undefined {
  const users = [...rules, ...promotions].filter(({ budget }) => budget === name);
  const days = users.map(({ during }) => during?.through && dayNumberOfDate(during.through));
  return days.every((day) => typeof day === 'number') ? Math.max(...days) : undefined;
}

function paceOf(definition: Definition, name: string, now: EpochMs): Pace {
  const { dayNumber } = momentOf(now, definition.timeZone);
  const spans = spansOf(dayNumber, 0, dayMinutes, definition.timeZone);
  const [start, end] = [spans[0]!.start, spans.at(-1)!.end];
  const lastDay = lastDayOf(definition, name) ?? dayNumber;
  return {
    day: dayNumber,
    elapsedMs: now - start,
    dayMs: end - start,
    daysLeft: Math.max(1, lastDay - dayNumber + 1),
  };
}

/** A budget by its number, as the version in force has it; one that it does not name any more, as the newest that did. */
export function budgetTerms(program: Program, number: number): BudgetTerms | undefined {
  for (const { definition } of [presentVersion(program), ...program.versions.toReversed()]) {
    const budget = definition.budgets.find(({ name }) => definition.numbers.budgets[name] === number);
    if (!budget) continue;
    const pointsMax = pointsOfBudget(budget);
    if (budget.pacing === 'none') return { pointsMax };
    return { pointsMax, pace: paceOf(definition, budget.name, programNow(program)) };
  }
  return undefined;
}

const untouched: Omit<BudgetStanding, 'budget'> = { consumed: 0, givenBack: 0, held: 0, day: 0, dayTaken: 0 };

export interface BudgetLeft {
  readonly given: Points;
  /** Neither given nor held by a shard. */
  readonly left: Points;
  /** What of `left` may be granted at this hour. */
  readonly leftNow: Points;
}

/** How much is left of a budget; it was never asked where nothing is known of it. */
export function budgetLeft(
  { pointsMax, pace }: BudgetTerms,
  { consumed, givenBack, held, day, dayTaken }: Omit<BudgetStanding, 'budget'> = untouched,
): BudgetLeft {
  const given = consumed - givenBack;
  const taken = given + held;
  const left = Math.max(0, pointsMax - taken);
  if (!pace) return { given, left, leftNow: left };
  // Before the first receipt of a day nobody has noted what was taken when it began: that is what is taken now.
  const atBeginning = day >= pace.day ? dayTaken : taken;
  return {
    given,
    left,
    leftNow: Math.min(left, Math.max(0, pacedMax(pace, pointsMax, atBeginning) - taken)),
  };
}

/** What budgets leave of awards: the points of each, and what was cut of which, numbered from 1. */
export interface WithinBudgets {
  readonly given: readonly Points[];
  readonly full: readonly (readonly [award: number, cut: Points])[];
}

/**
 * What would be given of awards if a receipt came now, by the books: what idle shards hold comes to whoever needs it, as
 * `limits.lua` and the grants have it. `points` are what caps leave.
 */
export function withinBudgets(
  program: Program,
  { definition }: ProgramVersion,
  awards: readonly Pick<Award, 'budget'>[],
  points: readonly Points[],
  standings: readonly BudgetStanding[],
): WithinBudgets {
  const rests = new Map<string, Points>();
  const full: [number, Points][] = [];
  const given = awards.map(({ budget: name }, i) => {
    const wanted = points[i]!;
    const budget = definition.budgets.find((each) => each.name === name);
    if (!budget || wanted === 0) return wanted;
    const number = definition.numbers.budgets[budget.name]!;
    const standing = standings.find((each) => each.budget === number);
    const { leftNow } = budgetLeft(budgetTerms(program, number)!, standing);
    const rest = rests.get(budget.name) ?? leftNow + (standing?.held ?? 0);
    const got = rest >= wanted ? wanted : budget.whenFull === 'trim' ? rest : 0;
    rests.set(budget.name, rest - got);
    if (got < wanted) full.push([i + 1, wanted - got]);
    return got;
  });
  return { given, full };
}
