/** What a member brings of its counters when it is loaded, and what a state in Redis says of places that are not in it. */
import { describe, expect, test } from 'vitest';
import { counterDifference } from '#src/ledger/counter-rows.ts';
import { missingCounters } from '#src/ledger/restoring.ts';
import type { MemberNumber } from '#src/values.ts';
import { hotCounters, loadedCounters, ordersFrom } from '#src/wallet/counter-state.ts';
import { createCounterMemory } from '#src/wallet/counter-values.ts';

const at = { epoch: 7, seq: 40 };

describe('a load', () => {
  test('brings nothing where nothing was counted', () => {
    expect(loadedCounters(null, at)).toEqual([]);
    expect(hotCounters([]).covers(1, 202611)).toBe(false);
  });

  test('brings the newest periods of each counter and notes what it leaves behind', () => {
    const list = loadedCounters(
      [
        [
          5,
          [
            [202611, 10],
            [202610, 20],
            [202609, 30],
            [202608, 40],
          ],
          false,
        ],
        [2, null, true],
      ],
      at,
    );
    expect(list).toEqual([
      ...[7, 5, 202611, 10, 40, 5, 202610, 20, 40, 5, 202609, 30, 40, -5, 202608, 0, 40],
      ...[-2, 1e15, 0, 40],
    ]);
    const hot = hotCounters(list);
    expect(hot.places).toEqual([
      [5, 202611, 10],
      [5, 202610, 20],
      [5, 202609, 30],
    ]);
    const asked: readonly (readonly [number, number])[] = [
      [5, 202608],
      [5, 202601],
      [5, 202612],
      [5, 300_000_000],
      [2, 300_000_000],
      [2, 202611],
    ];
    expect(asked.map(([counter, period]) => hot.covers(counter, period))).toEqual([
      ...[true, true, false, false, true, false],
    ]);
  });

  test('of more counters than a member brings notes that there are others', () => {
    const counters = Array.from({ length: 41 }, (_, i) => [41 - i, [[0, 1]], false] as const);
    const hot = hotCounters(loadedCounters(counters as never, at));
    expect([hot.places.length, hot.covers(1, 0), hot.covers(99, 202611)]).toEqual([40, true, true]);
  });
});

test('a state of a version that does not count says nothing about any place', () => {
  expect(hotCounters(undefined).covers(1, 0)).toBe(true);
});

test('a correction counts the difference between what was wanted and what was booked', () => {
  const wanted = [
    [1, 202611, 30, 30],
    [2, 0, 1, 1],
  ] as [number, number, number, number][];
  expect(counterDifference(undefined, wanted)).toEqual([
    [1, 202611, 30],
    [2, 0, 1],
  ]);
  expect(counterDifference(wanted, wanted)).toEqual([]);
  expect(counterDifference(wanted, undefined)).toEqual([
    [1, 202611, -30],
    [2, 0, -1],
  ]);
});

test('a restore counts what Redis has beyond the books and the kept records', () => {
  const hot = [
    ...[7, 1, 1, 'active', 0, 0, 0, [], []],
    [7, 1, 202611, 90, 3, 2, 0, 4, 3, -1, 202609, 0, 2],
  ] as never;
  const books = new Map([
    ['1.202611', 20],
    ['2.0', 1],
    ['1.202609', 5],
  ]);
  const kept = [[1, 202611, 30, 90]] as [number, number, number, number][];
  expect(missingCounters(hot, books, kept)).toEqual([
    [1, 202611, 40, 60],
    [2, 0, 3, 4],
  ]);
});

describe('what a process remembers of counters', () => {
  const member = 5 as MemberNumber;

  test('is what it heard last; of whom it heard longest ago it forgets', () => {
    const memory = createCounterMemory(2);
    const value = (counter: number, period: number) => memory.of(member)({ counter, period });
    memory.note(member, [
      [1, 202611, 30, 30],
      [2, 0, 7],
    ]);
    memory.note(member, [[1, 202611, 5, 35]]);
    expect([value(1, 202611), value(2, 0), value(3, 0), value(1, 202612)]).toEqual([
      35,
      7,
      undefined,
      undefined,
    ]);
    memory.note(6 as MemberNumber, [[1, 202611, 1]]);
    memory.note(7 as MemberNumber, [[1, 202611, 1]]);
    expect(value(1, 202611)).toBeUndefined();
  });

  test('is heard by who asked for the member before', () => {
    const memory = createCounterMemory();
    const seen = memory.of(member);
    expect(seen({ counter: 2, period: 0 })).toBeUndefined();
    memory.note(member, [[2, 0, 7]]);
    expect(seen({ counter: 2, period: 0 })).toBe(7);
  });

  test('stays bounded for one member, and orders push out orders only', () => {
    const memory = createCounterMemory();
    const value = (counter: number, period: number) => memory.of(member)({ counter, period });
    memory.note(member, [[2, 0, 7]]);
    for (let i = 0; i < 100; i += 1) memory.note(member, [[1, ordersFrom + i, 1]]);
    expect([value(2, 0), value(1, ordersFrom), value(1, ordersFrom + 99)]).toEqual([7, undefined, 1]);
    for (let i = 0; i < 1_000; i += 1) memory.note(member, [[1, 20_000_000 + i, i]]);
    expect([value(2, 0), value(1, 20_000_999)]).toEqual([undefined, 999]);
  });
});
