/**
 * The models against what their authors published, and against what must hold of them whatever the parameters. The receipts are
 * those of the CDNOW file, the sample that of the papers.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  buyingLogLikelihood,
  countedHistories,
  expectedPurchases,
  fitBuying,
  type History,
  probabilityAlive,
} from '#src/segments/bgnbd.ts';
import { expectedSpend, fitSpending, spendingLogLikelihood } from '#src/segments/gamma-gamma.ts';
import { minimize } from '#src/segments/nelder-mead.ts';
import { hypergeometric, logGamma } from '#src/segments/special-functions.ts';
import { dayOfText, purchasesByCustomer } from './house/cdnow.ts';
import { sampledCustomers } from './house/cdnow-sample.ts';

const file = fileURLToPath(new URL('../../shared/data/cdnow/CDNOW_master.txt', import.meta.url));
const published = {
  buying: { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 },
  logLikelihood: -9_582.4,
  spending: { p: 6.25, q: 3.74, gamma: 15.44 },
};
/** The first 39 weeks of 1997. */
const calibrationEnd = dayOfText('19970930');

function expectWithin(found: number, wanted: number, share: number): void {
  expect(Math.abs(found / wanted - 1), `${found} beside ${wanted}`).toBeLessThanOrEqual(share);
}

describe.skipIf(!existsSync(file))(`the tenth of CDNOW (skipped where ${file} is missing)`, () => {
  const sampled = existsSync(file) ? sampledCustomers() : new Set<number>();
  const customers = existsSync(file) ? purchasesByCustomer(file) : new Map<number, Map<number, number>>();
  const days = [...customers]
    .filter(([customer]) => sampled.has(customer))
    .map(([, spendByDay]) =>
      [...spendByDay].filter(([day]) => day <= calibrationEnd).sort(([a], [b]) => a - b),
    );

  test('has 2,357 customers, of whom 946 bought again in 39 weeks', () => {
    expect([sampled.size, days.length]).toEqual([2_357, 2_357]);
    expect(days.filter((each) => each.length > 1)).toHaveLength(946);
  });

  test('BG/NBD finds the published parameters and log-likelihood within one percent', () => {
    const histories = days.map((each): History => {
      const [first, last] = [each[0]![0], each.at(-1)![0]];
      return { repeats: each.length - 1, recency: (last - first) / 7, age: (calibrationEnd - first) / 7 };
    });
    const { parameters, logLikelihood, isFound } = fitBuying(countedHistories(histories));
    expect(isFound).toBe(true);
    for (const [name, wanted] of Object.entries(published.buying))
      expectWithin(parameters[name as keyof typeof parameters], wanted, 0.01);
    expect(logLikelihood).toBeCloseTo(published.logLikelihood, 1);
  });

  test('gamma-gamma finds the published parameters within one percent', () => {
    const spendings = days.flatMap((each) => {
      const repeats = each.slice(1);
      const mean = repeats.reduce((sum, [, spend]) => sum + spend / 100, 0) / repeats.length;
      return repeats.length > 0 && mean > 0 ? [{ purchases: repeats.length, mean }] : [];
    });
    expect(spendings).toHaveLength(946);
    const { parameters, isFound } = fitSpending(spendings);
    expect(isFound).toBe(true);
    for (const [name, wanted] of Object.entries(published.spending))
      expectWithin(parameters[name as keyof typeof parameters], wanted, 0.01);
  });
});

