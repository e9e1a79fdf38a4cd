/**
 * PURE. Awards that an order has once, in however many shipments: a receipt that comes back keeps them for the others as long as
 * one that is left would have earned them.
 *
 * What all receipts of the order would be given for what is left of each, under the order's cap, is kept in all; what a receipt
 * keeps by itself counts first, the rest stays where it was given. So it goes with the last goods that justify it, whichever
 * shipment had it, and everything that comes back ends at nothing.
 */
import type { Recorded } from '#src/wallet/operations.ts';
import type { Program } from './program.ts';
import { parseReturned, type ReturnedSoFar } from './returned.ts';
import type { JudgedMember } from './rules/types.ts';
import {
  type AwardLeft,
  awardsLeft,
  isOfOrder,
  type OriginalState,
  type TakenBack,
  takeBackTo,
} from './undoing.ts';

/** A receipt of the order, how it stands, and how much of it will have come back. */
export interface ReceiptLeft {
  readonly accrual: Recorded;
  readonly state: OriginalState;
  readonly after: ReturnedSoFar;
  readonly member: JudgedMember;
}

/** In the order in which they were booked. */
function byTime(a: Recorded, b: Recorded): number {
  return a.at - b.at || (a.operation < b.operation ? -1 : 1);
}

interface Place {
  readonly accrual: Recorded;
  readonly index: number;
  readonly left: AwardLeft;
}

/** Points that awards with one cap would come to for what is left of their receipts, given in their order. */
function justified(places: readonly Place[]): number {
  let sum = 0;
  for (const { left } of places) {
    const room = left.limit!.pointsMax - sum;
    if (left.asks <= room) sum += left.asks;
    else if (!left.limit!.isAllOrNothing) sum += Math.max(0, room);
  }
  return sum;
}

/** What awards keep beyond what their own receipt justifies, by the place of the award; of receipts that share a cap alone. */
export function keptForOrder(program: Program, receipts: readonly ReceiptLeft[]): Map<Recorded, number[]> {
  const places = receipts.flatMap(({ accrual, state, after, member }) =>
    awardsLeft(program, accrual, state, after, member).map(
      (left, index): Place => ({ accrual, index, left }),
    ),
  );
  const shared = Map.groupBy(
    places.filter(({ left }) => left.limit !== undefined),
    ({ left: { limit, given } }) => `${limit!.counter}.${limit!.period}.${given.currency}`,
  );
  const more = new Map<Recorded, number[]>();
  for (const group of shared.values()) {
    if (group.every(({ accrual }) => accrual === group[0]!.accrual)) continue;
    let rest = justified(group) - group.reduce((sum, { left }) => sum + left.keeps, 0);
    for (const { accrual, index, left } of group) {
      const kept = Math.max(0, Math.min(rest, left.holds - left.keeps));
      rest -= kept;
      const of = more.get(accrual) ?? [];
      of[index] = kept;
      more.set(accrual, of);
    }
  }
  return more;
}

/**
 * What is taken of the receipts of an order so that as much of some has come back as `afters` say; of others something is taken
 * where a bonus of the order stayed with them until now. Nothing has come back while `afters` is empty.
 */
export function takeBackOfOrder(
  program: Program,
  accruals: readonly Recorded[],
  afters: ReadonlyMap<Recorded, ReturnedSoFar>,
  stateOf: (accrual: Recorded) => OriginalState,
  memberOf: (accrual: Recorded) => JudgedMember,
): Map<Recorded, TakenBack> {
  const receipts = accruals.toSorted(byTime).map((accrual): ReceiptLeft => {
    const state = stateOf(accrual);
    const after = afters.get(accrual) ?? parseReturned(state.note);
    return { accrual, state, after, member: memberOf(accrual) };
  });
  const together = receipts.filter(({ accrual }) => isOfOrder(program, accrual));
  const more = together.length > 1 ? keptForOrder(program, together) : new Map<Recorded, number[]>();
  const taken = new Map<Recorded, TakenBack>();
  for (const { accrual, state, after, member } of afters.size > 0 ? receipts : []) {
    const isTouched = afters.has(accrual) || (more.has(accrual) && state.note !== '');
    if (!isTouched) continue;
    const back = takeBackTo(program, accrual, state, after, member, more.get(accrual));
    if (afters.has(accrual) || back.awards.length > 0) taken.set(accrual, back);
  }
  return taken;
}
