/** What a backtest is made of: the order in which it takes the ledger, and its memory of counters. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMemberCounters, weigh } from '#src/earning/backtest/counters.ts';
import { createOrdering, type Positioned } from '#src/earning/backtest/ordering.ts';
import type { Award } from '#src/earning/rules/types.ts';

interface Row extends Positioned {
  readonly id: number;
}

const heldMax = 50;

/** Rows of three shards in the order of ids; each stands at most `displacementMax` ids away from its place in its journal. */
const rowsOf = (displacementMax: number) =>
  fc
    .array(fc.record({ shard: fc.nat(2), late: fc.nat(displacementMax) }), { maxLength: 400 })
    .map((drafts) => {
      const seqs = new Map<number, number>();
      return drafts
        .map(({ shard, late }, index) => ({ shard, id: index, order: index + late }))
        .toSorted((a, b) => a.order - b.order || a.id - b.id)
        .map(({ shard, id }): Row => {
          const seq = (seqs.get(shard) ?? 0) + 1;
          seqs.set(shard, seq);
          return { id, shard, epoch: 1 + Math.floor(seq / 100), seq };
        })
        .toSorted((a, b) => a.id - b.id);
    });

function taken(rows: readonly Row[], pageRows: number): { rows: Row[]; lateRows: number } {
  const ordering = createOrdering<Row>(heldMax);
  const out: Row[] = [];
  for (let i = 0; i < rows.length; i += pageRows) out.push(...ordering.take(rows.slice(i, i + pageRows)));
  out.push(...ordering.end());
  return { rows: out, lateRows: ordering.lateRows };
}

function isInOrder(rows: readonly Row[], shard: number): boolean {
  const own = rows.filter((row) => row.shard === shard);
  return own.every((row, i) => i === 0 || row.epoch > own[i - 1]!.epoch || row.seq > own[i - 1]!.seq);
}

test('each shard is taken in the order of its journal, all of it, and nearly in that of time', () => {
  fc.assert(
    fc.property(rowsOf(heldMax - 10), fc.integer({ min: 1, max: 120 }), (rows, pageRows) => {
      const out = taken(rows, pageRows);
      expect(out.rows.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(rows.map(({ id }) => id));
      expect([0, 1, 2].map((shard) => isInOrder(out.rows, shard))).toEqual([true, true, true]);
      expect(out.lateRows).toBe(0);
      for (const [i, { id }] of out.rows.entries()) expect(Math.abs(id - i)).toBeLessThanOrEqual(3 * heldMax);
    }),
  );
});

test('what comes later than is held back is counted, not lost', () => {
  const rows = Array.from({ length: 200 }, (_, i): Row => ({ id: i, shard: 0, epoch: 1, seq: i + 2 }));
  rows.push({ id: 200, shard: 0, epoch: 1, seq: 1 });
  const out = taken(rows, 20);
  expect([out.rows.length, out.lateRows]).toEqual([201, 1]);
});

const place = { counter: 1, period: 202611 };
const award = (points: number, pointsMax: number, isAllOrNothing = false): Award => ({
  ...{ currency: 'points', points, rule: 'r', funder: 'program', availableAt: 0, expiresAt: 0 },
  limits: [{ ...place, pointsMax, isAllOrNothing }],
});
const judgementOf = (awards: readonly Award[]) => ({ awards, counts: [], assumptions: [], failures: [] });

test('an award is trimmed to what its cap has left, or left out where it wants all or nothing', () => {
  const counters = createMemberCounters();
  expect(weigh(judgementOf([award(30, 50)]), counters)).toBeUndefined();
  expect(weigh(judgementOf([award(5, 50), award(30, 50)]), counters)).toEqual([5, 15]);
  expect(weigh(judgementOf([award(1, 50)]), counters)).toEqual([0]);
  expect(counters.value(place)).toBe(50);
  counters.lower(place, 8);
  expect(weigh(judgementOf([award(9, 50, true)]), counters)).toEqual([0]);
  expect(weigh(judgementOf([award(8, 50, true)]), counters)).toBeUndefined();
});

test('a counter goes down to zero at most, and one that a merge has left below it stays there', () => {
  const counters = createMemberCounters();
  counters.add(place, 3);
  counters.lower(place, 5);
  expect(counters.value(place)).toBe(0);
  counters.add(place, -4);
  counters.lower(place, 5);
  expect(counters.value(place)).toBe(-4);
});
