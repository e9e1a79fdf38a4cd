/**
 * PURE. What a budget of a program comes to at a moment. It is always counted in points: a budget of money pays for a whole
 * number of points, and so many can be given to the last one without any award being rounded. Where a later version says
 * another cost, what was given before counts at that too.
 */
import type { EpochMs } from '#src/values.ts';
import type { BudgetTerms, Pace } from '#src/wallet/grants.ts';
import type { Budget } from './file/earning-schema.ts';
import { type Definition, type Program, presentVersion, programNow } from './program.ts';
import { dayNumberOfDate, momentOf, spansOf } from './rules/calendar.ts';

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
