/**
 * PURE. How an operation that was decided on stale balances is booked.
 *
 * A Redis that came back older than the books goes on from where it stands, so what it acknowledges may take points that
 * the books know as spent. Acknowledged wins: the operation is booked. What the outside world was told (the legs of the
 * program's accounts: what was issued, redeemed, moved to clearing) is kept as it is; the member's side is decided again
 * against the member as the books have it:
 *
 * - Points given go to the lot of that number when its terms are the same, else to a lot with the same terms, else to a
 *   new one: the terms of a lot never change.
 * - Points taken come from the lot that the record names, then from what else is usable at its time in burn order. What is
 *   still missing is a shortfall: it becomes debt. A spend is lent the missing points in a lot with the terms it named
 *   (debt -, wallet +, wallet -), so that a refund puts them back and pays the debt off.
 * - A hold that is open in the books is resolved with the parts that the books have. One that the books have resolved
 *   already gives nothing: a capture is paid like a spend, a release moves nothing.
 * - Points that only got other terms (extension, unlock) get them as far as the books still have them in that lot.
 * - What the script did only to tidy up (debt paid off by available points, two lots made one) is left out; the next
 *   script that touches the member does it on the true balances.
 * - A status change is applied where it is reachable from the status in the books; the version of the facts only rises and
 *   a freeze stays.
 *
 * Invariants: legs sum to zero in each currency, no lot and no debt goes below zero, a hold's held legs end at zero.
 */
import type { Effect, HeldLeg, JournalRecord, Leg, PlainLeg, WalletLeg } from '#src/journal.ts';
import type { EpochMs, OperationHex, Points } from '#src/values.ts';

export interface Terms {
  readonly expiresAt: EpochMs;
  readonly availableAt: EpochMs;
  readonly party: number;
}

export interface LotInBooks extends Terms {
  readonly lot: number;
  points: Points;
}

export interface WalletInBooks {
  debt: Points;
  nextLot: number;
  /** All that ever were, also the empty ones: their numbers and terms are taken. */
  readonly lots: LotInBooks[];
}

export interface PartInBooks extends Terms {
  readonly currency: number;
  readonly lot: number;
  readonly points: Points;
}

/** A member as the books have it; `rebook` moves it on. */
export interface MemberInBooks {
  status: NonNullable<Effect['status']>;
  frozen: number;
  facts: number;
  into: number;
  readonly wallets: Map<number, WalletInBooks>;
  /** Open holds. */
  readonly holds: Map<string, readonly PartInBooks[]>;
}

export type Shortfall = [currency: number, points: Points];

export interface Rebooked {
  readonly effect: Effect;
  readonly shortfall: readonly Shortfall[];
}

/** The wallet of a currency, opened where there is none yet. */
export function walletOf(member: MemberInBooks, currency: number): WalletInBooks {
  const wallet = member.wallets.get(currency) ?? { debt: 0, nextLot: 1, lots: [] };
  member.wallets.set(currency, wallet);
  return wallet;
}

function hasTerms(lot: Terms, terms: Terms): boolean {
  return (
    lot.expiresAt === terms.expiresAt && lot.availableAt === terms.availableAt && lot.party === terms.party
  );
}

/** The lot that stands for the named one in the books: the same number and terms, else the same terms. */
function lotFor(wallet: WalletInBooks, number: number, terms: Terms): LotInBooks | undefined {
  const same = wallet.lots.filter((lot) => hasTerms(lot, terms));
  return same.find(({ lot }) => lot === number) ?? same.find(({ points }) => points > 0) ?? same[0];
}

function lotOrNew(wallet: WalletInBooks, number: number, terms: Terms): LotInBooks {
  const found = lotFor(wallet, number, terms);
  if (found) return found;
  const { expiresAt, availableAt, party } = terms;
  const opened = { lot: wallet.nextLot, points: 0, expiresAt, availableAt, party };
  wallet.nextLot += 1;
  wallet.lots.push(opened);
  return opened;
}

const neverExpires = 9e15;

