/**
 * PURE. What an exchange gives: base by the ratio, bonuses and blocks beside it, fee, and the bounds of the contract.
 *
 * Base and bonus are rounded apart, and bonuses add: +20 % and +10 % are +30 % of the base as it was rounded, not +32 %. All
 * arithmetic is in whole numbers without bounds (BigInt), and a result beyond 2^53-1 is refused in its own word, never rounded. The same
 * function makes the quote and the exchange, so the two cannot differ; a quote is kept with its result and not computed again.
 */
import type { Rounding } from '#src/earning/file/basics-schema.ts';
import { type EpochMs, pointsMax } from '#src/values.ts';
import { settledPartyOf } from '#src/wallet/lot-party.ts';
import type {
  CapPeriod,
  Contract,
  Direction,
  Earning,
  ExchangeCap,
  Fee,
  Partner,
  Period,
  Price,
  Rate,
  Used,
} from './types.ts';
import { capPeriods } from './types.ts';

/** Whether something is in force at an instant. */
export function holdsAt({ from, until }: Period, at: EpochMs): boolean {
  return from <= at && (until === null || at < until);
}

/** A whole number near `numerator / denominator`, neither of them negative. */
export function rounded(numerator: bigint, denominator: bigint, rounding: Rounding): bigint {
  const whole = numerator / denominator;
  const twice = 2n * (numerator % denominator);
  if (twice === 0n || rounding === 'floor') return whole;
  if (rounding === 'ceil' || twice > denominator) return whole + 1n;
  if (twice < denominator) return whole;
  return rounding === 'half_up' || whole % 2n === 1n ? whole + 1n : whole;
}

export interface RateAsk {
  readonly direction: Direction;
  readonly currency: string;
  /** The member's tier, where there is one. */
  readonly tier?: string | undefined;
}

/** The rate in force for a member at the time of the request; the one of the member's tier goes first. */
export function rateFor(
  { rates }: Pick<Partner, 'rates'>,
  { direction, currency, tier }: RateAsk,
  at: EpochMs,
): Rate | undefined {
  const inForce = rates.filter(
    (rate) => rate.direction === direction && rate.currency === currency && holdsAt(rate, at),
  );
  return (
    (tier === undefined ? undefined : inForce.find((rate) => rate.tier === tier)) ??
    inForce.find((rate) => rate.tier === null)
  );
}

/** The contract in force at the time of the request. */
export function contractAt({ contracts }: Pick<Partner, 'contracts'>, at: EpochMs): Contract | undefined {
  return contracts.find((contract) => holdsAt(contract, at));
}

/**
 * The party of lots whose points are given under a contract: by it clearing knows what to bill when they are spent. What blocks
 * pay for is paid when it is given.
 */
export function lotPartyFor(
  partner: number,
  contract: Pick<Contract, 'settleOn' | 'billing'> | undefined,
): number {
  const isBilledLater = contract?.settleOn === 'redemption' && contract.billing.kind === 'postpaid';
  return isBilledLater ? settledPartyOf(partner) : 0;
}

/** What an exchange comes to. `give` and `receive` are points of the giving and of the receiving program. */
export interface Quote {
  readonly status: 'quoted';
  readonly give: number;
  /** With bonus. */
  readonly receive: number;
  readonly base: number;
  /** Of dated bonuses and of blocks. */
  readonly bonus: number;
  /** The bonuses that counted, by name. */
  readonly bonuses: readonly string[];
  readonly fee: { readonly amount: number; readonly currency: string } | null;
  readonly rate: {
    readonly numerator: number;
    readonly denominator: number;
    readonly version: number;
  };
}

export interface QuoteRefusal {
  readonly status: 'refused';
  readonly word:
    | 'exchange_minimum'
    | 'exchange_step'
    | 'exchange_maximum'
    | 'cap_reached'
    | 'nothing_received'
    | 'uncountable';
  /** In a sentence for people. */
  readonly detail: string;
  /** The bound that stands against it. */
  readonly bound: number;
  /** What stands against the bound, this exchange included. */
  readonly value: number;
  /** Of a cap: what is left in its period, on the side that it counts. */
  readonly left?: number;
  readonly period?: CapPeriod;
  /** The next period would let it through. */
  readonly isForThisPeriod?: boolean;
}

/** Nothing was exchanged yet. */
export const nothingUsed: Used = {
  day: { give: 0, receive: 0 },
  month: { give: 0, receive: 0 },
  year: { give: 0, receive: 0 },
};

function refused(
  word: QuoteRefusal['word'],
  [bound, value]: readonly [bound: number, value: number],
  detail: string,
  more: Pick<QuoteRefusal, 'left' | 'period' | 'isForThisPeriod'> = {},
): QuoteRefusal {
  return { status: 'refused', word, bound, value, detail, ...more };
}

function boundsRefusal(rate: Rate, points: number): QuoteRefusal | undefined {
  const { minimum, step, maximum } = rate;
  if (points < minimum)
    return refused(
      'exchange_minimum',
      [minimum, points],
      `At least ${minimum} points are exchanged at once.`,
    );
  if (points % step !== 0)
    return refused('exchange_step', [step, points], `Points are exchanged in steps of ${step}.`);
  if (maximum !== null && points > maximum)
    return refused('exchange_maximum', [maximum, points], `At most ${maximum} points are exchanged at once.`);
  return undefined;
}

