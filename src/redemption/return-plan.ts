/**
 * PURE. What comes back of an order when some of its goods do: points taken back from its receipts, points given back to
 * its redemptions, money beside them.
 *
 * Everything follows cumulative totals over the whole order: what has come back after this return, less what had come back
 * before it. So any pieces in any order end at exactly zero, for points and for money. All originals of the order stand
 * in the plan, also those that nothing moves on: the wallet then refuses a plan that was made on an older state of any.
 *
 * Which part of a mixed payment comes back as points: `proportional` to the returned share of the receipts (the default),
 * `first` (points before money), `last` (money before points), or a number of points.
 */
import type { Program } from '#src/earning/program.ts';
import { amountReturned, parseReturned, type ReturnedLine } from '#src/earning/returned.ts';
import type { Award, Purchase } from '#src/earning/rules.ts';
import { type OriginalState, type TakenBack, takeBack, type Undone } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Points } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { leftToRefund, parseRefunded, redeemedParts, refundOf, sumOf } from './redemptions.ts';

export type PointsBack = 'proportional' | 'first' | 'last' | number;

/** An order's receipts, those of them that the return names, and the redemptions that paid for it, oldest first. */
export interface Order {
  readonly accruals: readonly Recorded[];
  readonly chosen: readonly Recorded[];
  readonly redemptions: readonly Recorded[];
}

export interface Wish {
  readonly lines?: readonly ReturnedLine[] | undefined;
  readonly points: PointsBack;
}

export interface ReturnPlan {
  readonly accruals: readonly Undone[];
  readonly redemptions: readonly Undone[];
  readonly awards: readonly Award[];
  readonly money: { readonly amount: number; readonly currency: string } | undefined;
}

type StateOf = (original: Recorded) => OriginalState;

function purchaseOf(accrual: Recorded): Purchase | undefined {
  return (accrual.request.body as { purchase?: Purchase } | undefined)?.purchase;
}

function hasLine(accrual: Recorded, wanted: ReturnedLine): boolean {
  return purchaseOf(accrual)?.lines.some((line) => String(line.line) === String(wanted.line)) ?? false;
}

/** The lines of the request that belong to each chosen receipt; each line to the first that has it. */
function linesByAccrual(order: Order, wish: Wish): Map<Recorded, ReturnedLine[] | undefined> {
  if (!wish.lines) return new Map(order.chosen.map((accrual) => [accrual, undefined]));
  const shares = new Map<Recorded, ReturnedLine[]>();
  for (const [index, line] of wish.lines.entries()) {
    const accrual = order.chosen.find((each) => hasLine(each, line));
    if (!accrual) throw fault(`/lines/${index}/line`, 'is not a line of the order');
    shares.set(accrual, [...(shares.get(accrual) ?? []), line]);
  }
  return shares;
}

function takenByAccrual(
  program: Program,
  order: Order,
  wish: Wish,
  stateOf: StateOf,
): Map<Recorded, TakenBack> {
  const taken = new Map<Recorded, TakenBack>();
  for (const [accrual, lines] of linesByAccrual(order, wish)) {
    const back = takeBack(program, accrual, stateOf(accrual), lines);
    if (!back && wish.lines) throw new Problem('reversal_exceeds_accrual');
    if (back) taken.set(accrual, back);
  }
  return taken;
}

interface Progress {
  /** Minor units of all receipts of the order that have come back, before and after this return. */
  readonly before: number;
  readonly after: number;
  readonly total: number;
  readonly currency: string | undefined;
}

function progressOf(order: Order, taken: ReadonlyMap<Recorded, TakenBack>, stateOf: StateOf): Progress {
  let [before, after, total] = [0, 0, 0];
  for (const accrual of order.accruals) {
    total += (purchaseOf(accrual)?.lines ?? []).reduce((sum, line) => sum + line.amount, 0);
    const soFar = amountReturned(parseReturned(stateOf(accrual).note));
    const mine = taken.get(accrual);
    before += soFar;
    after += mine ? amountReturned(mine.after) : soFar;
  }
  const currency = order.accruals
    .map((accrual) => purchaseOf(accrual)?.currency)
    .find((code) => code !== undefined);
  return { before, after, total, currency };
}

/** Minor units that a redemption stood for, where its caller said so. */
function worth(redemption: Recorded): number | undefined {
  return (redemption.request.body as { value?: { amount: number } } | undefined)?.value?.amount;
}

