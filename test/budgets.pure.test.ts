/** Budgets without any server: what money pays for, how much is granted, what a day's share is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pointsOfBudget } from '#src/earning/budgets.ts';
import { grantedOf, pacedMax } from '#src/wallet/grants.ts';

const money = (minorUnits: number, costPerPoint: readonly [number, number]) =>
  pointsOfBudget({ minorUnits, costPerPoint, pacing: 'none', whenFull: 'refuse' });

describe('a budget of money', () => {
  test('pays for whole points: one more would cost more than there is, one less would leave a whole one', () => {
    expect(money(300_000, [1, 2])).toBe(600_000);
    expect(money(100, [3, 1])).toBe(33);
    expect(money(1, [2, 1])).toBe(0);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000_000_000 }),
        fc.integer({ min: 1, max: 9_999_999_999 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (minorUnits, numerator, denominator) => {
          const points = money(minorUnits, [numerator, denominator]);
          const cost = (of: number) => BigInt(of) * BigInt(numerator);
          const whole = BigInt(minorUnits) * BigInt(denominator);
          expect(cost(points) <= whole).toBe(true);
          if (points < Number.MAX_SAFE_INTEGER) expect(cost(points + 1) > whole).toBe(true);
        },
      ),
    );
  });
});

describe('a grant', () => {
  test('is what is wanted or a part of what is left, and never more than that', () => {
    expect(grantedOf(1_000_000, 10, 16)).toBe(7_812);
    expect(grantedOf(1_000, 10, 16)).toBe(10);
    expect(grantedOf(7, 10, 16)).toBe(7);
  });
});

describe('a budget that is spread over the day', () => {
  const dayMs = 86_400_000;
  test('gives by noon at most half of the share, and by midnight all of it', () => {
    const at = (elapsedMs: number, daysLeft: number) => pacedMax({ elapsedMs, dayMs, daysLeft }, 1_000, 200);
    expect([at(0, 4), at(dayMs / 2, 4), at(dayMs, 4)]).toEqual([200, 300, 400]);
    expect([at(-5, 1), at(dayMs / 4, 1), at(dayMs + 5, 1)]).toEqual([200, 400, 1_000]);
  });

  test('gives nothing more where a later version has cut it below what was given', () => {
    expect(pacedMax({ elapsedMs: dayMs, dayMs, daysLeft: 1 }, 100, 200)).toBe(200);
  });
});
