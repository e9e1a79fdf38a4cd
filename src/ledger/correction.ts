/**
 * PURE. Plans the operation that settles a quarantined record: the difference between what it should have booked and what
 * stands booked under its number, as legs that fit the member as the books have it now.
 *
 * Most legs are booked as they are. Where the member has moved on meanwhile (the lot is spent, its number was given to
 * another lot), points that come go into a new lot with the same terms, and points that go are taken from that lot, then
 * from the others in the order of spending, then owed. A lot never ends below where it was, or below zero, and its terms
 * never change. Each replacement has the points of what it replaces, so the legs sum to zero like those they stand for.
 */
import type { Effect, HeldLeg, Leg, PlainLeg, WalletLeg } from '#src/journal.ts';

export interface LotRow {
  readonly currency: number;
  readonly lot: number;
  readonly points: number;
  readonly party: number;
  readonly expires_at: number;
  readonly available_at: number;
}

/** A member as the books have it. */
export interface MemberStanding {
  /** All lots that ever were, the empty ones too: their numbers are taken. */
  readonly lots: readonly LotRow[];
  readonly debts: readonly (readonly [currency: number, points: number])[];
  readonly holds: readonly (readonly [hold: string, parts: readonly (readonly number[])[]])[];
}

/** The input of `correct.lua`. */
export interface CorrectionPlan {
  readonly legs: readonly Leg[];
  readonly next: readonly (readonly [currency: number, lot: number])[];
  readonly debts: readonly (readonly [currency: number, points: number])[];
  readonly lots: readonly (readonly [currency: number, lot: number, points: number])[];
  readonly holds: readonly string[];
}

/** The record cannot be settled this way; the message says what to do instead. */
export class NotCorrectable extends Error {}

/** A leg without its points. */
function identityOf(leg: Leg): string {
  return JSON.stringify(leg.with(2, 0));
}

/** What is to be booked so that `booked` becomes `wanted`. */
function difference(booked: readonly Leg[], wanted: readonly Leg[]): Leg[] {
  const sums = new Map<string, Leg>();
  const add = (leg: Leg, sign: 1 | -1) => {
    const before = sums.get(identityOf(leg));
    sums.set(identityOf(leg), leg.with(2, (before?.[2] ?? 0) + sign * leg[2]) as unknown as Leg);
  };
  for (const leg of wanted) add(leg, 1);
  for (const leg of booked) add(leg, -1);
  return [...sums.values()].filter((leg) => leg[2] !== 0);
}

interface Wallet {
  readonly lots: Map<number, { points: number; readonly row: LotRow }>;
  next: number;
  debt: number;
}

function walletsOf(standing: MemberStanding): { of(currency: number): Wallet } {
  const wallets = new Map<number, Wallet>();
  const of = (currency: number) => {
    const wallet = wallets.get(currency) ?? { lots: new Map(), next: 1, debt: 0 };
    wallets.set(currency, wallet);
    return wallet;
  };
  for (const row of standing.lots) {
    const wallet = of(row.currency);
    wallet.lots.set(row.lot, { points: row.points, row });
    wallet.next = Math.max(wallet.next, row.lot + 1);
  }
  for (const [currency, points] of standing.debts) of(currency).debt = points;
  return { of };
}

function sameTerms(leg: WalletLeg, row: LotRow): boolean {
  return row.party === leg[4] && row.expires_at === leg[5] && row.available_at === leg[6];
}

function legOfLot(row: LotRow, points: number): WalletLeg {
  return ['wallet', row.currency, points, row.lot, row.party, row.expires_at, row.available_at];
}

/** Gives points to the leg's lot, or to a new one where its number means another lot now. */
function give(wallet: Wallet, leg: WalletLeg): WalletLeg {
  const [account, currency, points, number, party, expiresAt, availableAt] = leg;
  const found = wallet.lots.get(number);
  if (found && sameTerms(leg, found.row)) {
    found.points += points;
    return leg;
  }
  const lot = found ? wallet.next : number;
  wallet.next = Math.max(wallet.next, lot + 1);
  const row = { currency, lot, points, party, expires_at: expiresAt, available_at: availableAt };
  wallet.lots.set(lot, { points, row });
  return [account, currency, points, lot, party, expiresAt, availableAt];
}

