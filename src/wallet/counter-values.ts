/**
 * What this process last heard of members' counters. Judging a receipt asks here first; the script says when a value that a
 * judgement relied on has become another one (`stale_counters`), and the judgement is made again with that.
 */
import { LRUCache } from 'lru-cache';
import type { MemberNumber } from '#src/values.ts';
import { ordersFrom } from './counter-state.ts';

const membersMax = 50_000;
/** Of a member with more places the order or ticket is forgotten that was heard of first. */
const placesMax = 64;

/** The last known value of a place; undefined where it was never heard of, which mostly means that nothing was counted. */
export type ValueAt = (place: { readonly counter: number; readonly period: number }) => number | undefined;

export interface CounterMemory {
  of(member: MemberNumber): ValueAt;
  /** Remembers places that a script named: [counter, period, …, value]. */
  note(member: MemberNumber, rows: readonly (readonly number[])[]): void;
}

/** Counter, period and value of one place after the other: found faster than by a key that has to be put together. */
type Places = number[];

function indexOf(places: Places, counter: number, period: number): number {
  for (let i = 0; i < places.length; i += 3) if (places[i] === counter && places[i + 1] === period) return i;
  return -1;
}

function indexToForget(places: Places): number {
  for (let i = 0; i < places.length; i += 3) if (places[i + 1]! >= ordersFrom) return i;
  return 0;
}

export function createCounterMemory(max: number = membersMax): CounterMemory {
  const members = new LRUCache<MemberNumber, Places>({ max });
  return {
    // Looked up when a value is asked for: whoever judges again asks the same again after a note.
    of: (member) => (place) => {
      const places = members.get(member);
      const i = places ? indexOf(places, place.counter, place.period) : -1;
      return i < 0 ? undefined : places![i + 2];
    },
    note(member, rows) {
      let places = members.get(member);
      if (!places) {
        places = [];
        members.set(member, places);
      }
      for (const row of rows) {
        const [counter = 0, period = 0] = row;
        const i = indexOf(places, counter, period);
        if (i >= 0) places[i + 2] = row.at(-1)!;
        else {
          if (places.length >= 3 * placesMax) places.splice(indexToForget(places), 3);
          places.push(counter, period, row.at(-1)!);
        }
      }
    },
  };
}
