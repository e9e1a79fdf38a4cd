/** PURE. Changes of a turn added up, so that each day, order and currency is one row however often it was touched. */
import type { Program } from '#src/earning/program.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Change, Deed } from './deeds.ts';

export interface DayChange {
  readonly member: MemberNumber;
  readonly day: number;
  visits: number;
  spend: number;
  flights: number;
  distance: number;
}

export interface PointsChange {
  readonly member: MemberNumber;
  readonly currency: number;
  readonly day: number;
  earned: number;
}

export interface OrderChange {
  /** The member who bought, whatever became of them. */
  readonly member: MemberNumber;
  readonly orderKey: number;
  /** Of the first receipt; undefined while only returns were seen. */
  day: number | undefined;
  receipts: number;
}

export interface Tally {
  add(deed: Deed, change: Change, isFirst: boolean): void;
  readonly days: ReadonlyMap<string, DayChange>;
  readonly points: ReadonlyMap<string, PointsChange>;
  readonly orders: ReadonlyMap<string, OrderChange>;
  readonly programs: ReadonlyMap<MemberNumber, Program>;
}

/** Under the numbers of those who acted; `isFirst`: the deed itself is read, and not a return of it. */
export function createTally(): Tally {
  const days = new Map<string, DayChange>();
  const points = new Map<string, PointsChange>();
  const orders = new Map<string, OrderChange>();
  const programs = new Map<MemberNumber, Program>();

  function addOrder(member: MemberNumber, orderKey: number, receipts: number, day: number | undefined): void {
    const key = `${member}.${orderKey}`;
    const order = orders.get(key);
    if (!order) orders.set(key, { member, orderKey, receipts, day });
    else {
      order.receipts += receipts;
      order.day ??= day;
    }
  }

  function addDay(member: MemberNumber, day: number, visits: number, change: Change): void {
    const key = `${member}.${day}`;
    const found = days.get(key) ?? { member, day, visits: 0, spend: 0, flights: 0, distance: 0 };
    found.visits += visits;
    found.spend += change.spend;
    found.flights += change.flights;
    found.distance += change.distance;
    days.set(key, found);
  }

  return {
    add({ accrual: { member, program }, day, orderKey }, change, isFirst) {
      programs.set(member, program);
      if (orderKey !== undefined && change.receipts !== 0)
        addOrder(member, orderKey, change.receipts, isFirst ? day : undefined);
      const visits = orderKey === undefined ? change.receipts : 0;
      if (visits !== 0 || change.spend !== 0 || change.flights !== 0 || change.distance !== 0)
        addDay(member, day, visits, change);
      for (const [currency, earned] of Object.entries(change.points)) {
        if (earned === 0) continue;
        const key = `${member}.${currency}.${day}`;
        const found = points.get(key);
        if (found) found.earned += earned;
        else points.set(key, { member, currency: Number(currency), day, earned });
      }
    },
    days,
    points,
    orders,
    programs,
  };
}

/** Rows that became one because their members are one by now; those that ended at nothing are left out. */
export function underSurvivors<Row extends { readonly member: MemberNumber; readonly day: number }>(
  rows: Iterable<Row>,
  survivorOf: (member: MemberNumber) => MemberNumber,
  keyOf: (row: Row) => string,
  add: (into: Row, row: Row) => void,
): Row[] {
  const merged = new Map<string, Row>();
  for (const row of rows) {
    const own = { ...row, member: survivorOf(row.member) };
    const key = `${own.member}.${keyOf(own)}`;
    const found = merged.get(key);
    if (found) add(found, own);
    else merged.set(key, own);
  }
  return [...merged.values()];
}
