/** PURE. What a part of a pool's redemption is worth: its share of the whole, so that all parts together are worth the whole. */
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { capturedWorth, type KeptWorth, portionOf, type WorthPart } from '#src/redemption/worth.ts';
import { type Price, sumOf } from './plan.ts';
import { type Part, type Payment, type PoolRedemption, paymentOf } from './redemption-rows.ts';

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
export function partWorth(redemption: PoolRedemption, part: Part): Worth {
  const paying = redemption.parts.filter(({ state }) => state === 'held' || state === 'captured');
  const earlier = sumOf(paying.filter((each) => each.part < part.part).map(({ points }) => points));
  const own = sumOf([part.points]);
  const { worth, value, points: whole } = paymentOf(redemption);
  if (worth) {
    const parts = worth.parts.flatMap(([currency, points, amount]): WorthPart[] => {
      const mine = own.get(currency) ?? 0;
      if (mine === 0) return [];
      return [[currency, mine, shareOf(amount, earlier.get(currency) ?? 0, mine, points)]];
    });
    const amount = parts.reduce((sum, each) => sum + each[2], 0);
    return { worth: { ...worth, parts, value: { ...worth.value, amount } } };
  }
  if (!value) return {};
  const total = (sums: ReadonlyMap<number, number>) =>
    [...sums.values()].reduce((sum, each) => sum + each, 0);
  return { value: { ...value, amount: shareOf(value.amount, total(earlier), total(own), whole) } };
}

/** What a capture of so many points of a hold pays; all of it where no number is said. A part is worth the part of it. */
export function capturedPayment(redemption: PoolRedemption, points: number | undefined): Payment {
  const held = paymentOf(redemption);
  if (points === undefined) return held;
  const price: Price = held.price.map(([currency]) => [currency, points]);
  const { worth, value } = held;
  return {
    price,
    points,
    ...(worth ? { worth: capturedWorth(worth, points) } : {}),
    ...(value ? { value: { ...value, amount: portionOf(value.amount, points, held.points) } } : {}),
  };
}

/** The points of each held part that pay a price, the first parts first; those of the others go back. */
export function capturedParts(parts: readonly Part[], price: Price): Pick<Part, 'part' | 'points'>[] {
  const left = new Map(price);
  return parts.map(({ part, points }) => ({
    part,
    points: points
      .map(([currency, has]): [number, number] => {
        const taken = Math.min(has, left.get(currency) ?? 0);
        left.set(currency, (left.get(currency) ?? 0) - taken);
        return [currency, taken];
      })
      .filter(([, taken]) => taken > 0),
  }));
}
