/**
 * PURE. Budgets of a draft while receipts are replayed: one rest each, used in the order of the replay and given back by what
 * is taken back. Pacing over the day is not replayed. In the ledger a budget is used by all shards at once; where it runs
 * out, a replay may give its last points to another receipt than the tills would have.
 */
import type { Points } from '#src/values.ts';
import type { Definition } from '../file/definition.ts';
import type { Budget } from '../file/earning-schema.ts';
import type { WithinBudget } from './counters.ts';

export interface BudgetBurn {
  readonly budget: string;
  /** Points, or minor units where `isMoney`. */
  readonly total: number;
  readonly isMoney: boolean;
  readonly used: number;
  /** The day on which it first could not give all that was asked for. */
  readonly emptySince: string | undefined;
  readonly days: readonly { readonly date: string; readonly used: number }[];
}

interface Standing {
  readonly budget: Budget;
  readonly total: number;
  used: number;
  emptySince: string | undefined;
  readonly days: Map<string, number>;
}

export interface Budgets {
  /** The points that budgets leave of awards on a day. */
  on(date: string): WithinBudget;
  giveBack(budget: string, points: Points, date: string): void;
  burns(): BudgetBurn[];
}

/** What points take from a budget: money is rounded up, so that it is never overspent. */
function priceOf({ costPerPoint, minorUnits }: Budget, points: Points): number {
  if (minorUnits === undefined || !costPerPoint) return points;
  const [numerator, denominator] = costPerPoint;
  const cost = BigInt(points) * BigInt(numerator);
  return Number((cost + BigInt(denominator) - 1n) / BigInt(denominator));
}

function affordable({ costPerPoint, minorUnits }: Budget, rest: number): Points {
  if (minorUnits === undefined || !costPerPoint) return rest;
  const [numerator, denominator] = costPerPoint;
  return numerator === 0
    ? Number.MAX_SAFE_INTEGER
    : Number((BigInt(rest) * BigInt(denominator)) / BigInt(numerator));
}

export function createBudgets({ budgets }: Definition): Budgets {
  const standings = new Map<string, Standing>(
    budgets.map((budget) => [
      budget.name,
      {
        budget,
        total: budget.minorUnits ?? budget.points ?? 0,
        used: 0,
        emptySince: undefined,
        days: new Map(),
      },
    ]),
  );
  function use(standing: Standing, price: number, date: string): void {
    standing.used += price;
    standing.days.set(date, (standing.days.get(date) ?? 0) + price);
  }
  return {
    on: (date) => (award, points) => {
      const standing = standings.get(award.budget!);
      if (!standing || points === 0) return points;
      const rest = affordable(standing.budget, standing.total - standing.used);
      const isShort = rest < points;
      const given = isShort ? (standing.budget.whenFull === 'trim' ? rest : 0) : points;
      if (isShort) standing.emptySince ??= date;
      if (given > 0) use(standing, priceOf(standing.budget, given), date);
      return given;
    },
    giveBack(name, points, date) {
      const standing = standings.get(name);
      if (standing) use(standing, -Math.min(standing.used, priceBack(standing.budget, points)), date);
    },
    burns: () =>
      [...standings.values()].map(({ budget, total, used, emptySince, days }) => ({
        budget: budget.name,
        total,
        isMoney: budget.minorUnits !== undefined,
        used,
        emptySince,
        days: [...days].sort(([a], [b]) => (a < b ? -1 : 1)).map(([date, each]) => ({ date, used: each })),
      })),
  };
}

/** What comes back with points: rounded down, as the rest of an award may still cost what was rounded up. */
function priceBack({ costPerPoint, minorUnits }: Budget, points: Points): number {
  if (minorUnits === undefined || !costPerPoint) return points;
  return Number((BigInt(points) * BigInt(costPerPoint[0])) / BigInt(costPerPoint[1]));
}