/** floor(points × part / whole), exactly; between 0 and `points`. */
function share(points: Points, part: number, whole: number): Points {
  if (whole <= 0 || part >= whole) return points;
  return part <= 0 ? 0 : Number((BigInt(points) * BigInt(part)) / BigInt(whole));
}

/** How much of each redemption has come back once `progress` is reached: a fraction part/whole of its points. */
function fractions(
  order: Order,
  progress: Progress,
  mode: 'proportional' | 'first' | 'last',
): [part: number, whole: number][] {
  const { after, total } = progress;
  if (after >= total) return order.redemptions.map(() => [1, 1]);
  if (mode === 'proportional') return order.redemptions.map(() => [after, total]);
  const values = order.redemptions.map(worth);
  const known = values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  let budget = mode === 'first' ? after : after - (total - known);
  return values.map((value) => {
    // What a redemption was worth decides how far the returned amount reaches; where nobody said, it is all or nothing.
    if (value === undefined || value === 0) return mode === 'first' ? [1, 1] : [0, 1];
    const part = Math.max(0, Math.min(value, budget));
    budget -= part;
    return [part, value];
  });
}

/** Points to give back of each redemption by currency number. */
function refundParts(
  program: Program,
  order: Order,
  wish: Wish,
  progress: Progress,
  stateOf: StateOf,
): Map<Recorded, [number, Points][]> {
  const parts = new Map<Recorded, [number, Points][]>(
    order.redemptions.map((redemption) => [redemption, []]),
  );
  if (typeof wish.points === 'number') {
    let asked = wish.points;
    for (const redemption of [...order.redemptions].reverse()) {
      for (const [currency, left] of leftToRefund(program, redemption, stateOf(redemption))) {
        const points = currency === program.mainCurrency.number ? Math.min(asked, left) : 0;
        asked -= points;
        if (points > 0) parts.get(redemption)!.push([currency, points]);
      }
    }
    if (asked > 0) throw new Problem('refund_exceeds_redemption');
    return parts;
  }
  const reached = fractions(order, progress, wish.points);
  for (const [i, redemption] of order.redemptions.entries()) {
    const soFar = parseRefunded(stateOf(redemption).note);
    for (const [currency, left] of leftToRefund(program, redemption, stateOf(redemption))) {
      const before = soFar[currency] ?? 0;
      const points = Math.min(left, Math.max(0, share(left + before, ...reached[i]!) - before));
      if (points > 0) parts.get(redemption)!.push([currency, points]);
    }
  }
  return parts;
}

/** Money that comes back beside the points; unknown where a redemption that gives points back did not say its worth. */
function moneyBack(
  program: Program,
  progress: Progress,
  parts: ReadonlyMap<Recorded, [number, Points][]>,
  stateOf: StateOf,
): ReturnPlan['money'] {
  if (progress.currency === undefined) return undefined;
  let amount = progress.after - progress.before;
  for (const [redemption, given] of parts) {
    const before = Object.values(parseRefunded(stateOf(redemption).note)).reduce(
      (sum, points) => sum + points,
      0,
    );
    const after = before + sumOf(given);
    if (after === 0) continue;
    const value = worth(redemption);
    if (value === undefined) return undefined;
    const points = redeemedParts(program, redemption).reduce((sum, part) => sum + part.points, 0);
    amount -= share(value, after, points) - share(value, before, points);
  }
  return { amount: Math.max(0, amount), currency: progress.currency };
}

/** The plan of a return. Throws the Problem that it is where more would come back than was bought or redeemed. */
export function planReturn(program: Program, order: Order, wish: Wish, stateOf: StateOf): ReturnPlan {
  const taken = takenByAccrual(program, order, wish, stateOf);
  const progress = progressOf(order, taken, stateOf);
  const parts = refundParts(program, order, wish, progress, stateOf);
  if (taken.size === 0 && [...parts.values()].every((given) => given.length === 0)) {
    throw new Problem('reversal_exceeds_accrual', 'everything of this order has come back already');
  }
  const unchanged = (original: Recorded): Undone => {
    const { version, note } = stateOf(original);
    return [original.operation, version, note, []];
  };
  return {
    accruals: order.accruals.map((accrual) => taken.get(accrual)?.undone ?? unchanged(accrual)),
    redemptions: [...parts].map(([redemption, given]) =>
      given.length > 0 ? refundOf(redemption, stateOf(redemption), given) : unchanged(redemption),
    ),
    awards: [...taken.values()].flatMap((back) => back.awards),
    money: moneyBack(program, progress, parts, stateOf),
  };
}
