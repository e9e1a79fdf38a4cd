/**
 * PURE. A member's counters as `scripts/counters.lua` keeps them: the epoch of their sequences, then rows of counter, period,
 * value and sequence. The books have every place; this is what of them a member brings along when it is loaded, and what a
 * state in Redis says about places that are not in it.
 */

import type { Effect } from '#src/journal.ts';

/** Periods from here on are orders and tickets, those below are of the calendar; as in `counters.lua`. */
export const ordersFrom = 100_000_000;
const everything = 1e15;
/** Calendar periods of a counter that are kept. */
const calendarMax = 3;
/** A member that was loaded brings the newest counters; there are as many as promotions ever were. */
const countersLoadedMax = 40;

/** What a place stands at. */
export type PlaceValue = readonly [counter: number, period: number, value: number];

/** What an operation counted, as the change that takes it back (`undo.lua`). */
export function countersBack({ counters = [] }: Pick<Effect, 'counters'>): PlaceValue[] {
  return counters.map(([counter, period, by]) => [counter, period, -by]);
}

/** A counter in the books: its newest calendar periods, one more than are kept, and whether it ever counted an order. */
export type CounterInBooks = readonly [
  counter: number,
  calendar: readonly (readonly [period: number, value: number])[] | null,
  hasOrders: boolean,
];

/**
 * The counters of a member in the books, newest first. Orders are left out: which of them were the last nobody notes, and
 * one that comes back is read when it is asked for.
 */
export const countersQuery = (member: string) => `
  (with recursive k(counter, place) as (
     (select c.counter, 1 from counter c where c.member = ${member} order by c.counter desc limit 1)
     union all
     select n.counter, k.place + 1 from k cross join lateral (
       select c.counter from counter c where c.member = ${member} and c.counter < k.counter order by c.counter desc limit 1) n
     where k.place <= ${countersLoadedMax})
   select json_agg(json_build_array(k.counter,
     (select json_agg(json_build_array(n.period, n.value) order by n.period desc) from (
        select c.period, c.value from counter c where c.member = ${member} and c.counter = k.counter and c.period < ${ordersFrom}
        order by c.period desc limit ${calendarMax + 1}) n),
     exists (select from counter c where c.member = ${member} and c.counter = k.counter and c.period >= ${ordersFrom}))
     order by k.place) from k)`;

/** The list that a member is loaded with, read from books at this number of its shard's journal. */
export function loadedCounters(
  counters: readonly CounterInBooks[] | null,
  { epoch, seq }: { readonly epoch: number; readonly seq: number },
): number[] {
  const rows: number[] = [];
  for (const [counter, calendar, hasOrders] of (counters ?? []).slice(0, countersLoadedMax)) {
    for (const [period, value] of (calendar ?? []).slice(0, calendarMax))
      rows.push(counter, period, value, seq);
    const older = calendar?.[calendarMax];
    if (older) rows.push(-counter, older[0], 0, seq);
    if (hasOrders) rows.push(-counter, everything, 0, seq);
  }
  if (counters && counters.length > countersLoadedMax) rows.push(0, everything, 0, seq);
  return rows.length === 0 ? [] : [epoch, ...rows];
}

export interface HotCounters {
  readonly places: readonly PlaceValue[];
  /** Whether a place that is not among them may stand at anything. */
  covers(counter: number, period: number): boolean;
}

/** What a state in Redis says; undefined is one that a version without counters has loaded. */
export function hotCounters(list: readonly number[] | undefined): HotCounters {
  const places: PlaceValue[] = [];
  const dropped: (readonly [of: number, through: number])[] = list ? [] : [[0, everything]];
  for (let i = 1; list && i + 3 < list.length; i += 4) {
    const [of = 0, period = 0, value = 0] = list.slice(i, i + 3);
    if (of > 0) places.push([of, period, value]);
    else dropped.push([of, period]);
  }
  return {
    places,
    covers: (counter, period) =>
      dropped.some(
        ([of, through]) =>
          of === 0 || (of === -counter && period <= through && period < ordersFrom === through < ordersFrom),
      ),
  };
}