describe('expectations', () => {
  test.each([
    // Hardie's spreadsheet of the BG/NBD model: customer 1 of the sample.
    [{ repeats: 2, recency: 30.43, age: 38.86 }, 39, 1.226],
    [{ repeats: 0, recency: 0, age: 38.86 }, 0, 0],
  ])('of %j in %d weeks are %d purchases', (history, weeks, wanted) => {
    expect(expectedPurchases(published.buying, history, weeks)).toBeCloseTo(wanted, 3);
  });

  test('of somebody who bought once and of nobody are those of all: the published mean is 35 dollars', () => {
    const mean = expectedSpend(published.spending, { purchases: 0, mean: 0 });
    expect(mean).toBeCloseTo((6.25 * 15.44) / 2.74, 9);
    expect(expectedSpend(published.spending, { purchases: 1_000_000, mean: 80 })).toBeCloseTo(80, 3);
  });

  const parameters = fc.record({
    r: fc.double({ min: 0.01, max: 20, noNaN: true }),
    alpha: fc.double({ min: 0.05, max: 200, noNaN: true }),
    a: fc.double({ min: 0.01, max: 20, noNaN: true }),
    b: fc.double({ min: 0.05, max: 200, noNaN: true }),
  });
  const history = fc
    .record({
      repeats: fc.nat(400),
      age: fc.double({ min: 0, max: 600, noNaN: true }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ repeats, age, share }): History => ({ repeats, age, recency: repeats === 0 ? 0 : age * share }));

  test('the probability of being active is one, and falls with every silent week', () => {
    fc.assert(
      fc.property(parameters, history, fc.double({ min: 0, max: 50, noNaN: true }), (of, given, silent) => {
        const now = probabilityAlive(of, given);
        const later = probabilityAlive(of, { ...given, age: given.age + silent });
        expect(now).toBeGreaterThanOrEqual(0);
        expect(now).toBeLessThanOrEqual(1);
        expect(later).toBeLessThanOrEqual(now + 1e-12);
      }),
    );
  });

  test('more is expected of a longer time, and never a negative number', () => {
    fc.assert(
      fc.property(parameters, history, fc.double({ min: 0.1, max: 100, noNaN: true }), (of, given, weeks) => {
        const [soon, later] = [weeks, 2 * weeks].map((time) => expectedPurchases(of, given, time));
        expect(soon).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(later)).toBe(true);
        expect(later! - soon!).toBeGreaterThanOrEqual(-1e-6 * Math.max(1, soon!));
      }),
    );
  });

  test('the transformed series is the published formula where that can be computed', () => {
    fc.assert(
      fc.property(
        fc.record({
          r: fc.double({ min: 0.1, max: 3, noNaN: true }),
          alpha: fc.double({ min: 1, max: 20, noNaN: true }),
          a: fc.double({ min: 1.1, max: 4, noNaN: true }),
          b: fc.double({ min: 0.5, max: 6, noNaN: true }),
        }),
        fc.nat(12),
        (of, repeats) => {
          const { r, alpha, a, b } = of;
          const [given, time] = [{ repeats, recency: repeats === 0 ? 0 : 20, age: 30 }, 10];
          const z = time / (alpha + given.age + time);
          const published10 =
            ((a + b + repeats - 1) / (a - 1)) *
            (1 -
              ((alpha + given.age) / (alpha + given.age + time)) ** (r + repeats) *
                hypergeometric(r + repeats, b + repeats, a + b + repeats - 1, z));
          const wanted = published10 * probabilityAlive(of, given);
          expect(expectedPurchases(of, given, time)).toBeCloseTo(wanted, 6);
        },
      ),
    );
  });

  test('the mean of a member lies between its own and that of all', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.double({ min: 0.01, max: 10_000, noNaN: true }),
        (purchases, mean) => {
          const all = expectedSpend(published.spending, { purchases: 0, mean: 0 });
          const own = expectedSpend(published.spending, { purchases, mean });
          expect(own).toBeGreaterThanOrEqual(Math.min(all, mean) - 1e-9);
          expect(own).toBeLessThanOrEqual(Math.max(all, mean) + 1e-9);
        },
      ),
    );
  });
});

describe('likelihoods', () => {
  test('do not depend on the order of members, nor on whether like ones are counted together', () => {
    const some = fc.array(fc.record({ repeats: fc.nat(5), recency: fc.nat(20), age: fc.nat(20) }), {
      minLength: 2,
      maxLength: 30,
    });
    fc.assert(
      fc.property(some, (drawn) => {
        const histories = drawn.map((each) => ({
          ...each,
          age: each.age + each.recency,
          recency: each.repeats === 0 ? 0 : each.recency,
        }));
        const one = histories.map((each) => ({ ...each, members: 1 }));
        const together = countedHistories(histories.toReversed());
        const [apart, counted] = [one, together].map((each) => buyingLogLikelihood(published.buying, each));
        expect(counted).toBeCloseTo(apart!, 8);
      }),
    );
  });

  test('of amounts change with the unit by its logarithm alone', () => {
    const spendings = [
      { purchases: 1, mean: 12 },
      { purchases: 7, mean: 30.5 },
      { purchases: 3, mean: 4 },
    ];
    const inCents = spendings.map((each) => ({ ...each, mean: each.mean * 100 }));
    const { p, q, gamma } = published.spending;
    const [dollars, cents] = [
      spendingLogLikelihood({ p, q, gamma }, spendings),
      spendingLogLikelihood({ p, q, gamma: gamma * 100 }, inCents),
    ];
    expect(dollars - cents).toBeCloseTo(spendings.length * Math.log(100), 9);
  });
});

describe('what they are made of', () => {
  test.each([
    [0.5, 0.5 * Math.log(Math.PI)],
    [1, 0],
    [2, 0],
    [5, Math.log(24)],
    [0.1, 2.252712651734206],
    [171, 706.5730622457874],
  ])('lnΓ(%d) is %d', (x, wanted) => {
    expect(logGamma(x)).toBeCloseTo(wanted, 10);
  });

  test.each([
    [1, 1, 2, 0.5, 2 * Math.LN2],
    [1, 2, 2, 0.75, 4],
    [0, 3, 1, 0.9, 1],
  ])('2F1(%d, %d; %d; %d) is %d', (a, b, c, z, wanted) => {
    expect(hypergeometric(a, b, c, z)).toBeCloseTo(wanted, 9);
  });

  test('the simplex finds the valley of Rosenbrock, and the edge of its box where the minimum lies outside', () => {
    const rosenbrock = ([x = 0, y = 0]: readonly number[]) => (1 - x) ** 2 + 100 * (y - x ** 2) ** 2;
    const wide = minimize(rosenbrock, [-1.2, 1], { lower: [-5, -5], upper: [5, 5] });
    expect(wide.isFound).toBe(true);
    expect(wide.at[0]).toBeCloseTo(1, 3);
    expect(wide.at[1]).toBeCloseTo(1, 3);
    const narrow = minimize(([x = 0]) => (x - 3) ** 2, [0], { lower: [-1], upper: [2] });
    expect(narrow.at[0]).toBeCloseTo(2, 6);
    expect(minimize(rosenbrock, [-1.2, 1], { lower: [-5, -5], upper: [5, 5] }, 20).isFound).toBe(false);
  });
});
