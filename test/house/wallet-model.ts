/**
 * The reference model: wallets as anybody would write them down, without Redis, ledger or concurrency. Lots in burn order,
 * holds, debt; times in milliseconds, 0 = none. What is due is settled before every operation.
 */

export interface ModelLot {
  readonly number: number;
  points: number;
  readonly expiresAt: number;
  readonly availableAt: number;
}

interface Part extends ModelLot {
  points: number;
}

export interface ModelHold {
  readonly expiresAt: number;
  readonly parts: Part[];
}

export interface ModelWallet {
  lots: ModelLot[];
  nextLot: number;
  debt: number;
  settledAt: number;
  readonly holds: Map<string, ModelHold>;
  /** Points that ended unused, by the number of their lot, less those that a return has counted since. */
  readonly ended: Map<number, number>;
}

export interface ModelOriginal {
  readonly parts: Part[];
}

export function emptyWallet(): ModelWallet {
  return { lots: [], nextLot: 1, debt: 0, settledAt: 0, holds: new Map(), ended: new Map() };
}

const burn = (a: ModelLot, b: ModelLot): number =>
  (a.expiresAt || Number.POSITIVE_INFINITY) === (b.expiresAt || Number.POSITIVE_INFINITY)
    ? a.number - b.number
    : (a.expiresAt || Number.POSITIVE_INFINITY) - (b.expiresAt || Number.POSITIVE_INFINITY);

const isOver = ({ expiresAt }: ModelLot, at: number) => expiresAt > 0 && expiresAt <= at;

const usable = (at: number) => (lot: ModelLot) => lot.availableAt <= at && !isOver(lot, at);

function takeFrom(wallet: ModelWallet, wanted: number, fits: (lot: ModelLot) => boolean): Part[] {
  const parts: Part[] = [];
  let left = wanted;
  for (const lot of wallet.lots.toSorted(burn)) {
    if (left === 0 || !fits(lot)) continue;
    const points = Math.min(left, lot.points);
    lot.points -= points;
    left -= points;
    parts.push({ ...lot, points });
  }
  wallet.lots = wallet.lots.filter((lot) => lot.points > 0);
  return parts;
}

const sum = (parts: readonly { points: number }[]): number =>
  parts.reduce((total, part) => total + part.points, 0);

/** What comes back after its last day pays debt before it ends. */
function putBack(wallet: ModelWallet, part: ModelLot, at: number): void {
  let lot = wallet.lots.find((each) => each.number === part.number);
  if (!lot) {
    lot = { ...part, points: 0 };
    wallet.lots.push(lot);
  }
  const paid = isOver(part, at) ? Math.min(part.points, wallet.debt) : 0;
  lot.points += part.points - paid;
  wallet.debt -= paid;
  wallet.lots = wallet.lots.filter((each) => each.points > 0);
}

function repay(wallet: ModelWallet, at: number): void {
  wallet.debt -= sum(takeFrom(wallet, wallet.debt, usable(at)));
}

/** Ends holds, drops expired lots and pays debt with what has matured, one moment after the other. */
export function settle(wallet: ModelWallet, at: number): void {
  const moments = [
    ...[...wallet.holds.values()].map(({ expiresAt }) => expiresAt),
    ...[...wallet.lots, ...[...wallet.holds.values()].flatMap(({ parts }) => parts)].flatMap(
      ({ availableAt, expiresAt }) => [availableAt, expiresAt],
    ),
  ].filter((moment) => moment > wallet.settledAt && moment < at);
  for (const moment of [...moments.toSorted((a, b) => a - b), at]) settleAt(wallet, moment);
  wallet.settledAt = at;
}

function settleAt(wallet: ModelWallet, at: number): void {
  for (const [name, hold] of wallet.holds) {
    if (hold.expiresAt > at) continue;
    for (const part of hold.parts) putBack(wallet, part, at);
    wallet.holds.delete(name);
  }
  for (const { number, points } of wallet.lots.filter((lot) => isOver(lot, at)))
    wallet.ended.set(number, (wallet.ended.get(number) ?? 0) + points);
  wallet.lots = wallet.lots.filter((lot) => !isOver(lot, at));
  repay(wallet, at);
}

