/** PURE. The parameters of both models for a sample of members, from what was counted of them. */
import { type BuyingParameters, countedHistories, fitBuying, type History } from './bgnbd.ts';
import { fitSpending, type Spending, type SpendingParameters } from './gamma-gamma.ts';
import type { Counted } from './scores.ts';

export type Sampled = Pick<Counted, 'firstDay' | 'lastDay' | 'purchaseDays' | 'repeatSpend'>;

/** Fewer who bought again tell nothing of how people come back. */
export const repeatersMin = 50;
const weekDays = 7;

export interface Models {
  readonly buying: BuyingParameters;
  /** Absent where too few repeat purchases cost anything. */
  readonly spending?: SpendingParameters;
  readonly sampled: number;
  readonly repeaters: number;
  readonly buyingLogLikelihood: number;
  /** False where the search for parameters was ended by its bound. */
  readonly isFound: boolean;
}

/** Why there are no models. */
export interface NoModels {
  readonly missing: string;
  readonly sampled: number;
  readonly repeaters: number;
}

/** Days as the weeks in which the models count; with them the parameters are of the size that is published of other shops. */
export function weeksOf(days: number): number {
  return days / weekDays;
}

export function historyOf({ firstDay, lastDay, purchaseDays }: Sampled, throughDay: number): History {
  return {
    repeats: purchaseDays - 1,
    recency: weeksOf(lastDay - firstDay),
    age: weeksOf(throughDay - firstDay),
  };
}

/** Undefined of members of whom no amount of a repeat purchase is known. */
export function spendingOf({ purchaseDays, repeatSpend }: Sampled): Spending | undefined {
  const purchases = purchaseDays - 1;
  return purchases > 0 && repeatSpend > 0 ? { purchases, mean: repeatSpend / purchases } : undefined;
}

/** Fits both models. */
export function modelsOf(sample: readonly Sampled[], throughDay: number): Models | NoModels {
  const sampled = sample.length;
  const repeaters = sample.filter(({ purchaseDays }) => purchaseDays > 1).length;
  if (repeaters < repeatersMin)
    return { missing: `of ${sampled} members only ${repeaters} have bought again`, sampled, repeaters };
  const buying = fitBuying(countedHistories(sample.map((each) => historyOf(each, throughDay))));
  const spendings = sample.map(spendingOf).filter((each) => each !== undefined);
  const spending = spendings.length >= repeatersMin ? fitSpending(spendings) : undefined;
  return {
    buying: buying.parameters,
    ...(spending ? { spending: spending.parameters } : {}),
    sampled,
    repeaters,
    buyingLogLikelihood: buying.logLikelihood,
    isFound: buying.isFound && (spending?.isFound ?? true),
  };
}
