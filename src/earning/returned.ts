/**
 * PURE. How much of a receipt has come back, and how many points that takes back.
 *
 * Everything is cumulative: the points an accrual keeps are those that what remains of the receipt earns, and a reversal
 * takes the difference to what was kept before. So returning everything, in any pieces and order, ends at exactly zero.
 */
import { fault } from '#src/wallet/fields.ts';
import type { Award, Purchase } from './rules.ts';
import { eligibleTotal } from './rules.ts';

/** What a follow-up asks to give back; without `lines` it is everything that is left. */
export interface ReturnedLine {
  readonly line: string | number;
  readonly quantity?: string | undefined;
  readonly amount?: number | undefined;
}

interface ReceiptLine {
  readonly line: string | number;
  readonly amount: number;
  readonly quantity?: string | undefined;
}

/** A line's name in the note; the mark keeps names such as `__proto__` ordinary. */
function keyOf({ line }: { readonly line: string | number }): string {
  return `#${line}`;
}

/** What has come back so far; kept as text beside the accrual's state. */
export interface ReturnedSoFar {
  /** Minor units by line. */
  readonly amounts: Readonly<Record<string, number>>;
  /** Millionths of a unit by line, where quantities were given. */
  readonly quantities: Readonly<Record<string, number>>;
  readonly all: boolean;
}

export const nothingReturned: ReturnedSoFar = { amounts: {}, quantities: {}, all: false };

export function parseReturned(note: string): ReturnedSoFar {
  return note === '' ? nothingReturned : (JSON.parse(note) as ReturnedSoFar);
}

/** Millionths of a decimal string. */
function millionths(quantity: string): number {
  const [whole, fraction = ''] = quantity.split('.');
  return Number(whole) * 1_000_000 + Number(fraction.padEnd(6, '0'));
}

/** The cumulative amount of a line after `wanted` has come back too; undefined when that is more than the line had. */
function amountAfter(
  line: ReceiptLine,
  soFar: ReturnedSoFar,
  wanted: ReturnedLine,
): { amount: number; quantity: number } | undefined {
  const key = keyOf(line);
  const before = soFar.amounts[key] ?? 0;
  const quantityBefore = soFar.quantities[key] ?? 0;
  if (wanted.amount !== undefined) {
    const amount = before + wanted.amount;
    return amount <= line.amount ? { amount, quantity: quantityBefore } : undefined;
  }
  if (wanted.quantity === undefined) return { amount: line.amount, quantity: quantityBefore };
  const total = millionths(line.quantity ?? '1');
  const quantity = quantityBefore + millionths(wanted.quantity);
  if (quantity > total || total === 0) return undefined;
  const amount = Number((BigInt(line.amount) * BigInt(quantity)) / BigInt(total));
  return { amount: Math.max(before, amount), quantity };
}

/** What has come back after `wanted`; undefined when more would come back than was bought. */
export function returnedAfter(
  lines: readonly ReceiptLine[],
  soFar: ReturnedSoFar,
  wanted: readonly ReturnedLine[] | undefined,
): ReturnedSoFar | undefined {
  if (wanted === undefined) {
    return soFar.all
      ? undefined
      : { ...soFar, amounts: Object.fromEntries(lines.map((l) => [keyOf(l), l.amount])), all: true };
  }
  const amounts = { ...soFar.amounts };
  const quantities = { ...soFar.quantities };
  for (const [index, want] of wanted.entries()) {
    const line = lines.find((l) => String(l.line) === String(want.line));
    if (!line) throw fault(`/lines/${index}/line`, 'is not a line of the receipt');
    const after = amountAfter(line, { amounts, quantities, all: false }, want);
    if (!after || (amounts[keyOf(line)] ?? 0) >= line.amount + (line.amount === 0 ? 1 : 0)) return undefined;
    amounts[keyOf(line)] = after.amount;
    quantities[keyOf(line)] = after.quantity;
  }
  const all = lines.every((line) => (amounts[keyOf(line)] ?? 0) === line.amount);
  return { amounts, quantities, all };
}

/** Minor units that have come back. */
export function amountReturned(soFar: ReturnedSoFar): number {
  return Object.values(soFar.amounts).reduce((sum, amount) => sum + amount, 0);
}

/**
 * Minor units that still earn: the eligible total shrinks in proportion to the lines, rounded down, because points and
 * gift cards paid a share of every line.
 */
export function remainingAmount(purchase: Purchase, soFar: ReturnedSoFar): bigint {
  if (soFar.all) return 0n;
  const total = purchase.lines.reduce((sum, line) => sum + BigInt(line.amount), 0n);
  if (total === 0n) return 0n;
  return (eligibleTotal(purchase) * (total - BigInt(amountReturned(soFar)))) / total;
}

/** Points of each award that `after` takes back beyond `before`. `keep` says what an award is worth for a base. */
export function takenBack(
  awards: readonly Award[],
  before: ReturnedSoFar,
  after: ReturnedSoFar,
  keep: (award: Award, soFar: ReturnedSoFar) => number,
): Award[] {
  return awards
    .map((award) => ({
      ...award,
      points: Math.min(award.points, keep(award, before)) - Math.min(award.points, keep(award, after)),
    }))
    .filter((award) => award.points > 0);
}