function inBurnOrder(a: LotInBooks, b: LotInBooks): number {
  return (a.expiresAt || neverExpires) - (b.expiresAt || neverExpires) || a.lot - b.lot;
}

function walletLeg(currency: number, lot: LotInBooks, points: Points): WalletLeg {
  return ['wallet', currency, points, lot.lot, lot.party, lot.expiresAt, lot.availableAt];
}

interface Piece {
  readonly lot: LotInBooks;
  readonly points: Points;
}

/** Takes up to `points`; answers from which lots, and what was not there. */
function take(
  wallet: WalletInBooks,
  points: Points,
  named: LotInBooks | undefined,
  at: EpochMs,
): { pieces: Piece[]; rest: Points } {
  const usable = wallet.lots
    .filter((lot) => lot !== named && lot.availableAt <= at && (lot.expiresAt === 0 || lot.expiresAt > at))
    .sort(inBurnOrder);
  const pieces: Piece[] = [];
  let rest = points;
  for (const lot of named ? [named, ...usable] : usable) {
    const part = Math.min(rest, lot.points);
    if (part === 0) continue;
    lot.points -= part;
    rest -= part;
    pieces.push({ lot, points: part });
  }
  return { pieces, rest };
}

/** Removes what the script did only to tidy up; answers the legs with what is left of their points. */
function withoutTidying(legs: readonly Leg[]): Leg[] {
  const left = legs.map((leg) => leg[2]);
  const cancel = (i: number, j: number, stopAt: Points) => {
    const part = Math.min(stopAt, -left[j]!);
    left[j]! += part;
    left[i]! -= part;
  };
  legs.forEach((leg, i) => {
    const isCredit = leg[0] === 'wallet' && leg[2] > 0;
    if (!isCredit && !(leg[0] === 'debt' && leg[2] > 0)) return;
    for (let j = i - 1; j >= 0 && left[i]! > 0; j -= 1) {
      const before = legs[j]!;
      if (before[1] !== leg[1]) continue;
      // Two lots were made one right before the credit; debt was paid off by whatever stands before it.
      if (isCredit && before[0] !== 'wallet') break;
      if (before[0] === 'wallet' && left[j]! < 0) cancel(i, j, left[i]!);
    }
  });
  return legs.map((leg, i) => leg.with(2, left[i]!) as Leg);
}

function termsOf(leg: WalletLeg | HeldLeg): Terms {
  const [party, expiresAt, availableAt] =
    leg[0] === 'wallet' ? [leg[4], leg[5], leg[6]] : [leg[5], leg[6], leg[7]];
  return { party, expiresAt, availableAt };
}

/** What a resolved hold gave back and nobody has taken yet, and what it should have given but did not. */
interface Released {
  readonly parts: { readonly part: PartInBooks; points: Points }[];
  unfunded: Points;
  terms: Terms;
}

/** The booking of one record: its legs as they are made, against the member as it changes. */
class Booking {
  readonly legs: Leg[] = [];
  readonly shortfall = new Map<number, Points>();
  readonly resolved = new Set<string>();
  private readonly released = new Map<number, Released>();
  private readonly member: MemberInBooks;
  private readonly at: EpochMs;

  constructor(member: MemberInBooks, at: EpochMs) {
    this.member = member;
    this.at = at;
  }

  private owe(currency: number, points: Points): void {
    walletOf(this.member, currency).debt += points;
    this.shortfall.set(currency, (this.shortfall.get(currency) ?? 0) + points);
    this.legs.push(['debt', currency, -points, 0]);
  }

  private releasedOf(currency: number): Released {
    const none = { parts: [], unfunded: 0, terms: { party: 0, expiresAt: 0, availableAt: 0 } };
    const released = this.released.get(currency) ?? none;
    this.released.set(currency, released);
    return released;
  }

  private put(currency: number, points: Points, number: number, terms: Terms): void {
    if (points === 0) return;
    const lot = lotOrNew(walletOf(this.member, currency), number, terms);
    lot.points += points;
    this.legs.push(walletLeg(currency, lot, points));
  }

