/**
 * PURE. Budgets of a draft while receipts are replayed: used after caps, in the order of the replay, and given back by what is
 * taken back. They are counted in points, as the ledger does (`budgets.ts`).
 *
 * In the ledger all shards draw on a budget at once by leases, so which receipt got its last points follows from nothing that
 * a receipt says. As long as a budget has the ledger's terms and was used as far as there, the ledger's decision about the
 * same award is taken; from where they part, the budget is used in the order of the ledger, and pacing over the day is left
 * out.
 */
import type { Points } from '#src/values.ts';
import { pointsOfBudget } from '../budgets.ts';
import type { Definition } from '../file/definition.ts';
import type { Budget } from '../file/earning-schema.ts';
import type { KeptAward } from '../judge.ts';
import { moneyOf } from './costs.ts';
import type { WithinBudget } from './counters.ts';

export interface BudgetBurn {
  readonly budget: string;
  readonly total: Points;
  readonly used: Points;
  /** What the used points cost, in minor units; null where the budget is one of points. */
  readonly money: number | null;
  /** The day on which it first could not give all that was asked for. */
  readonly emptySince: string | null;
  readonly days: readonly { readonly date: string; readonly used: Points }[];
}

interface Standing {
  readonly budget: Budget;
  readonly total: Points;
  used: Points;
  usedInLedger: Points;
  emptySince: string | null;
  readonly days: Map<string, Points>;
}

/** A receipt as the ledger has it: the version that judged it, what was asked for and what was given of each award. */
export interface InLedger {
  readonly definition: Definition;
  readonly asked: readonly KeptAward[];
  readonly given: readonly KeptAward[];
}

export interface Budgets {
  /** The points that budgets leave of the awards of a receipt on a day. */
  on(date: string, receipt: InLedger): WithinBudget;
  /** What the ledger's receipt took of its budgets, or what came back to them. */
  inLedger(definition: Definition, awards: readonly KeptAward[], sign: 1 | -1): void;
  giveBack(rule: string, points: Points, date: string): void;
  burns(): BudgetBurn[];
}

function budgetsByRule({ rules, promotions }: Definition): ReadonlyMap<string, string> {
  return new Map([...rules, ...promotions].flatMap(({ name, budget }) => (budget ? [[name, budget]] : [])));
}

/** What the ledger gave of an award for which it asked the same. */
function givenInLedger({ asked, given }: InLedger, award: KeptAward): Points | undefined {
  const index = asked.findIndex(({ rule, currency }) => rule === award.rule && currency === award.currency);
  return asked[index]?.points === award.points ? given[index]?.points : undefined;
}

export function createBudgets(draft: Definition): Budgets {
  const budgetOf = budgetsByRule(draft);
  const standings = new Map<string, Standing>(
    draft.budgets.map((budget) => [
      budget.name,
      {
        ...{ budget, total: pointsOfBudget(budget), used: 0, usedInLedger: 0 },
        emptySince: null,
        days: new Map<string, Points>(),
      },
    ]),
  );
  /** By version of the ledger: which rules draw on a budget that has the draft's terms. */
  const alike = new Map<Definition, ReadonlyMap<string, Standing>>();

  function alikeIn(definition: Definition): ReadonlyMap<string, Standing> {
    const known = alike.get(definition);
    if (known) return known;
    const terms = new Map(definition.budgets.map((budget) => [budget.name, JSON.stringify(budget)]));
    const made = new Map<string, Standing>();
    for (const [rule, name] of budgetsByRule(definition)) {
      const standing = standings.get(name);
      if (standing && terms.get(name) === JSON.stringify(standing.budget)) made.set(rule, standing);
    }
    alike.set(definition, made);
    return made;
  }

  function use(standing: Standing, points: Points, date: string): void {
    standing.used += points;
    standing.days.set(date, (standing.days.get(date) ?? 0) + points);
  }

  function ownDecision({ budget, total, used }: Standing, points: Points): Points {
    const rest = Math.max(0, total - used);
    if (rest >= points) return points;
    return budget.whenFull === 'trim' ? rest : 0;
  }

  return {
    on(date, receipt) {
      const ledger = alikeIn(receipt.definition);
      // Asked before the receipt's first award changes anything.
      const followed = new Set(
        [...standings.values()].filter(({ used, usedInLedger }) => used === usedInLedger),
      );
      return (award, points) => {
        const standing = standings.get(award.budget!);
        if (!standing || points === 0) return points;
        const follows = followed.has(standing) && ledger.get(award.rule) === standing;
        const decided = follows ? givenInLedger(receipt, award) : undefined;
        const given = decided === undefined ? ownDecision(standing, points) : Math.min(points, decided);
        if (given < points) standing.emptySince ??= date;
        if (given > 0) use(standing, given, date);
        return given;
      };
    },
    inLedger(definition, awards, sign) {
      const ledger = alikeIn(definition);
      if (ledger.size === 0) return;
      for (const { rule, points } of awards) {
        const standing = ledger.get(rule);
        if (standing) standing.usedInLedger += sign * points;
      }
    },
    giveBack(rule, points, date) {
      const standing = standings.get(budgetOf.get(rule) ?? '');
      if (standing) use(standing, -points, date);
    },
    burns: () =>
      [...standings.values()].map(({ budget, total, used, emptySince, days }) => ({
        budget: budget.name,
        total,
        used,
        money:
          budget.minorUnits !== undefined && budget.costPerPoint ? moneyOf(used, budget.costPerPoint) : null,
        emptySince,
        days: [...days]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([date, points]) => ({ date, used: points })),
      })),
  };
}
