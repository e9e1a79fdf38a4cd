/**
 * PURE. Whose points pay for what: from what every member has, the points that each is to give.
 *
 * A plan promises nothing. Each share is then held by the member's own wallet, which takes what ends first there and refuses
 * what is not there any more; for what is missing afterwards another plan is made.
 */
import type { EpochMs, MemberNumber, Points } from '#src/values.ts';
import type { LotRow, Reading } from '#src/wallet/wallet.ts';
import type { Policy } from './policy.ts';

/** A member who can give points, and what is there. Purses stand in the order in which their members joined. */
export interface Purse {
  readonly member: MemberNumber;
  readonly at: EpochMs;
  readonly lots: readonly LotRow[];
}

export type Price = readonly (readonly [currency: number, points: Points])[];

export interface Share {
  readonly member: MemberNumber;
  readonly points: Price;
}

/** What is lacking: the purses have fewer points of a currency than are asked for. */
export interface Lacking {
  readonly currency: number;
  readonly available: Points;
  readonly required: Points;
}

/** What a member has by the time of its reading; nothing of one who may not spend at the moment. */
export function purseOf(member: MemberNumber, reading: Reading | undefined): Purse | undefined {
  if (reading?.status !== 'active' || reading.isFrozen) return undefined;
  return { member, at: reading.at, lots: reading.lots };
}

interface Usable {
  readonly purse: number;
  readonly points: Points;
  /** Infinity: never. */
  readonly endsAt: number;
}

/** Lots of a currency that can be spent now, those that end first before the others; of two alike the older member's. */
function usableLots(purses: readonly Purse[], currency: number): Usable[] {
  const lots = purses.flatMap(({ at, lots: own }, purse) =>
    own
      .filter((lot) => lot[0] === currency && lot[4] <= at && (lot[3] === 0 || lot[3] > at))
      .map((lot): Usable => ({ purse, points: lot[2], endsAt: lot[3] === 0 ? Infinity : lot[3] })),
  );
  return lots.sort((a, b) => (a.endsAt === b.endsAt ? a.purse - b.purse : a.endsAt < b.endsAt ? -1 : 1));
}

export function availableIn(purses: readonly Purse[], currency: number): Points {
  return usableLots(purses, currency).reduce((sum, { points }) => sum + points, 0);
}

/** Points by purse; the order of the entries is that in which the purses are asked. */
type Taken = Map<number, Points>;

function take(taken: Taken, purse: number, points: Points): void {
  if (points > 0) taken.set(purse, (taken.get(purse) ?? 0) + points);
}

function takeInOrder(taken: Taken, lots: readonly Usable[], wanted: Points): Points {
  let left = wanted;
  for (const lot of lots) {
    if (left === 0) break;
    const points = Math.min(left, lot.points);
    take(taken, lot.purse, points);
    left -= points;
  }
  return left;
}

/** The same from everybody; who has less gives all, and what does not divide comes from those who have most. */
function takeEqually(taken: Taken, lots: readonly Usable[], wanted: Points): void {
  const has = new Map<number, Points>();
  for (const { purse, points } of lots) has.set(purse, (has.get(purse) ?? 0) + points);
  const rising = [...has].sort(([p, a], [q, b]) => (a === b ? p - q : a - b));
  const shares = new Map<number, Points>();
  let left = wanted;
  for (const [place, [purse, points]] of rising.entries()) {
    const share = Math.min(points, Math.floor(left / (rising.length - place)));
    shares.set(purse, share);
    left -= share;
  }
  for (const purse of [...has.keys()].sort((p, q) => p - q)) take(taken, purse, shares.get(purse)!);
}

function sharesOf(
  order: Policy['order'],
  purses: readonly Purse[],
  spender: MemberNumber,
  [currency, wanted]: Price[number],
): Taken | Lacking {
  const lots = usableLots(purses, currency);
  const available = lots.reduce((sum, { points }) => sum + points, 0);
  if (available < wanted) return { currency, available, required: wanted };
  const taken: Taken = new Map();
  if (order === 'equal_shares') {
    takeEqually(taken, lots, wanted);
    return taken;
  }
  const isOwn = ({ purse }: Usable) => purses[purse]!.member === spender;
  const left = order === 'own_first' ? takeInOrder(taken, lots.filter(isOwn), wanted) : wanted;
  takeInOrder(taken, order === 'own_first' ? lots.filter((lot) => !isOwn(lot)) : lots, left);
  return taken;
}

/** Who gives how much of a price, in the order in which they are asked; or what is lacking. */
export function planShares(
  order: Policy['order'],
  purses: readonly Purse[],
  spender: MemberNumber,
  price: Price,
): Share[] | Lacking {
  const byPurse = new Map<number, [number, Points][]>();
  for (const part of price) {
    const taken = sharesOf(order, purses, spender, part);
    if (!(taken instanceof Map)) return taken;
    for (const [purse, points] of taken)
      byPurse.set(purse, [...(byPurse.get(purse) ?? []), [part[0], points]]);
  }
  return [...byPurse].map(([purse, points]) => ({ member: purses[purse]!.member, points }));
}

/** Sums of points by currency. */
export function sumOf(prices: readonly Price[]): Map<number, Points> {
  const sums = new Map<number, Points>();
  for (const [currency, points] of prices.flat()) sums.set(currency, (sums.get(currency) ?? 0) + points);
  return sums;
}

/** What of a price others do not cover yet; empty where nothing is missing. */
export function missingOf(price: Price, covered: readonly Price[]): Price {
  const sums = sumOf(covered);
  return price
    .map(([currency, points]): [number, Points] => [currency, points - (sums.get(currency) ?? 0)])
    .filter(([, points]) => points > 0);
}
