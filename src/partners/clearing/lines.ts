/**
 * PURE. Lines of a statement: what entries of one kind, price and contract come to in money.
 *
 * A line's exact amount is a fraction of whole numbers without bounds; it is rounded once, half to even, and so is its tax, from the
 * rounded amount. The sum of a statement is the sum of its lines, so nothing is rounded twice; what rounding has added or
 * taken is the difference that `roundingOf` names. Positive is what the partner owes the program.
 */
import { rounded } from '#src/partners/contracts/arithmetic.ts';
import type { Contract } from '#src/partners/contracts/types.ts';
import type { EntryKind, PriceSide } from './entries.ts';

/** Entries that are one line. */
export interface Group {
  readonly kind: EntryKind;
  readonly price: PriceSide;
  /** Version; null where there was none. */
  readonly contract: number | null;
  /** The program's own currency. */
  readonly currency: number;
  readonly rule: string | null;
  /** Hundredths of a percent. */
  readonly share: number;
  /** First day of the month in which it happened. */
  readonly ofPeriod: string;
  readonly entries: number;
  readonly points: bigint;
  /** Of the points, what blocks bought in advance have paid for. */
  readonly prepaid: bigint;
}

export interface Line {
  readonly kind: EntryKind | 'carried' | 'credit';
  readonly price: PriceSide | null;
  readonly contract: number | null;
  readonly pointsCurrency: number | null;
  readonly rule: string | null;
  readonly share: number;
  readonly ofPeriod: string;
  readonly entries: number;
  readonly points: bigint;
  readonly prepaid: bigint;
  readonly numerator: bigint;
  readonly denominator: bigint;
  /** Minor units. */
  readonly amount: bigint;
  readonly taxBasisPoints: number;
  readonly tax: bigint;
}

const basisPoints = 10_000n;
const free = { amount: 0, perPoints: 1 };

/** A fraction of either sign to the nearest whole number, half to even. */
export function nearest(numerator: bigint, denominator: bigint): bigint {
  return numerator < 0n
    ? -rounded(-numerator, denominator, 'half_even')
    : rounded(numerator, denominator, 'half_even');
}

/** What the contract makes of a group. Before the first one began nothing was agreed: it is named and costs nothing. */
export function lineOf(group: Group, contract: Contract | undefined): Line {
  const { kind, price, currency, rule, share, ofPeriod, entries, points, prepaid } = group;
  const { amount: units, perPoints } = (price === 'none' ? undefined : contract?.prices[price]) ?? free;
  const billed = BigInt(contract?.billedBasisPoints ?? 0) * BigInt(share);
  const numerator = -(points - prepaid) * BigInt(units) * billed;
  const denominator = BigInt(perPoints) * basisPoints * basisPoints;
  const amount = nearest(numerator, denominator);
  const taxBasisPoints = contract?.taxBasisPoints ?? 0;
  return {
    ...{ kind, price, rule, share, ofPeriod, entries, points, prepaid, numerator, denominator, amount },
    contract: contract?.version ?? null,
    pointsCurrency: currency,
    taxBasisPoints,
    tax: nearest(amount * BigInt(taxBasisPoints), basisPoints),
  };
}

export interface Adjustment {
  readonly kind: 'carried' | 'credit';
  /** The month of the statement that it comes from. */
  readonly ofPeriod: string;
  readonly amount: bigint;
  readonly taxBasisPoints: number;
  readonly tax: bigint;
}

/** An amount that an earlier statement has left. */
export function adjustmentLine({ kind, ofPeriod, amount, taxBasisPoints, tax }: Adjustment): Line {
  return {
    ...{ kind, ofPeriod, amount, taxBasisPoints, tax, price: null, contract: null, pointsCurrency: null },
    ...{ rule: null, share: 10_000, entries: 0, points: 0n, prepaid: 0n },
    numerator: amount,
    denominator: 1n,
  };
}

export interface Sums {
  readonly amount: bigint;
  readonly tax: bigint;
  readonly total: bigint;
}

export function sumsOf(lines: readonly Pick<Line, 'amount' | 'tax'>[]): Sums {
  const amount = lines.reduce((sum, line) => sum + line.amount, 0n);
  const tax = lines.reduce((sum, line) => sum + line.tax, 0n);
  return { amount, tax, total: amount + tax };
}

function greatestDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestDivisor(b, a % b);
}

/** What rounding has added to the exact amounts (negative: taken), as a fraction of minor units in lowest terms. */
export function roundingOf(lines: readonly Pick<Line, 'numerator' | 'denominator' | 'amount'>[]): {
  readonly numerator: bigint;
  readonly denominator: bigint;
} {
  let [numerator, denominator] = [0n, 1n];
  for (const line of lines) {
    const added = line.amount * line.denominator - line.numerator;
    numerator = numerator * line.denominator + added * denominator;
    denominator *= line.denominator;
    const divisor = greatestDivisor(numerator < 0n ? -numerator : numerator, denominator);
    numerator /= divisor;
    denominator /= divisor;
  }
  return { numerator, denominator };
}

/** A statement of one money currency in the making. */
export interface Draft extends Sums {
  readonly currency: string;
  readonly lines: readonly Line[];
}

/** Nothing was ever agreed with the partner. */
const noMoney = 'ZZZ';

/** Sorts groups and adjustments into a draft for each money currency; lines have one order, whatever order they come in. */
export function draftsOf(
  groups: readonly Group[],
  adjustments: readonly (Adjustment & { readonly currency: string })[],
  contracts: readonly Contract[],
): Draft[] {
  const byVersion = new Map(contracts.map((contract) => [contract.version, contract]));
  const fallback = contracts.at(-1)?.currency ?? noMoney;
  const placed = [
    ...groups.map((group) => {
      const contract = group.contract === null ? undefined : byVersion.get(group.contract);
      // Its points have a price that is not known here; none is not that price.
      if (group.contract !== null && !contract) throw new Error(`no contract version ${group.contract}`);
      return { currency: contract?.currency ?? fallback, line: lineOf(group, contract) };
    }),
    ...adjustments.map((each) => ({ currency: each.currency, line: adjustmentLine(each) })),
  ];
  const byCurrency = Map.groupBy(placed, ({ currency }) => currency);
  return [...byCurrency]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([currency, each]) => {
      const lines = each.map(({ line }) => line).toSorted(inOrder);
      return { currency, lines, ...sumsOf(lines) };
    });
}

function sortKey({ ofPeriod, kind, price, contract, pointsCurrency, rule, share, amount }: Line): string {
  return [ofPeriod, kind, price ?? '', contract ?? 0, pointsCurrency ?? 0, rule ?? '', share, amount].join(
    ' ',
  );
}

function inOrder(a: Line, b: Line): number {
  const [first, second] = [sortKey(a), sortKey(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}
