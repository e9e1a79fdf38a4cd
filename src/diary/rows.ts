/** Writes a turn's changes into the diary: one statement a table, each row once and in the order of its key. */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import type { DayChange, OrderChange, PointsChange } from './tally.ts';

/** Numbers as PostgreSQL writes an array; `pg` would look into each of them. */
function list(values: readonly (number | undefined)[]): string {
  return `{${values.map((value) => value ?? 'null').join(',')}}`;
}

/** The visit of an order that came or went, on the order's day. */
export interface VisitChange {
  readonly member: MemberNumber;
  readonly day: number;
  readonly visits: number;
}

interface OrderRow {
  readonly member: MemberNumber;
  readonly order_key: number;
  readonly day: number | null;
  readonly receipts: number;
}

/**
 * Adds receipts to orders and takes them away; answers the visits that this made or ended. What an order had before is what
 * it has now less the change, so no row has to be read first, and two followers cannot both make one visit.
 */
export async function writeOrders(tx: pg.ClientBase, orders: Iterable<OrderChange>): Promise<VisitChange[]> {
  const rows = [...orders].sort((a, b) => a.member - b.member || a.orderKey - b.orderKey);
  if (rows.length === 0) return [];
  const written = await tx.query<OrderRow>({
    name: 'diary-orders',
    text: `insert into diary_order (member, order_key, day, receipts)
      select * from unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[])
      on conflict (member, order_key) do update set receipts = diary_order.receipts + excluded.receipts,
        day = coalesce(diary_order.day, excluded.day)
      returning member, order_key, day, receipts`,
    values: [
      list(rows.map(({ member }) => member)),
      list(rows.map(({ orderKey }) => orderKey)),
      list(rows.map(({ day }) => day)),
      list(rows.map(({ receipts }) => receipts)),
    ],
  });
  const changes = new Map(rows.map((row) => [`${row.member}.${row.orderKey}`, row.receipts]));
  return written.rows.flatMap(({ member, order_key: orderKey, day, receipts }) => {
    const before = receipts - changes.get(`${member}.${orderKey}`)!;
    const visits = (receipts > 0 ? 1 : 0) - (before > 0 ? 1 : 0);
    return visits === 0 || day === null ? [] : [{ member, day, visits }];
  });
}

export async function writeDays(tx: pg.ClientBase, changes: readonly DayChange[]): Promise<void> {
  const rows = changes
    .filter(({ visits, spend, flights, distance }) => visits || spend || flights || distance)
    .sort((a, b) => a.member - b.member || a.day - b.day);
  if (rows.length === 0) return;
  await tx.query({
    name: 'diary-days',
    text: `insert into diary_day (member, day, visits, spend, flights, distance)
      select * from unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::int[], $6::bigint[])
      on conflict (member, day) do update set visits = diary_day.visits + excluded.visits,
        spend = diary_day.spend + excluded.spend, flights = diary_day.flights + excluded.flights,
        distance = diary_day.distance + excluded.distance`,
    values: [
      list(rows.map(({ member }) => member)),
      list(rows.map(({ day }) => day)),
      list(rows.map(({ visits }) => visits)),
      list(rows.map(({ spend }) => spend)),
      list(rows.map(({ flights }) => flights)),
      list(rows.map(({ distance }) => distance)),
    ],
  });
}

export async function writePoints(tx: pg.ClientBase, changes: readonly PointsChange[]): Promise<void> {
  const rows = changes
    .filter(({ earned }) => earned !== 0)
    .sort((a, b) => a.member - b.member || a.currency - b.currency || a.day - b.day);
  if (rows.length === 0) return;
  await tx.query({
    name: 'diary-points',
    text: `insert into diary_points (member, currency, day, earned)
      select * from unnest($1::bigint[], $2::smallint[], $3::int[], $4::bigint[])
      on conflict (member, currency, day) do update set earned = diary_points.earned + excluded.earned`,
    values: [
      list(rows.map(({ member }) => member)),
      list(rows.map(({ currency }) => currency)),
      list(rows.map(({ day }) => day)),
      list(rows.map(({ earned }) => earned)),
    ],
  });
}
