/**
 * PURE. What an accrual adds to its member's diary, and what returns leave of it.
 *
 * What is left only ever becomes less: money is the least that any return left, points that were taken are a sum that ends
 * at what was given. So the order in which returns are read does not matter (those of a merged member come from two
 * shards), and a return that a stale Redis carried out a second time takes no more than there was. Whatever comes back in
 * whatever pieces: once everything has, exactly nothing is left.
 */
import { type AccrualSubject, spentOn } from '#src/earning/judge.ts';
import { type Program, versionNumbered } from '#src/earning/program.ts';
import { parseReturned, type ReturnedSoFar, remainingOf } from '#src/earning/returned.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { namedPeriodOf } from '#src/earning/rules/periods.ts';
import type { Effect } from '#src/journal.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';

/** An accrual as the books have it. */
export interface BookedAccrual {
  readonly operation: string;
  readonly program: Program;
  readonly member: MemberNumber;
  readonly occurredAt: EpochMs;
  readonly request: { readonly body?: AccrualSubject | undefined; readonly programVersion?: unknown };
  readonly effect: Pick<Effect, 'legs'>;
}

/** Points by number of their currency. */
export type PointsByCurrency = Readonly<Record<number, number>>;

export interface Deed {
  readonly accrual: BookedAccrual;
  readonly day: number;
  readonly isPurchase: boolean;
  /** Of the purchase's order, as counters of an order have it. */
  readonly orderKey: number | undefined;
  readonly spend: number;
  readonly flights: number;
  readonly distance: number;
  readonly points: PointsByCurrency;
  /** Its money could not be counted: the program has no rate for it. */
  readonly isUncounted: boolean;
}

/**
 * No deed counts for more than this, in smallest units, or points of a currency: of nine thousand such receipts the sum is still
 * a whole number that JSON and JavaScript carry, and none makes a row that cannot be added to. What comes back of more is what
 * goes below it.
 */
const countedMax = 1_000_000_000_000;

function spendOf(accrual: BookedAccrual, soFar?: ReturnedSoFar): number | undefined {
  const { program, request, occurredAt } = accrual;
  const { purchase } = request.body ?? {};
  const remaining = purchase && soFar ? { remaining: remainingOf(purchase, soFar) } : {};
  try {
    const version = versionNumbered(program, request.programVersion, occurredAt);
    const spend = spentOn(version, { subject: request.body ?? {}, occurredAt, ...remaining });
    return Number.isSafeInteger(spend) ? Math.min(countedMax, Math.max(0, spend)) : undefined;
  } catch {
    return undefined;
  }
}

/** Points that the books say an accrual gave: what its awards had left under caps and budgets, pending ones too. */
function pointsOf({ legs }: BookedAccrual['effect']): PointsByCurrency {
  const points: Record<number, number> = {};
  for (const [account, currency, moved] of legs)
    if (account === 'issuance') points[currency] = Math.min(countedMax, (points[currency] ?? 0) - moved);
  return points;
}

/** What an accrual did, on its day in the program's zone. */
export function deedOf(accrual: BookedAccrual): Deed {
  const { purchase, flight } = accrual.request.body ?? {};
  const spend = purchase || flight ? spendOf(accrual) : 0;
  return {
    accrual,
    day: momentOf(accrual.occurredAt, accrual.program.timeZone).dayNumber,
    isPurchase: purchase !== undefined,
    orderKey: purchase?.order === undefined ? undefined : namedPeriodOf(purchase.order),
    spend: spend ?? 0,
    flights: flight ? 1 : 0,
    distance: flight?.distanceMiles ?? 0,
    points: pointsOf(accrual.effect),
    isUncounted: spend === undefined,
  };
}

/** What is left of a deed after returns. */
export interface Left {
  readonly spend: number;
  readonly isGone: boolean;
  /** Points that were taken back in all. */
  readonly taken: PointsByCurrency;
}

/** A deed of which nothing has come back. */
export function wholeOf({ spend }: Pick<Deed, 'spend'>): Left {
  return { spend, isGone: false, taken: {} };
}

/** What one return says of one accrual: how much of the receipt has come back by then, and the points it took. */
export interface Back {
  readonly note: string;
  readonly parts: readonly (readonly [currency: number, points: number])[];
}

/** How a deed's day changes. */
export interface Change {
  /** Receipts of which something is left. */
  readonly receipts: number;
  readonly spend: number;
  readonly flights: number;
  readonly distance: number;
  readonly points: PointsByCurrency;
}

/** What is left of a deed once `back` has come back too, and how its day changes by that. */
export function leftAfter(deed: Deed, before: Left, back: Back): { left: Left; change: Change } {
  const soFar = parseReturned(back.note);
  const isGone = before.isGone || soFar.all;
  const spend = isGone ? 0 : Math.min(before.spend, spendOf(deed.accrual, soFar) ?? before.spend);
  const taken = { ...before.taken };
  const points: Record<number, number> = {};
  for (const [currency, more] of back.parts) {
    const given = deed.points[currency] ?? 0;
    const sum = Math.min(given, (taken[currency] ?? 0) + more);
    points[currency] = (points[currency] ?? 0) + (taken[currency] ?? 0) - sum;
    taken[currency] = sum;
  }
  const leaves = isGone && !before.isGone;
  return {
    left: { spend, isGone, taken },
    change: {
      receipts: leaves && deed.isPurchase ? -1 : 0,
      spend: spend - before.spend,
      flights: leaves ? -deed.flights : 0,
      distance: leaves ? -deed.distance : 0,
      points,
    },
  };
}

/** What a deed adds when it is read. */
export function additionOf({ isPurchase, spend, flights, distance, points }: Deed): Change {
  return { receipts: isPurchase ? 1 : 0, spend, flights, distance, points };
}