/** What a fee comes to for points that are given. */
export function feeAmountOf({ fixed, perPoints, maximum, rounding }: Fee, points: number): bigint {
  const variable = rounded(
    BigInt(points) * BigInt(perPoints.numerator),
    BigInt(perPoints.denominator),
    rounding,
  );
  const whole = BigInt(fixed) + variable;
  return maximum !== undefined && whole > BigInt(maximum) ? BigInt(maximum) : whole;
}

function safe(value: bigint): number {
  if (value > BigInt(pointsMax)) throw new RangeError(`${value} is more than can be counted`);
  return Number(value);
}

function bonusesFor(rate: Rate, tier: string | undefined, at: EpochMs) {
  return rate.bonuses.filter(
    (bonus) =>
      holdsAt(bonus, at) && (bonus.tiers === undefined || (tier !== undefined && bonus.tiers.includes(tier))),
  );
}

/** The sum of the bonuses' shares of the base, rounded once. */
function bonusOf(base: bigint, bonuses: readonly Rate['bonuses'][number][], rounding: Rounding): bigint {
  let [numerator, denominator] = [0n, 1n];
  for (const { share } of bonuses) {
    numerator = numerator * BigInt(share.denominator) + BigInt(share.numerator) * denominator;
    denominator *= BigInt(share.denominator);
  }
  return rounded(base * numerator, denominator, rounding);
}

function capRefusal(
  caps: readonly ExchangeCap[],
  amounts: { readonly give: number; readonly receive: number },
  used: Used,
): QuoteRefusal | undefined {
  for (const period of capPeriods) {
    for (const cap of caps.filter((each) => each.period === period)) {
      const left = Math.max(0, cap.points - used[period][cap.of]);
      const amount = amounts[cap.of];
      if (amount <= left) continue;
      const side = cap.of === 'give' ? 'given' : 'received';
      const detail = `At most ${cap.points} points are ${side} in a ${period}; ${left} are left.`;
      const value = used[period][cap.of] + amount;
      const isForThisPeriod = amount <= cap.points;
      return refused('cap_reached', [cap.points, value], detail, { left, period, isForThisPeriod });
    }
  }
  return undefined;
}

export interface QuoteAsk {
  /** Points given. */
  readonly points: number;
  readonly at: EpochMs;
  readonly tier?: string | undefined;
  readonly used: Used;
}

/** What a rate makes of so many points at a time, or why it makes nothing of them. Never a part of what was asked for. */
export function quoteOf(rate: Rate, { points, at, tier, used }: QuoteAsk): Quote | QuoteRefusal {
  const outside = boundsRefusal(rate, points);
  if (outside) return outside;
  const { ratio, rounding, block, fee } = rate;
  const base = rounded(BigInt(points) * BigInt(ratio.numerator), BigInt(ratio.denominator), rounding);
  const bonuses = bonusesFor(rate, tier, at);
  const ofBlocks = block === null ? 0n : (BigInt(points) / BigInt(block.points)) * BigInt(block.adds);
  const bonus = bonusOf(base, bonuses, rounding) + ofBlocks;
  const whole = base + bonus;
  const feeAmount = fee === null ? 0n : feeAmountOf(fee, points);
  if (whole > BigInt(pointsMax) || feeAmount > BigInt(pointsMax))
    return refused('uncountable', [pointsMax, points], 'So many points come to more than can be counted.');
  const receive = Number(whole);
  if (receive === 0)
    return refused('nothing_received', [1, 0], 'So few points come to nothing by this rate.');
  const over = capRefusal(rate.caps, { give: points, receive }, used);
  if (over) return over;
  return {
    status: 'quoted',
    give: points,
    receive,
    base: Number(base),
    bonus: Number(bonus),
    bonuses: bonuses.map(({ name }) => name),
    fee: fee === null ? null : { amount: Number(feeAmount), currency: fee.currency },
    rate: { ...ratio, version: rate.version },
  };
}

/** The points that purchases at a partner come to, each alone or all together as the contract says. */
export function pointsEarned(earning: Earning, amounts: readonly number[]): number {
  const { points, perMinorUnits, rounding, roundedPer } = earning;
  const of = (amount: bigint) => rounded(amount * BigInt(points), BigInt(perMinorUnits), rounding);
  if (roundedPer === 'purchase') return safe(amounts.reduce((sum, amount) => sum + of(BigInt(amount)), 0n));
  return safe(of(amounts.reduce((sum, amount) => sum + BigInt(amount), 0n)));
}

/** What points cost by a price, before it is rounded: minor units as a fraction. */
export function costOf(
  points: bigint,
  { amount, perPoints }: Price,
  billedBasisPoints: number,
): { numerator: bigint; denominator: bigint } {
  return {
    numerator: points * BigInt(amount) * BigInt(billedBasisPoints),
    denominator: BigInt(perPoints) * 10_000n,
  };
}
