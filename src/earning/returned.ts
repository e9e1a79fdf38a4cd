/**
 * PURE. How much of a receipt has come back. Everything is cumulative, so that returning everything, in any pieces and order,
 * ends at exactly nothing left.
 */
import { fault } from '#src/wallet/fields.ts';
import { millionthsOf, mulDiv } from './rules/amounts.ts';
import type { Purchase, PurchaseLine } from './rules/types.ts';

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
  /** Points taken back of each award so far, in the accrual's order; absent in notes of versions before program files. */
  readonly taken?: readonly number[];
}

export const nothingReturned: ReturnedSoFar = { amounts: {}, quantities: {}, all: false };

export function parseReturned(note: string): ReturnedSoFar {
  return note === '' ? nothingReturned : (JSON.parse(note) as ReturnedSoFar);
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
  const total = millionthsOf(line.quantity);
  const quantity = quantityBefore + millionthsOf(wanted.quantity);
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
  return { ...soFar, amounts, quantities, all };
}

/** Minor units that have come back. */
export function amountReturned(soFar: ReturnedSoFar): number {
  return Object.values(soFar.amounts).reduce((sum, amount) => sum + amount, 0);
}

/** What is left of each line, by the line: minor units, and millionths of a unit. */
export function remainingOf(
  purchase: Purchase,
  soFar: ReturnedSoFar,
): (line: PurchaseLine) => { readonly amount: number; readonly millionths: number } {
  const left = new Map(
    purchase.lines.map((line) => {
      const key = keyOf(line);
      const amount = soFar.all ? 0 : line.amount - (soFar.amounts[key] ?? 0);
      const quantity = millionthsOf(line.quantity);
      // Where only an amount came back, that share of the quantity did.
      const share = line.amount === 0 ? quantity : mulDiv(quantity, amount, line.amount, 'floor');
      const millionths = soFar.all ? 0 : Math.min(share, quantity - (soFar.quantities[key] ?? 0));
      return [line.line, { amount, millionths: Math.max(0, millionths) }] as const;
    }),
  );
  return ({ line }) => left.get(line) ?? { amount: 0, millionths: 0 };
}
