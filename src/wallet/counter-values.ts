/**
 * What this process last heard of members' counters. Judging a receipt asks here first; the script says when a value that a
 * judgement relied on has become another one (`stale_counters`), and the judgement is made again with that.
 */
import { LRUCache } from 'lru-cache';
import type { MemberNumber } from '#src/values.ts';

const rememberedMax = 200_000;

/** The last known value of a place; undefined where it was never heard of, which mostly means that nothing was counted. */
export type ValueAt = (place: { readonly counter: number; readonly period: number }) => number | undefined;

export interface CounterMemory {
  of(member: MemberNumber): ValueAt;
  /** Remembers places that a script named: [counter, period, …, value]. */
  note(member: MemberNumber, rows: readonly (readonly number[])[]): void;
}

export function createCounterMemory(max: number = rememberedMax): CounterMemory {
  const values = new LRUCache<string, number>({ max });
  return {
    of: (member) => (place) => values.get(`${member}.${place.counter}.${place.period}`),
    note(member, rows) {
      for (const row of rows) values.set(`${member}.${row[0]}.${row[1]}`, row.at(-1)!);
    },
  };
}