  /** Points back from a hold go to the lots that the hold has in the books. */
  give(leg: WalletLeg): void {
    const [, currency, points, number] = leg;
    const released = this.releasedOf(currency);
    const unpaid = Math.min(points, released.unfunded);
    released.unfunded -= unpaid;
    let rest = points - unpaid;
    for (const held of released.parts) {
      const part = Math.min(rest, held.points);
      held.points -= part;
      rest -= part;
      this.put(currency, part, held.part.lot, held.part);
    }
    this.put(currency, rest, number, termsOf(leg));
  }

  /** Takes points and hands each piece to `onPiece`; what is missing is lent in a lot with the terms that were named. */
  takeLent(leg: WalletLeg, onPiece: (piece: Piece) => void): void {
    const [, currency, points, number] = leg;
    const wallet = walletOf(this.member, currency);
    const { pieces, rest } = take(wallet, -points, lotFor(wallet, number, termsOf(leg)), this.at);
    for (const piece of pieces) {
      this.legs.push(walletLeg(currency, piece.lot, -piece.points));
      onPiece(piece);
    }
    if (rest === 0) return;
    const lot = lotOrNew(wallet, number, termsOf(leg));
    this.owe(currency, rest);
    this.legs.push(walletLeg(currency, lot, rest), walletLeg(currency, lot, -rest));
    onPiece({ lot, points: rest });
  }

  /** Opens a hold over the pieces that were taken for it. */
  hold(currency: number, hold: OperationHex, { lot, points }: Piece): void {
    this.legs.push(['held', currency, points, lot.lot, hold, lot.party, lot.expiresAt, lot.availableAt]);
    const parts = this.member.holds.get(hold) ?? [];
    const { expiresAt, availableAt, party } = lot;
    const part = { currency, lot: lot.lot, points, expiresAt, availableAt, party };
    this.member.holds.set(hold, [...parts, part]);
  }

  /** Resolves a hold at its first leg, with the parts that the books have. */
  resolve(leg: HeldLeg): void {
    const [, currency, points, , hold] = leg;
    const parts = this.member.holds.get(hold);
    if (parts) {
      this.member.holds.delete(hold);
      this.resolved.add(hold);
      for (const part of parts) {
        const { lot, party, expiresAt, availableAt } = part;
        this.legs.push(['held', part.currency, -part.points, lot, hold, party, expiresAt, availableAt]);
        this.releasedOf(part.currency).parts.push({ part, points: part.points });
      }
    } else if (!this.resolved.has(hold)) {
      const released = this.releasedOf(currency);
      released.unfunded -= points;
      released.terms = termsOf(leg);
    }
  }

  /** What leaves the wallet by a capture: out of what the hold gave, else out of what the member has, else as debt. */
  capture(currency: number, points: Points): void {
    const released = this.releasedOf(currency);
    let rest = points;
    for (const held of released.parts) {
      const part = Math.min(rest, held.points);
      held.points -= part;
      rest -= part;
    }
    const unpaid = Math.min(rest, released.unfunded);
    if (unpaid === 0) return;
    released.unfunded -= unpaid;
    const wallet = walletOf(this.member, currency);
    const taken = take(wallet, unpaid, lotFor(wallet, 0, released.terms), this.at);
    for (const { lot, points: part } of taken.pieces) this.legs.push(walletLeg(currency, lot, -part));
    if (taken.rest > 0) this.owe(currency, taken.rest);
  }

  debt(leg: PlainLeg): void {
    const [, currency, points] = leg;
    const wallet = walletOf(this.member, currency);
    const part = points > 0 ? Math.min(points, wallet.debt) : points;
    wallet.debt -= part;
    if (part !== 0) this.legs.push(['debt', currency, part, 0]);
    this.put(currency, points - part, 0, { party: 0, expiresAt: 0, availableAt: 0 });
  }

  /** Points that only got other terms: those that the books still have. */
  move(from: WalletLeg, into: WalletLeg): void {
    const [, currency, points, number] = from;
    const lot = lotFor(walletOf(this.member, currency), number, termsOf(from));
    const part = Math.min(lot?.points ?? 0, -points);
    if (!lot || part === 0) return;
    lot.points -= part;
    this.legs.push(walletLeg(currency, lot, -part));
    this.put(currency, part, into[3], termsOf(into));
  }

