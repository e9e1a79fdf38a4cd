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
import type { KeptAward } from '#src/earning/judge.ts';
import { takeBackOfOrder } from '#src/earning/order-awards.ts';
import { type Program, versionNumbered } from '#src/earning/program.ts';
import {
  amountReturned,
  parseReturned,
  type ReturnedLine,
  type ReturnedSoFar,
} from '#src/earning/returned.ts';
import { converted, type MoneyAmount, rateBetween } from '#src/earning/rules/money.ts';
import type { JudgedMember, Purchase } from '#src/earning/rules/types.ts';
import { afterReturn, type OriginalState, type TakenBack, type Undone } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Points } from '#src/values.ts';
import { fault } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { leftToRefund, parseRefunded, redeemedNumbers, refundOf } from './redemptions.ts';
import { portionOf, totalOf, type Worth, worthBack, worthBackOf, worthOf } from './worth.ts';

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

/** Points of a redemption that come back, and the money that they stood for where that was said. */
export interface RefundedPoints {
  readonly redemption: Recorded;
  readonly currency: number;
  readonly points: Points;
  readonly value: MoneyAmount | undefined;
}

export interface ReturnPlan {
  readonly accruals: readonly Undone[];
  readonly redemptions: readonly Undone[];
  readonly awards: readonly KeptAward[];
  readonly refunded: readonly RefundedPoints[];
  readonly money: MoneyAmount | undefined;
}

type StateOf = (original: Recorded) => OriginalState;
/** The member of a receipt, as rules judge it. */
type MemberOf = (accrual: Recorded) => JudgedMember;

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