/** Points that ended unused and that nobody has returned. */
export function breakageOf(wallet: ModelWallet): number {
  return [...wallet.ended.values()].reduce((total, points) => total + points, 0);
}

export interface ModelFigures {
  readonly available: number;
  readonly pending: number;
  readonly held: number;
  readonly debt: number;
}

/** What a reply shows. A lot that came back after its last day is not available and not pending. */
export function figuresOf(wallet: ModelWallet, at: number): ModelFigures {
  return {
    available: sum(wallet.lots.filter(usable(at))),
    pending: sum(wallet.lots.filter((lot) => lot.availableAt > at)),
    held: [...wallet.holds.values()].reduce((total, hold) => total + sum(hold.parts), 0),
    debt: wallet.debt,
  };
}

export function accrue(
  wallet: ModelWallet,
  points: number,
  terms: { expiresAt: number; availableAt: number },
  at: number,
): ModelOriginal {
  if (points === 0) return { parts: [] };
  const { expiresAt, availableAt } = terms;
  let lot = wallet.lots.find(
    (each) =>
      each.expiresAt === expiresAt &&
      (each.availableAt === availableAt || (each.availableAt <= at && availableAt <= at)),
  );
  if (!lot) {
    lot = { number: wallet.nextLot, points: 0, expiresAt, availableAt };
    wallet.nextLot += 1;
    wallet.lots.push(lot);
  }
  lot.points += points;
  const parts = [{ ...lot, points }];
  repay(wallet, at);
  return { parts };
}

/** The parts that were taken, or undefined where there is not enough. */
export function spend(wallet: ModelWallet, points: number, at: number): ModelOriginal | undefined {
  if (figuresOf(wallet, at).available < points) return undefined;
  return { parts: takeFrom(wallet, points, usable(at)) };
}

/** Captures `points` of a hold in the order in which they were held; the rest goes back. */
export function capture(wallet: ModelWallet, hold: ModelHold, points: number, at: number): ModelOriginal {
  let left = points;
  const captured: Part[] = [];
  for (const part of hold.parts) {
    const share = Math.min(left, part.points);
    left -= share;
    if (share > 0) captured.push({ ...part, points: share });
    if (share < part.points) putBack(wallet, { ...part, points: part.points - share }, at);
  }
  repay(wallet, at);
  return { parts: captured };
}

export function release(wallet: ModelWallet, hold: ModelHold, at: number): void {
  for (const part of hold.parts) putBack(wallet, part, at);
}

/** Lowers what is left of an original, its last part first, and answers what was lowered. */
function lower(original: ModelOriginal, points: number): Part[] {
  const lowered: Part[] = [];
  let left = points;
  for (const part of original.parts.toReversed()) {
    const share = Math.min(left, part.points);
    if (share === 0) continue;
    part.points -= share;
    left -= share;
    lowered.push({ ...part, points: share });
  }
  return lowered;
}

export function leftOf(original: ModelOriginal): number {
  return sum(original.parts);
}

export function refund(wallet: ModelWallet, original: ModelOriginal, points: number, at: number): void {
  for (const part of lower(original, points)) putBack(wallet, part, at);
  repay(wallet, at);
}

/** Takes back from the receipt's own lot, or from what ended of it; what was spent comes from any lot, then as debt. */
export function reverse(wallet: ModelWallet, original: ModelOriginal, points: number, at: number): void {
  for (const part of lower(original, points)) {
    const own = sum(takeFrom(wallet, part.points, (lot) => lot.number === part.number));
    const ended = wallet.ended.get(part.number) ?? 0;
    const over = Math.min(part.points - own, ended);
    wallet.ended.set(part.number, ended - over);
    const others = sum(takeFrom(wallet, part.points - own - over, usable(at)));
    wallet.debt += part.points - own - over - others;
  }
  repay(wallet, at);
}
