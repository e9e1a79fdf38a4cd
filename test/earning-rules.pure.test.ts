/** What rules and promotions give together: amounts, rounding, groups and maxima, and that the order of the file means nothing. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMemberCounters, weigh } from '#src/earning/backtest/counters.ts';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { mulDiv } from '#src/earning/rules/amounts.ts';
import { countersThen } from '#src/earning/undoing.ts';
import { judge, pointsBy, receipt, rulesFrom } from './house/judge.ts';
import { amountRule } from './house/shop.ts';

type Promotion = NonNullable<ProgramFileInput['promotions']>[number];

function promoted(
  groups: ProgramFileInput['groups'],
  promotions: Promotion[],
  more: Partial<ProgramFileInput> = {},
) {
  return rulesFrom({ rules: [amountRule('base', 'points', [1, 100])], groups, promotions, ...more });
}

function times(name: string, by: number | string, more: Partial<Promotion> = {}): Promotion {
  return { name, currency: 'points', group: 'days', multiply: { by }, ...more };
}

function fixed(name: string, points: number, more: Partial<Promotion> = {}): Promotion {
  return { name, currency: 'points', group: 'days', earn: { by: 'fixed', points }, ...more };
}

const tenEuros = { subject: { purchase: receipt([1_000]) } };

describe('a group', () => {
  test.for([
    ['additive', 10 * 1, 10 * 2],
    ['multiplicative', 10 * 1, 20 * 2],
  ] as const)('%s: x2 and x3', ([combine, two, three]) => {
    const rules = promoted([{ name: 'days', combine }], [times('a-two', 2), times('b-three', 3)]);
    expect(pointsBy(judge(rules, tenEuros))).toEqual({ base: 10, 'a-two': two, 'b-three': three });
  });

  test('best: the one that gives most, a bonus or a factor', () => {
    const rules = promoted([{ name: 'days', combine: 'best' }], [times('two', 2), fixed('bonus', 25)]);
    expect(pointsBy(judge(rules, tenEuros))).toEqual({ base: 10, bonus: 25 });
    const large = { subject: { purchase: receipt([10_000]) } };
    expect(pointsBy(judge(rules, large))).toEqual({ base: 100, two: 100 });
  });

  test('exclusive: the one of the highest priority, also where another gives more', () => {
    const promotions = [times('five', 5), times('two', 2, { priority: 9 })];
    const rules = promoted([{ name: 'days', combine: 'exclusive' }], promotions);
    expect(pointsBy(judge(rules, tenEuros))).toEqual({ base: 10, two: 10 });
  });

  test('a maximum of the factor, of the points of the group, and of all promotions hold together', () => {
    const promotions = [times('a-two', 2), times('b-three', 3)];
    const most = promoted([{ name: 'days', combine: 'additive', factorMax: 3 }], promotions);
    expect(pointsBy(judge(most, tenEuros))).toEqual({ base: 10, 'a-two': 10, 'b-three': 10 });
    const few = promoted([{ name: 'days', combine: 'additive', pointsMax: 15 }], promotions);
    expect(pointsBy(judge(few, tenEuros))).toEqual({ base: 10, 'a-two': 10, 'b-three': 5 });
    const all = promoted([{ name: 'days', combine: 'additive' }], promotions, { promotionsPointsMax: 4 });
    expect(pointsBy(judge(all, tenEuros))).toEqual({ base: 10, 'a-two': 4 });
  });

  test('half a factor is rounded apart from the base, as the promotion says', () => {
    const half = (rounding: 'floor' | 'ceil') =>
      promoted([{ name: 'days', combine: 'best' }], [times('half', '1.5', { rounding })]);
    const odd = { subject: { purchase: receipt([1_100]) } };
    expect(pointsBy(judge(half('floor'), odd))).toEqual({ base: 11, half: 5 });
    expect(pointsBy(judge(half('ceil'), odd))).toEqual({ base: 11, half: 6 });
  });
});

describe('lines', () => {
  const purchase = receipt([550, 'fresh/fruit'], [450, 'fresh/fish'], [2_000, 'tobacco'], [390]);
  const earned = (earn: object) =>
    judge(rulesFrom({ rules: [{ name: 'r', currency: 'points', earn: earn as never }] }), {
      subject: { purchase },
    }).awards[0]?.points ?? 0;
  const amount = { by: 'amount', points: 1, perMinorUnits: 100 };

  test('a category means all below it; what is excepted is left out', () => {
    expect(earned({ ...amount, lines: { categories: ['fresh'] } })).toBe(10);
    expect(earned({ ...amount, lines: { categories: ['fresh/fish'] } })).toBe(4);
    expect(earned({ ...amount, lines: { except: { categories: ['tobacco', 'fresh/fish'] } } })).toBe(9);
    expect(earned({ ...amount, lines: { when: 'line.amount > 400 && line.category != "tobacco"' } })).toBe(
      10,
    );
  });

  test('each line alone, whole steps, and a share of a step', () => {
    expect(earned({ ...amount, each: 'line', lines: { categories: ['fresh'] } })).toBe(9);
    expect(earned({ by: 'amount', points: 3, perMinorUnits: 1_000 })).toBe(9);
    expect(earned({ by: 'amount', points: 3, perMinorUnits: 1_000, steps: 'fraction' })).toBe(10);
  });

  test('only what was paid by a means counts, in proportion over the lines', () => {
    const payments = [
      { means: 'club-card', amount: 1_695 },
      { means: 'gift_card', amount: 1_000 },
      { means: 'cash', amount: 695 },
    ];
    const rule = { name: 'r', currency: 'points', earn: { ...amount, paidBy: ['club-card'] } as never };
    const judged = judge(rulesFrom({ rules: [rule] }), { subject: { purchase: { ...purchase, payments } } });
    expect(judged.awards[0]?.points).toBe(16);
  });
});

describe('what several promotions assume of one counter', () => {
  const [first, tenth] = [1, 10].map((purchaseNumber) => fixed(`p-${purchaseNumber}`, 5, { purchaseNumber }));
  const rules = promoted([{ name: 'days', combine: 'additive' }], [first!, tenth!]);
  const purchases = rules.purchases!.counter;
  const most = Number.MAX_SAFE_INTEGER;

  test.for([
    [0, 0, 0],
    [4, 1, 8],
    [9, 9, 9],
    [30, 10, most],
  ] as const)('at %i is one range, %i to %i', ([value, from, to]) => {
    const { assumptions } = judge(rules, { ...tenEuros, counters: () => value });
    expect(assumptions).toEqual([{ counter: purchases, period: 0, from, to }]);
  });

  test('is judged again as it was, also from the ranges that older versions kept one by one', () => {
    const kept = (...ranges: readonly (readonly [number, number])[]) => {
      const assumptions = ranges.map(([from, to]) => ({ counter: purchases, period: 0, from, to }));
      const counters = countersThen({ request: { assumptions }, effect: { legs: [], balances: [] } });
      return pointsBy(judge(rules, { ...tenEuros, counters }));
    };
    expect(kept([1, most], [9, 9])).toEqual({ base: 10, 'p-10': 5 });
    expect(kept([1, most], [0, 8])).toEqual({ base: 10 });
    expect(kept([0, 0])).toEqual({ base: 10, 'p-1': 5 });
  });
});

describe('properties', () => {
  const rounding = fc.constantFrom(
    'floor' as const,
    'ceil' as const,
    'half_up' as const,
    'half_even' as const,
  );

  test('an amount times a fraction is rounded exactly, however large', () => {
    const any = fc.integer({ min: 0, max: 2 ** 40 });
    fc.assert(
      fc.property(
        any,
        fc.integer({ min: 0, max: 2 ** 12 }),
        fc.integer({ min: 1, max: 10 ** 6 }),
        rounding,
        (a, b, c, how) => {
          const doubled = 2n * BigInt(a) * BigInt(b);
          const result = 2n * BigInt(c) * BigInt(mulDiv(a, b, c, how));
          const error = result - doubled;
          const bound = 2n * BigInt(c);
          if (how === 'floor') expect(error <= 0n && error > -bound).toBe(true);
          else if (how === 'ceil') expect(error >= 0n && error < bound).toBe(true);
          else expect(error <= BigInt(c) && error >= -BigInt(c)).toBe(true);
        },
      ),
    );
  });

  test('where promotions stand in the file means nothing', () => {
    const promotions = [
      times('two', 2),
      times('three', 3, { priority: 2 }),
      fixed('bonus', 7, { group: 'gifts' }),
      fixed('more', 9, { group: 'gifts', priority: 1 }),
      times('half', '1.5', { group: undefined }),
    ];
    const combine = fc.constantFrom(
      'exclusive',
      'best',
      'additive',
      'multiplicative',
    ) as fc.Arbitrary<'best'>;
    const order = fc.shuffledSubarray(promotions, { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(
        order,
        combine,
        combine,
        fc.integer({ min: 0, max: 90_000 }),
        (shuffled, days, gifts, amount) => {
          const groups = [
            { name: 'days', combine: days },
            { name: 'gifts', combine: gifts, pointsMax: 12 },
          ];
          const asked = { subject: { purchase: receipt([amount]) } };
          const inOrder = promoted(groups, promotions, { promotionsPointsMax: 300 });
          const inAny = promoted(groups, shuffled, { promotionsPointsMax: 300 });
          expect(pointsBy(judge(inAny, asked))).toEqual(pointsBy(judge(inOrder, asked)));
        },
      ),
    );
  });

  test('what remains of a receipt never earns more than all of it, and nothing earns nothing', () => {
    const lines = fc.array(fc.integer({ min: 0, max: 50_000 }), { minLength: 1, maxLength: 8 });
    const rules = promoted(
      [{ name: 'days', combine: 'additive' }],
      [times('two', 2), fixed('bonus', 5, { basket: [{ amountMin: 10_000 }] })],
    );
    fc.assert(
      fc.property(lines, fc.func(fc.double({ min: 0, max: 1, noNaN: true })), (amounts, kept) => {
        const purchase = receipt(...amounts.map((amount) => [amount] as const));
        const sum = (remaining?: (amount: number, i: number) => number) => {
          const left = (line: { line: string | number; amount: number }) => ({
            amount: remaining ? remaining(line.amount, Number(line.line)) : line.amount,
            millionths: 1_000_000,
          });
          return judge(rules, { subject: { purchase }, remaining: left }).awards.reduce(
            (a, { points }) => a + points,
            0,
          );
        };
        expect(sum((amount, i) => Math.floor(amount * kept(i)))).toBeLessThanOrEqual(sum());
        expect(sum(() => 0)).toBe(0);
      }),
    );
  });
});

test('a condition on lines that names the member makes the version ask for the member', () => {
  const lines = { when: 'has(member.attributes.club) && line.amount > 0' };
  const amount = { by: 'amount' as const, points: 1, perMinorUnits: 100 };
  const rule = { name: 'r', currency: 'points', earn: amount };
  expect(rulesFrom({ rules: [rule] }).looksAtMember).toBe(false);
  expect(rulesFrom({ rules: [{ ...rule, earn: { ...amount, lines } }] }).looksAtMember).toBe(true);
  expect(rulesFrom({ rules: [{ ...rule, basket: [{ lines }] }] }).looksAtMember).toBe(true);
  const promotion = { name: 'p', currency: 'points', multiply: { by: 2, lines } };
  expect(rulesFrom({ rules: [rule], promotions: [promotion] }).looksAtMember).toBe(true);
});

test('a fixed bonus that is trimmed is trimmed for an order too, although it counts once for it', () => {
  const rules = rulesFrom({
    promotions: [
      {
        name: 'bonus',
        currency: 'points',
        earn: { by: 'fixed', points: 3 },
        caps: [{ points: 7, period: 'lifetime' }],
      },
    ],
  });
  const counters = createMemberCounters();
  const pointsOf = (order: string) => {
    const judgement = judge(rules, { subject: { purchase: { ...receipt([100]), order } } });
    return weigh(judgement, counters)?.[0] ?? judgement.awards[0]?.points;
  };
  expect(['a', 'a', 'b', 'c', 'd'].map(pointsOf)).toEqual([3, 0, 3, 1, 0]);
});
