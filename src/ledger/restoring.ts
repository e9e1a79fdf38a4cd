/**
 * PURE. What the books lack of a member, where Redis has it as it really is and some records behind the gap are kept:
 * Redis less books less what the kept records still add, lot by lot, hold by hold. The other side is `recovered`.
 */
import type { z } from 'zod';
import type { CounterRow, Effect, Leg } from '#src/journal.ts';
import type { OperationHex } from '#src/values.ts';
import { hotCounters } from '#src/wallet/counter-state.ts';
import type { memberStateSchema } from './audit-standing.ts';
import { type CountersByPlace, placeKey } from './counter-rows.ts';
import type { MemberInBooks, Terms } from './rebooking.ts';

/** A member as `member.lua` keeps it. */
export type HotMember = z.output<typeof memberStateSchema>;

export interface Missing {
  /** Legs of one recovery: lots, debts, and holds that ended in the gap. */
  readonly legs: readonly Leg[];
  readonly ended: readonly OperationHex[];
  /** Holds that were opened in the gap. */
  readonly holds: readonly {
    readonly hold: OperationHex;
    readonly expiresAt: number;
    readonly legs: Leg[];
  }[];
  /** Where status, freeze, facts or survivor differ. */
  readonly status: Pick<Effect, 'status' | 'frozen' | 'facts' | 'into'> | undefined;
  /** Points that moved on the member's side. */
  readonly points: number;
}

interface Figure {
  readonly currency: number;
  readonly lot: number;
  /** Empty for a lot that is not under a hold. */
  readonly hold: string;
  readonly terms: Terms;
  points: number;
}

/** Sums by lot and hold. */
class Figures {
  readonly all = new Map<string, Figure>();
  readonly debts = new Map<number, number>();

  add(currency: number, lot: number, hold: string, points: number, terms: Terms): void {
    const key = `${currency}.${lot}.${hold}`;
    const figure = this.all.get(key);
    if (figure) figure.points += points;
    else this.all.set(key, { currency, lot, hold, terms, points });
  }

  owe(currency: number, points: number): void {
    this.debts.set(currency, (this.debts.get(currency) ?? 0) + points);
  }
}

function addHot(figures: Figures, hot: HotMember): void {
  for (const [currency, debt, , lots] of hot[7]) {
    figures.owe(currency, debt);
    for (const [lot, points, expiresAt, availableAt, party] of lots)
      figures.add(currency, lot, '', points, { expiresAt, availableAt, party });
  }
  for (const [hold, , parts] of hot[8]) {
    for (const [currency, lot, points, expiresAt, availableAt, party] of parts)
      figures.add(currency, lot, hold, points, { expiresAt, availableAt, party });
  }
}

function takeBooks(figures: Figures, books: MemberInBooks): void {
  for (const [currency, { debt, lots }] of books.wallets) {
    figures.owe(currency, -debt);
    for (const lot of lots) figures.add(currency, lot.lot, '', -lot.points, lot);
  }
  for (const [hold, parts] of books.holds) {
    for (const part of parts) figures.add(part.currency, part.lot, hold, -part.points, part);
  }
}

function takeKept(figures: Figures, kept: readonly Leg[]): void {
  for (const leg of kept) {
    if (leg[0] === 'wallet') {
      const [, currency, points, lot, party, expiresAt, availableAt] = leg;
      figures.add(currency, lot, '', -points, { party, expiresAt, availableAt });
    } else if (leg[0] === 'held') {
      const [, currency, points, lot, hold, party, expiresAt, availableAt] = leg;
      figures.add(currency, lot, hold, -points, { party, expiresAt, availableAt });
    } else if (leg[0] === 'debt') figures.owe(leg[1], leg[2]);
  }
}

function legOf({ currency, lot, hold, terms, points }: Figure): Leg {
  const { party, expiresAt, availableAt } = terms;
  return hold === ''
    ? ['wallet', currency, points, lot, party, expiresAt, availableAt]
    : ['held', currency, points, lot, hold, party, expiresAt, availableAt];
}

/** The legs and, in each currency, their other side. */
function balanced(legs: readonly Leg[]): Leg[] {
  const sums = new Map<number, number>();
  for (const leg of legs) sums.set(leg[1], (sums.get(leg[1]) ?? 0) + leg[2]);
  const other = [...sums]
    .filter(([, sum]) => sum !== 0)
    .map(([currency, sum]): Leg => ['recovered', currency, -sum, 0]);
  return [...legs, ...other];
}

function statusOf(hot: HotMember, books: MemberInBooks): Missing['status'] {
  const [, , , status, facts, frozen, into] = hot;
  const isSame =
    status === books.status && frozen === books.frozen && facts === books.facts && into === books.into;
  return isSame ? undefined : { status: status as MemberInBooks['status'], frozen, facts, into };
}

/**
 * What the counters that Redis has lack in the books, beside what the kept records still count. Of places that had left Redis
 * nobody knows; they stay as the books have them.
 */
export function missingCounters(
  hot: HotMember,
  books: CountersByPlace | undefined,
  kept: readonly CounterRow[],
): CounterRow[] {
  return hotCounters(hot[9]).places.flatMap(([counter, period, value]) => {
    const before = books?.get(placeKey(counter, period)) ?? 0;
    const following = kept.reduce(
      (sum, row) => (row[0] === counter && row[1] === period ? sum + row[2] : sum),
      0,
    );
    const by = value - before - following;
    return by === 0 ? [] : [[counter, period, by, before + by] satisfies CounterRow];
  });
}

/** What must be booked before the kept records, so that the books end at what Redis has. */
export function missingOf(hot: HotMember, books: MemberInBooks, kept: readonly Leg[]): Missing {
  const figures = new Figures();
  addHot(figures, hot);
  takeBooks(figures, books);
  takeKept(figures, kept);
  const differing = [...figures.all.values()].filter(({ points }) => points !== 0);
  const opened = Map.groupBy(
    differing.filter(({ hold, points }) => hold !== '' && points > 0),
    ({ hold }) => hold,
  );
  const ended = differing.filter(({ hold, points }) => hold !== '' && points < 0);
  const expiries = new Map(hot[8].map(([hold, expiresAt]) => [hold, expiresAt]));
  const own = [
    ...differing.filter(({ hold }) => hold === '').map(legOf),
    ...ended.map(legOf),
    ...[...figures.debts]
      .filter(([, points]) => points !== 0)
      .map(([currency, points]): Leg => ['debt', currency, -points, 0]),
  ];
  return {
    legs: balanced(own),
    ended: [...new Set(ended.map(({ hold }) => hold as OperationHex))],
    holds: [...opened].map(([hold, parts]) => ({
      hold: hold as OperationHex,
      expiresAt: expiries.get(hold) ?? 0,
      legs: balanced(parts.map(legOf)),
    })),
    status: statusOf(hot, books),
    points: differing.reduce((sum, { points }) => sum + Math.abs(points), 0),
  };
}
