/** What a redemption was worth and how it comes back: sums, never rates of today. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  capturedWorth,
  type KeptWorth,
  totalOf,
  worthBack,
  worthBackOf,
  worthOf,
} from '#src/redemption/worth.ts';

const kept: KeptWorth = {
  programVersion: 2,
  judgedAt: '2026-11-18T11:00:00.000Z',
  rules: { points: 'plain', coins: 'coin' },
  value: { amount: 507, currency: 'EUR' },
  parts: [
    [1, 1_001, 500],
    [2, 3, 7],
  ],
};
const ruled = { request: { worth: kept } };
const said = { request: { body: { value: { amount: 507, currency: 'EUR' } } } };
const parts: [number, number][] = [
  [1, 1_001],
  [2, 3],
];

describe('what comes back in pieces', () => {
  const pieces = fc.array(
    fc.record({ currency: fc.constantFrom(1, 2), points: fc.integer({ min: 1, max: 400 }) }),
    { maxLength: 12 },
  );

  test.each([
    ['by rules', ruled],
    ['as its caller said', said],
  ])('sums to all that it was worth, %s', (_, redemption) => {
    const worth = worthOf(redemption, parts)!;
    expect([totalOf(worth), worth.currency]).toEqual([507, 'EUR']);
    fc.assert(
      fc.property(pieces, (random) => {
        let before: Record<string, number> = {};
        let sum = 0;
        const give = (currency: number, wanted: number) => {
          const whole = parts.find(([number]) => number === currency)![1];
          const points = Math.min(wanted, whole - (before[currency] ?? 0));
          const after = { ...before, [currency]: (before[currency] ?? 0) + points };
          const back = worthBack(worth, before, after);
          expect(back).toBeGreaterThanOrEqual(0);
          sum += back;
          before = after;
        };
        for (const { currency, points } of random) give(currency, points);
        for (const [currency, points] of parts) give(currency, points);
        expect(sum).toBe(507);
      }),
    );
  });

  test('is known of one currency only where a rule said what it was worth', () => {
    expect(worthBackOf(worthOf(ruled, parts)!, 2, {}, { 1: 1_001, 2: 1 })).toBe(2);
    expect(worthBackOf(worthOf(said, parts)!, 2, {}, { 2: 1 })).toBeUndefined();
    expect(worthOf({ request: { body: {} } }, parts)).toBeUndefined();
  });
});

describe('a capture', () => {
  const hold: KeptWorth = { ...kept, value: { amount: 500, currency: 'EUR' }, parts: [[1, 1_001, 500]] };

  test.each([
    [undefined, 1_001, 500],
    [1_001, 1_001, 500],
    [1_000, 1_000, 499],
    [1, 1, 0],
  ])('of %j points is worth its part, rounded down', (points, captured, amount) => {
    expect(capturedWorth(hold, points)).toMatchObject({
      programVersion: 2,
      judgedAt: kept.judgedAt,
      value: { amount, currency: 'EUR' },
      parts: [[1, captured, amount]],
    });
  });
});
