/**
 * PURE. From what is counted to points, in integers only: minor units of money, millionths of a unit, miles.
 *
 * What was paid with points or a gift card earns nothing. It comes off all lines in the same proportion, so of the matching
 * lines the share counts that the rest of the payments is of the whole receipt, rounded down once.
 */
import { Problem } from '#src/errors.ts';
import type { Fraction, Rounding } from '../file/basics-schema.ts';
import type { Payment, PurchaseLine } from './types.ts';

/** Payments by these means earn nothing. */
export const excludedMeans: ReadonlySet<string> = new Set(['points', 'gift_card']);
export const millionthsPerUnit = 1_000_000;

function roundedBigInt(numerator: bigint, denominator: bigint, rounding: Rounding): bigint {
  const whole = numerator / denominator;
  const rest = numerator % denominator;
  if (rest === 0n) return whole;
  switch (rounding) {
    case 'floor':
      return whole;
    case 'ceil':
      return whole + 1n;
    case 'half_up':
      return 2n * rest >= denominator ? whole + 1n : whole;
    case 'half_even':
      if (2n * rest === denominator) return whole % 2n === 0n ? whole : whole + 1n;
      return 2n * rest > denominator ? whole + 1n : whole;
    default:
      return rounding satisfies never;
  }
}

/**
 * a × b / c of whole numbers of at least 0, rounded. Where the product fits a double exactly no BigInt is made: that is a
 * twentieth of the time, and true of all but absurd receipts. Throws `balance_limit` where the result cannot be counted.
 */
export function mulDiv(a: number, b: number, c: number, rounding: Rounding): number {
  const product = a * b;
  if (product <= Number.MAX_SAFE_INTEGER && rounding === 'floor') return Math.floor(product / c);
  return countable(roundedBigInt(BigInt(a) * BigInt(b), BigInt(c), rounding));
}

function countable(points: bigint): number {
  const result = Number(points);
  if (!Number.isSafeInteger(result))
    throw new Problem('balance_limit', 'the receipt would earn more points than can be counted');
  return result;
}

/** So many times a fraction. */
export type Share = readonly [count: number, of: Fraction];

/** The sum of shares, exactly and rounded once. */
export function roundedSum(shares: readonly Share[], rounding: Rounding): number {
  let [numerator, denominator] = [0n, 1n];
  for (const [count, [a, b]] of shares) {
    numerator = numerator * BigInt(b) + BigInt(count) * BigInt(a) * denominator;
    denominator *= BigInt(b);
  }
  return countable(roundedBigInt(numerator, denominator, rounding));
}

/** The product of two fractions, reduced. */
export function product([a, b]: Fraction, [c, d]: Fraction): Fraction {
  return reduced([a * c, b * d]);
}

/** The fraction plus (other − 1): how factors of a group add. */
export function added([a, b]: Fraction, [c, d]: Fraction): Fraction {
  return reduced([a * d + (c - d) * b, b * d]);
}

/** How much more one fraction is than another; nothing where it is not. */
export function minus([a, b]: Fraction, [c, d]: Fraction): Fraction {
  return reduced([Math.max(0, a * d - c * b), b * d]);
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}

function reduced([a, b]: Fraction): Fraction {
  const common = divisor(a, b) || 1;
  return [a / common, b / common];
}

/** Whether one fraction is larger than another. */
export function isMore([a, b]: Fraction, [c, d]: Fraction): boolean {
  return a * d > c * b;
}

/** Millionths of a decimal text such as "32.150"; absent is one unit. */
export function millionthsOf(quantity: string | undefined): number {
  if (quantity === undefined || quantity === '1') return millionthsPerUnit;
  const [whole = '0', fraction = ''] = quantity.split('.');
  return Number(whole) * millionthsPerUnit + Number(fraction.padEnd(6, '0').slice(0, 6));
}

/** Decimal text of millionths, such as "32.15". */
function quantityText(millionths: number): string {
  const fraction = String(millionths % millionthsPerUnit).padStart(6, '0');
  return `${Math.floor(millionths / millionthsPerUnit)}.${fraction}`;
}

/** A line of which some has come back is one of what remains of it, also for conditions. */
export interface CountedLine extends PurchaseLine {
  readonly remainingAmount: number;
  readonly remainingMillionths: number;
}

/** A receipt as rules count it. */
export interface Counted {
  readonly lines: readonly CountedLine[];
  /** Minor units of all lines as bought. */
  readonly total: number;
  /** Of these, minor units that were not paid with points or gift cards. */
  readonly paid: number;
  readonly payments: readonly Payment[];
}

function sumOfAmounts(parts: readonly { readonly amount: number }[]): number {
  let sum = 0;
  for (const { amount } of parts) sum += amount;
  if (!Number.isSafeInteger(sum))
    throw new Problem('balance_limit', 'the receipt is larger than can be counted');
  return sum;
}

type Rest = { readonly amount: number; readonly millionths: number };

/** What is left of a line; none of it where all has come back. */
function remainingLine(line: PurchaseLine, { amount, millionths }: Rest): CountedLine[] {
  const bought = millionthsOf(line.quantity);
  const counted = { remainingAmount: amount, remainingMillionths: millionths };
  if (amount === line.amount && millionths === bought) return [{ ...line, ...counted }];
  return amount === 0 && millionths === 0
    ? []
    : [{ ...line, amount, quantity: quantityText(millionths), ...counted }];
}

/**
 * What a receipt counts; `remaining` says what is left of a line after returns, by its name. Total and paid stay those of the
 * purchase: what points and gift cards paid comes off what came back as off what was kept.
 */
export function countedOf(
  lines: readonly PurchaseLine[],
  payments: readonly Payment[] = [],
  remaining?: (line: PurchaseLine) => Rest,
): Counted {
  const total = sumOfAmounts(lines);
  const excluded = sumOfAmounts(payments.filter(({ means }) => excludedMeans.has(means)));
  return {
    lines: remaining
      ? lines.flatMap((line) => remainingLine(line, remaining(line)))
      : lines.map((line) => ({
          // Field by field: copying a line as a whole takes five times as long.
          line: line.line,
          sku: line.sku,
          category: line.category,
          brand: line.brand,
          quantity: line.quantity,
          unit: line.unit,
          amount: line.amount,
          remainingAmount: line.amount,
          remainingMillionths: millionthsOf(line.quantity),
        })),
    total,
    paid: Math.max(0, total - excluded),
    payments,
  };
}

/** The same receipt with some of its lines only; the share that counts of them stays that of the whole. */
export function restrictedTo(counted: Counted, lines: readonly CountedLine[]): Counted {
  return { ...counted, lines };
}

/** Minor units of the receipt that were paid by some means, at most what counts of it. */
export function paidBy(counted: Counted, means: ReadonlySet<string>): number {
  const sum = sumOfAmounts(
    counted.payments.filter((payment) => means.has(payment.means) && !excludedMeans.has(payment.means)),
  );
  return Math.min(sum, counted.paid);
}

/** Of an amount of lines, the part that `paid` of the whole receipt stands for, rounded down. */
export function shareOf(amount: number, paid: number, total: number): number {
  return paid === total || total === 0 ? amount : mulDiv(amount, paid, total, 'floor');
}