/** What is taken of each receipt; also of one that came back before, where a bonus of the order stayed with it until now. */
function takenByAccrual(
  program: Program,
  order: Order,
  wish: Wish,
  stateOf: StateOf,
  memberOf: MemberOf,
): Map<Recorded, TakenBack> {
  const afters = new Map<Recorded, ReturnedSoFar>();
  for (const [accrual, lines] of linesByAccrual(order, wish)) {
    const after = afterReturn(accrual, stateOf(accrual), lines);
    if (!after && wish.lines) throw new Problem('reversal_exceeds_accrual');
    if (after) afters.set(accrual, after);
  }
  return takeBackOfOrder(program, order.accruals, afters, stateOf, memberOf);
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

/** What redemptions were worth in the money of the order's receipts; those that nobody can say of are left out. */
type Worths = ReadonlyMap<Recorded, Worth>;

function ownWorth(redemption: Recorded): Worth | undefined {
  return worthOf(redemption, redeemedNumbers(redemption));
}

/** Another money is converted as the receipt was: by the version and the rate of the purchase, whatever they are today. */
function worthsIn(program: Program, order: Order, currency: string | undefined): Worths {
  const receipt = order.accruals.find((accrual) => purchaseOf(accrual)?.currency === currency);
  const worths = new Map<Recorded, Worth>();
  for (const redemption of order.redemptions) {
    const worth = ownWorth(redemption);
    if (!worth) continue;
    if (!receipt || currency === undefined || worth.currency === currency) {
      worths.set(redemption, worth);
      continue;
    }
    const { definition } = versionNumbered(program, receipt.request.programVersion, receipt.occurredAt);
    const rate = rateBetween(definition, worth.currency, currency, receipt.occurredAt);
    if (!rate) continue;
    const groups = worth.groups.map((group) => ({ ...group, amount: converted(group.amount, rate) }));
    worths.set(redemption, { currency, groups });
  }
  return worths;
}

/** How much of each redemption has come back once `progress` is reached: a fraction part/whole of its points. */
function fractions(
  order: Order,
  progress: Progress,
  mode: 'proportional' | 'first' | 'last',
  worths: Worths,
): [part: number, whole: number][] {
  const { after, total } = progress;
  if (after >= total) return order.redemptions.map(() => [1, 1]);
  if (mode === 'proportional') return order.redemptions.map(() => [after, total]);
  const values = order.redemptions.map((redemption) => {
    const worth = worths.get(redemption);
    return worth && totalOf(worth);
  });
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
  worths: Worths,
  stateOf: StateOf,
): Map<Recorded, [number, Points][]> {
  const parts = new Map<Recorded, [number, Points][]>(
    order.redemptions.map((redemption) => [redemption, []]),
  );
  if (typeof wish.points === 'number') {
    let asked = wish.points;
    for (const redemption of [...order.redemptions].reverse()) {
      for (const [currency, left] of leftToRefund(redemption, stateOf(redemption))) {
        const points = currency === program.mainCurrency.number ? Math.min(asked, left) : 0;
        asked -= points;
        if (points > 0) parts.get(redemption)!.push([currency, points]);
      }
    }
    if (asked > 0) throw new Problem('refund_exceeds_redemption');
    return parts;
  }
  const reached = fractions(order, progress, wish.points, worths);
  for (const [i, redemption] of order.redemptions.entries()) {
    const soFar = parseRefunded(stateOf(redemption).note);
    for (const [currency, left] of leftToRefund(redemption, stateOf(redemption))) {
      const before = soFar[currency] ?? 0;
      const points = Math.min(left, Math.max(0, portionOf(left + before, ...reached[i]!) - before));
      if (points > 0) parts.get(redemption)!.push([currency, points]);
    }
  }
  return parts;
}

/** Points of a redemption by currency number that have come back before this return and with it. */
function pointsBack(
  redemption: Recorded,
  given: readonly (readonly [number, Points])[],
  stateOf: StateOf,
): { before: Record<string, number>; after: Record<string, number> } {
  const before = parseRefunded(stateOf(redemption).note);
  const after = { ...before };
  for (const [currency, points] of given) after[currency] = (after[currency] ?? 0) + points;
  return { before, after };
}

function refundedPoints(
  parts: ReadonlyMap<Recorded, [number, Points][]>,
  stateOf: StateOf,
): RefundedPoints[] {
  return [...parts].flatMap(([redemption, given]) => {
    const worth = ownWorth(redemption);
    const { before, after } = pointsBack(redemption, given, stateOf);
    return given.map(([currency, points]): RefundedPoints => {
      const amount = worth && worthBackOf(worth, currency, before, after);
      const value = amount === undefined ? undefined : { amount, currency: worth!.currency };
      return { redemption, currency, points, value };
    });
  });
}

/** Money that comes back beside the points; unknown where nobody can say what points that come back were worth. */
function moneyBack(
  progress: Progress,
  parts: ReadonlyMap<Recorded, [number, Points][]>,
  worths: Worths,
  stateOf: StateOf,
): ReturnPlan['money'] {
  if (progress.currency === undefined) return undefined;
  let amount = progress.after - progress.before;
  for (const [redemption, given] of parts) {
    const { before, after } = pointsBack(redemption, given, stateOf);
    if (Object.keys(after).length === 0) continue;
    const worth = worths.get(redemption);
    if (!worth) return undefined;
    amount -= worthBack(worth, before, after);
  }
  return { amount: Math.max(0, amount), currency: progress.currency };
}

/** The plan of a return. Throws the Problem that it is where more would come back than was bought or redeemed. */
export function planReturn(
  program: Program,
  order: Order,
  wish: Wish,
  stateOf: StateOf,
  memberOf: MemberOf,
): ReturnPlan {
  const taken = takenByAccrual(program, order, wish, stateOf, memberOf);
  const progress = progressOf(order, taken, stateOf);
  const worths = worthsIn(program, order, progress.currency);
  const parts = refundParts(program, order, wish, progress, worths, stateOf);
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
    refunded: refundedPoints(parts, stateOf),
    money: moneyBack(progress, parts, worths, stateOf),
  };
}