  /** Gives back what a hold had more in the books than the record says. */
  end(): void {
    for (const [currency, { parts }] of this.released) {
      for (const { part, points } of parts) this.put(currency, points, part.lot, part);
    }
  }
}

/** Books one leg; `next` is the one after it, which says whether points are taken for a hold. */
function bookLeg(booking: Booking, kind: JournalRecord['kind'], leg: Leg, next: Leg | undefined): void {
  // What a hold receives is booked together with the wallet leg before it.
  if (leg[2] === 0 || (leg[0] === 'held' && leg[2] > 0)) return;
  if (leg[0] === 'held') booking.resolve(leg);
  else if (leg[0] === 'debt') booking.debt(leg);
  else if (leg[0] !== 'wallet') {
    if ((kind === 'capture' || kind === 'exchange_out') && leg[2] > 0) booking.capture(leg[1], leg[2]);
    booking.legs.push(leg);
  } else if (leg[2] > 0) booking.give(leg);
  else {
    const isForHold = next?.[0] === 'held' && next[2] > 0 && next[1] === leg[1];
    booking.takeLent(leg, (piece) => {
      if (isForHold) booking.hold(leg[1], next[4] as OperationHex, piece);
    });
  }
}

type Status = MemberInBooks['status'];

/** The same table as in `status.lua`. */
const reachable: Readonly<Record<Status, readonly Status[]>> = {
  active: ['active', 'suspended', 'closed', 'merging'],
  suspended: ['active', 'suspended', 'closed', 'merging'],
  merging: ['merging', 'merged', 'active'],
  closed: ['closed'],
  merged: ['merged'],
};

function statusOf(
  member: MemberInBooks,
  effect: Effect,
): Pick<Effect, 'status' | 'frozen' | 'facts' | 'into'> {
  if (effect.status === undefined) return {};
  if (reachable[member.status].includes(effect.status)) {
    if (member.status !== 'merged') member.into = effect.into ?? 0;
    member.status = effect.status;
  }
  member.frozen = Math.max(member.frozen, effect.frozen ?? 0);
  member.facts = Math.max(member.facts + 1, effect.facts ?? 0);
  const { status, frozen, facts, into } = member;
  return { status, frozen, facts, into };
}

/** What an extension or an unlock moved from lot to lot; debt that was paid off on the way is left to the next script. */
function bookMoves(booking: Booking, legs: readonly Leg[]): void {
  legs.forEach((from, i) => {
    const into = legs[i + 1];
    if (from[0] !== 'wallet' || into?.[0] !== 'wallet') return;
    if (from[2] < 0 && into[2] === -from[2] && from[1] === into[1]) booking.move(from, into);
  });
}

/** Books what a record did against the member as the books have it, and moves the member on. */
export function rebook(
  member: MemberInBooks,
  record: Pick<JournalRecord, 'kind' | 'at'>,
  effect: Effect,
): Rebooked {
  const booking = new Booking(member, record.at);
  if (record.kind === 'extension' || record.kind === 'unlock') bookMoves(booking, effect.legs);
  else {
    const legs = withoutTidying(effect.legs);
    legs.forEach((leg, i) => {
      bookLeg(booking, record.kind, leg, legs[i + 1]);
    });
  }
  booking.end();
  const ended = effect.holds?.filter((hold) => booking.resolved.has(hold));
  return {
    // Balances stay as the caller was told them.
    effect: {
      ...effect,
      ...(ended === undefined ? {} : { holds: ended }),
      ...statusOf(member, effect),
      legs: booking.legs,
    },
    shortfall: [...booking.shortfall],
  };
}

/** The step that freezes a member's spending until somebody has looked. */
export function freeze(member: MemberInBooks): Effect {
  member.frozen = 1;
  member.facts += 1;
  const { status, facts, into } = member;
  return { legs: [], balances: [], status, frozen: 1, facts, into, holds: [] };
}
