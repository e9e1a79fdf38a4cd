/** PURE. What a part of a pool's redemption is worth: its share of the whole, so that all parts together are worth the whole. */
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { type KeptWorth, portionOf, type WorthPart } from '#src/redemption/worth.ts';
import { sumOf } from './plan.ts';
import type { Part, PoolRedemption } from './redemption-rows.ts';

interface Worth {
  readonly worth?: KeptWorth;
  /** Where no rule said what the points are worth, but the caller. */
  readonly value?: MoneyAmount;
}

/** Of `amount` for `whole` points, what falls on those after the first `before`: shares of cumulative totals. */
function shareOf(amount: number, before: number, points: number, whole: number): number {
  return portionOf(amount, before + points, whole) - portionOf(amount, before, whole);
}

/** What one of the parts that pay is worth. They are fixed once the redemption is decided, and so is this. */
export function partWorth(
  redemption: Pick<PoolRedemption, 'parts' | 'worth' | 'request' | 'points'>,
  part: Part,
): Worth {
  const paying = redemption.parts.filter(({ state }) => state === 'held' || state === 'captured');
  const earlier = sumOf(paying.filter((each) => each.part < part.part).map(({ points }) => points));
  const own = sumOf([part.points]);
  const { worth } = redemption;
  if (worth) {
    const parts = worth.parts.flatMap(([currency, points, amount]): WorthPart[] => {
      const mine = own.get(currency) ?? 0;
      if (mine === 0) return [];
      return [[currency, mine, shareOf(amount, earlier.get(currency) ?? 0, mine, points)]];
    });
    const amount = parts.reduce((sum, each) => sum + each[2], 0);
    return { worth: { ...worth, parts, value: { ...worth.value, amount } } };
  }
  const value = redemption.request.value as MoneyAmount | undefined;
  if (!value) return {};
  const total = (sums: ReadonlyMap<number, number>) =>
    [...sums.values()].reduce((sum, each) => sum + each, 0);
  const amount = shareOf(value.amount, total(earlier), total(own), redemption.points);
  return { value: { ...value, amount } };
}