/** Takes points from the leg's lot, then from the others, soonest expiry first; the rest is owed. */
function takeAway(wallet: Wallet, leg: WalletLeg): Leg[] {
  const own = wallet.lots.get(leg[3]);
  const others = [...wallet.lots.values()]
    .filter((lot) => lot !== own)
    .sort(
      (a, b) =>
        (a.row.expires_at || Number.MAX_SAFE_INTEGER) - (b.row.expires_at || Number.MAX_SAFE_INTEGER) ||
        a.row.lot - b.row.lot,
    );
  const legs: Leg[] = [];
  let rest = -leg[2];
  for (const lot of own && sameTerms(leg, own.row) ? [own, ...others] : [...others, ...(own ? [own] : [])]) {
    const points = Math.min(rest, Math.max(0, lot.points));
    if (points === 0) continue;
    lot.points -= points;
    rest -= points;
    legs.push(legOfLot(lot.row, -points));
  }
  if (rest > 0) legs.push(['debt', leg[1], -rest, 0]);
  return legs;
}

/** What is owed less; more than is owed goes into a lot of its own. */
function repay(wallet: Wallet, leg: PlainLeg): Leg[] {
  const [, currency, points] = leg;
  if (points < 0) return [leg];
  const repaid = Math.min(points, wallet.debt);
  const legs: Leg[] = [];
  if (repaid > 0) legs.push(['debt', currency, repaid, 0]);
  if (points > repaid) legs.push(give(wallet, ['wallet', currency, points - repaid, wallet.next, 0, 0, 0]));
  return legs;
}

/** Points that wait under holds which the correction ends. Throws where a hold is not as the record left it. */
function endedHolds(held: readonly HeldLeg[], standing: MemberStanding): string[] {
  const ended = [...new Set(held.map((leg) => leg[4]))];
  for (const hold of ended) {
    const parts = standing.holds.find(([open]) => open === hold)?.[1];
    const waiting = (parts ?? []).reduce((sum, part) => sum + part[2]!, 0);
    const taken = held.reduce((sum, leg) => sum - (leg[4] === hold ? leg[2] : 0), 0);
    if (!parts || waiting !== taken)
      throw new NotCorrectable('its hold was settled since; correct the member by an adjustment');
  }
  return ended;
}

/** Plans what turns the booked legs of a record into the wanted ones. Throws NotCorrectable with what to do instead. */
export function planCorrection(
  booked: Effect,
  wanted: readonly Leg[],
  standing: MemberStanding,
): CorrectionPlan {
  if (wanted.some((leg) => leg[0] === 'held')) {
    throw new NotCorrectable(
      'a record of a hold cannot be booked late; void it and let the caller hold or capture again',
    );
  }
  const wallets = walletsOf(standing);
  const nextBefore = new Map<number, number>();
  const delta = difference(booked.legs, wanted);
  for (const leg of delta) nextBefore.set(leg[1], wallets.of(leg[1]).next);
  const debtsBefore = [...nextBefore.keys()].map(
    (currency) => [currency, wallets.of(currency).debt] as const,
  );
  const held = delta.filter((leg): leg is HeldLeg => leg[0] === 'held');
  const holds = endedHolds(
    held.filter((leg) => leg[2] < 0),
    standing,
  );
  const legs: Leg[] = [];
  // What comes first: it may be what is taken.
  for (const leg of delta.toSorted((a, b) => b[2] - a[2])) {
    const wallet = wallets.of(leg[1]);
    if (leg[0] === 'wallet') legs.push(...(leg[2] > 0 ? [give(wallet, leg)] : takeAway(wallet, leg)));
    else if (leg[0] === 'debt') legs.push(...repay(wallet, leg));
    else if (leg[0] === 'held' && leg[2] > 0)
      // A captured hold is not opened again: its points go back to their lot.
      legs.push(give(wallet, ['wallet', leg[1], leg[2], leg[3], leg[5], leg[6], leg[7]]));
    else legs.push(leg);
  }
  const touched = new Set(legs.flatMap((leg) => (leg[0] === 'wallet' ? [`${leg[1]}.${leg[3]}`] : [])));
  const lots = [...touched].map((key) => {
    const [currency, lot] = key.split('.').map(Number) as [number, number];
    const row = standing.lots.find((each) => each.currency === currency && each.lot === lot);
    return [currency, lot, row?.points ?? 0] as const;
  });
  return { legs, next: [...nextBefore], debts: debtsBefore, lots, holds };
}
