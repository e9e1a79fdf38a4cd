/** Promotions of one group that multiply different lines or rules: a factor is that of points, and names decide nothing. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { judge, pointsBy, receipt, rulesFrom } from './house/judge.ts';
import { amountRule } from './house/shop.ts';

type Promotion = NonNullable<ProgramFileInput['promotions']>[number];
type Combine = 'additive' | 'multiplicative';

const base = amountRule('base', 'points', [1, 100]);

function times(
  name: string,
  by: number | string,
  categories?: string[],
  more: Partial<Promotion> = {},
): Promotion {
  const lines = categories ? { lines: { categories } } : {};
  return { name, currency: 'points', group: 'g', multiply: { by, ...lines }, ...more };
}

describe('the supermarket', () => {
  const { file } = readProgramFile(
    readFileSync(new URL('../src/earning/samples/supermarket.yaml', import.meta.url), 'utf8'),
  );
  const rules = rulesFrom(file!);
  const pointsOf = (...lines: readonly (readonly [amount: number, category?: string])[]) =>
    pointsBy(judge(rules, { at: '2026-11-24T10:00:00+01:00', subject: { purchase: receipt(...lines) } }));

  test('gives for wine what it gives for wine alone, whatever else is in the basket', () => {
    expect(pointsOf([2_000, 'drinks/wine'])).toMatchObject({ base: 20, wine: 40 });
    expect(pointsOf([2_000, 'drinks/wine'], [1_000, 'fresh/dairy'])).toMatchObject({
      base: 30,
      'dairy-weeks': 10,
      'fresh-double': 10,
      wine: 40,
    });
  });
});

describe('factors of a part of the receipt and of all of it', () => {
  const purchase = receipt([1_000, 'fresh'], [9_000]);
  const promoted = (combine: Combine, more: object, promotions: Promotion[]) =>
    pointsBy(
      judge(rulesFrom({ rules: [base], groups: [{ name: 'g', combine, ...more }], promotions }), {
        subject: { purchase },
      }),
    );

  test('multiply each other where both hold, whatever they are called', () => {
    const fresh = (name: string) => times(name, 2, ['fresh']);
    expect(promoted('multiplicative', {}, [fresh('a'), times('b', 3)])).toEqual({ base: 100, a: 10, b: 220 });
    expect(promoted('multiplicative', {}, [fresh('b'), times('a', 3)])).toEqual({ base: 100, a: 200, b: 30 });
  });

  test('have their maximum where both hold', () => {
    const promotions = [times('a', 3, ['fresh']), times('b', 3)];
    expect(promoted('additive', { factorMax: 4 }, promotions)).toEqual({ base: 100, a: 20, b: 190 });
  });
});

test('rules that a factor does not mean are left out of it', () => {
  const rules = rulesFrom({
    rules: [base, amountRule('more', 'points', [1, 100])],
    groups: [{ name: 'g', combine: 'multiplicative' }],
    promotions: [
      times('a', 2, undefined, { multiply: { by: 2, rules: ['base'] } }),
      times('b', 3, undefined, { multiply: { by: 3 } }),
    ],
  });
  expect(pointsBy(judge(rules, { subject: { purchase: receipt([1_000]) } }))).toEqual({
    base: 10,
    more: 10,
    a: 10,
    b: 60,
  });
});

test('a flight has no lines, and its factors meet all the same', () => {
  const flight = {
    carrier: 'CA',
    flightNumber: '1',
    date: '2026-01-01',
    from: 'A',
    to: 'B',
    bookingClass: 'Y',
    distanceMiles: 100,
  };
  const miles = {
    name: 'miles',
    on: 'flight' as const,
    currency: 'points',
    earn: { by: 'distance' as const, classes: [{ codes: ['Y'], percent: 100 }] },
  };
  const other = { ...miles, name: 'other' };
  const rules = rulesFrom({
    rules: [miles, other],
    groups: [{ name: 'g', combine: 'multiplicative' }],
    promotions: [
      times('a', 2, undefined, { on: 'flight', multiply: { by: 2, rules: ['miles'] } }),
      times('b', 3, undefined, { on: 'flight' }),
    ],
  });
  expect(pointsBy(judge(rules, { subject: { flight } }))).toEqual({ miles: 100, other: 100, a: 100, b: 600 });
});

test('what is given for the receipt as such is of no line, so a multiplier of lines leaves it', () => {
  const visit = { name: 'visit', currency: 'points', earn: { by: 'fixed' as const, points: 10 } };
  const pointsWith = (promotion: Promotion) =>
    pointsBy(
      judge(
        rulesFrom({
          rules: [visit, base],
          groups: [{ name: 'g', combine: 'best' }],
          promotions: [promotion],
        }),
        { subject: { purchase: receipt([200, 'fresh'], [900]) } },
      ),
    );
  expect(pointsWith(times('m', 3, ['fresh']))).toEqual({ visit: 10, base: 11, m: 4 });
  expect(pointsWith(times('m', 3))).toEqual({ visit: 10, base: 11, m: 42 });
});

test('each point of a receipt is multiplied by what its own line says, in any order of the file and whatever is named how', () => {
  const categories = ['fresh', 'fresh/dairy', 'wine', 'other'];
  const filters: (string[] | undefined)[] = [
    undefined,
    ['fresh'],
    ['fresh/dairy'],
    ['wine'],
    ['wine', 'other'],
    ['other'],
  ];
  const holds = (filter: string[] | undefined, category: string) =>
    filter === undefined || filter.some((each) => category === each || category.startsWith(`${each}/`));
  const lines = fc.array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.constantFrom(...categories)), {
    minLength: 1,
    maxLength: 6,
  });
  const multipliers = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(...filters), fc.integer({ min: 0, max: 3 })),
    { minLength: 2, maxLength: 4 },
  );
  const combine = fc.constantFrom<Combine>('additive', 'multiplicative');
  fc.assert(
    fc.property(
      lines,
      multipliers,
      combine,
      fc.option(fc.integer({ min: 5, max: 9 })),
      (bought, factors, how, most) => {
        const promotions = factors.map(([by, filter, priority], i) =>
          times(`m${i}`, by, filter, { priority }),
        );
        const rules = rulesFrom({
          rules: [amountRule('base', 'points', [1, 1])],
          groups: [{ name: 'g', combine: how, ...(most === null ? {} : { factorMax: most }) }],
          promotions,
        });
        const all = judge(rules, { subject: { purchase: receipt(...bought) } }).awards;
        const total = all.reduce((sum, { points }) => sum + points, 0);
        // The slow reading: one line after the other, each with the factors that hold for it.
        let expected = 0;
        for (const [amount, category] of bought) {
          const own = factors.filter(([, filter]) => holds(filter, category)).map(([by]) => by);
          const factor =
            how === 'additive'
              ? own.reduce((sum, by) => sum + by - 1, 1)
              : own.reduce((sum, by) => sum * by, 1);
          expected += amount * (most === null ? factor : Math.min(factor, most));
        }
        expect(total).toBe(expected);
      },
    ),
    { seed: 5 },
  );
});
