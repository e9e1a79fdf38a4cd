/**
 * PURE. What points cost, in exact fractions of minor units. A rule whose budget says what a point costs, costs that; every
 * other what a point is worth at the till by the program's most general redemption rule. A liability is what the points
 * that a member still has are worth, whoever paid for them.
 */
import type { Fraction } from '../file/basics-schema.ts';
import type { Definition } from '../file/definition.ts';

interface Share {
  readonly funder: string;
  readonly percent: number;
}

export interface Costs {
  /** Minor units that a point of a rule costs; undefined where the file does not say what points are worth. */
  costOf(rule: string, currency: string): Fraction | undefined;
  /** Minor units that a point of a currency is worth. */
  worthOf(currency: string): Fraction | undefined;
  /** Who bears a rule's cost; percentages that sum to 100. */
  sharesOf(rule: string): readonly Share[];
}

/** The last rule is the one that holds where no narrower one does. */
function exchangeOf({ redemption }: Definition, currency: string): Fraction | undefined {
  const exchange = redemption.filter((rule) => rule.currency === currency).at(-1)?.exchange;
  return exchange && [exchange.minorUnits, exchange.points];
}

export function costsOf(definition: Definition): Costs {
  const givers = new Map([...definition.rules, ...definition.promotions].map((each) => [each.name, each]));
  const costPerPoint = new Map(definition.budgets.map((budget) => [budget.name, budget.costPerPoint]));
  const worthOf = (currency: string) => exchangeOf(definition, currency);
  return {
    worthOf,
    costOf(rule, currency) {
      const budget = givers.get(rule)?.budget;
      return (budget === undefined ? undefined : costPerPoint.get(budget)) ?? worthOf(currency);
    },
    sharesOf(rule) {
      const giver = givers.get(rule);
      return giver?.costShares ?? [{ funder: giver?.funder ?? 'program', percent: 100 }];
    },
  };
}

/** points × a fraction, rounded down towards zero; the currency of money that the program counts in. */
export function moneyOf(points: number, [numerator, denominator]: Fraction): number {
  return Number((BigInt(points) * BigInt(numerator)) / BigInt(denominator));
}

/** The money that the costs are in; undefined where the file names none. */
export function moneyCurrencyOf({ redemption, money, moneyCurrencies }: Definition): string | undefined {
  return redemption.at(-1)?.exchange.money ?? money?.currency ?? moneyCurrencies?.[0];
}
