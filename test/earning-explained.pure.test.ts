/** What an explanation says of rules that gave nothing, or less: what would have to differ, and never another story than the award's. */
import { describe, expect, test } from 'vitest';
import { explain, type GivenByScript } from '#src/earning/rules/explain.ts';
import type { RuleView } from '#src/earning/rules/types.ts';
import { type Judged, judge, pointsBy, questionOf, receipt, rulesFrom } from './house/judge.ts';
import { amountRule } from './house/shop.ts';

type File = Parameters<typeof rulesFrom>[0];

function viewsOf(file: File, judged: Judged, given?: GivenByScript): Record<string, RuleView> {
  const { rules, judgement } = explain(rulesFrom(file), questionOf(judged), given);
  expect(judgement.failures).toEqual(judge(rulesFrom(file), judged).failures);
  return Object.fromEntries(rules.map((view) => [view.rule, view]));
}

const beauty = { categories: ['beauty'] };
const earned = (earn: object) => ({ rules: [{ name: 'r', currency: 'points', earn: earn as never }] });

describe('a rule that fits and gives nothing says what is missing', () => {
  const amount = { by: 'amount', points: 1, perMinorUnits: 2_500 };
  const bought = { subject: { purchase: receipt([200, 'beauty'], [1_000]) } };
  test.each([
    ['money in its lines', { ...amount, lines: beauty }, bought, '23.00 EUR more in category beauty'],
    ['money in the receipt', amount, bought, '13.00 EUR more in the receipt'],
    ['money in one line', { ...amount, each: 'line' }, bought, '15.00 EUR more in one line of the receipt'],
    ['a line', { ...amount, lines: { categories: ['wine'] } }, bought, 'a line in category wine'],
    ['pieces', { by: 'quantity', points: 2, lines: { brands: ['acme'] } }, bought, 'a line in brand acme'],
    ['a means of payment', { ...amount, paidBy: ['card'] }, bought, 'a payment by card'],
    [
      'whole points',
      { by: 'amount', points: 1, perMinorUnits: 5_000, steps: 'fraction' },
      bought,
      'what counts is worth less than a point',
    ],
  ] as const)('%s', (_, earn, judged, detail) => {
    expect(viewsOf(earned(earn), judged).r).toMatchObject({ outcome: 'not_matched', points: 0, detail });
  });

  test('for a promotion too', () => {
    const file = {
      rules: [amountRule('base', 'points', [1, 100])],
      promotions: [
        { name: 'wine', currency: 'points', multiply: { by: 2, lines: { categories: ['wine'] } } },
      ],
    };
    expect(viewsOf(file, bought).wine).toMatchObject({
      outcome: 'not_matched',
      detail: 'a line in category wine',
    });
  });
});

test('an amount or a purchase that is not reached says how far it is, one that was reached before says so', () => {
  const file: File = {
    promotions: [
      { name: 'third', currency: 'points', purchaseNumber: 3, earn: { by: 'fixed', points: 5 } },
      {
        name: 'much',
        currency: 'points',
        spendReached: { minorUnits: 10_000, period: 'month' },
        earn: { by: 'fixed', points: 5 },
      },
    ],
  };
  const rules = rulesFrom(file);
  const details = (purchases: number | undefined, spent: number | undefined) => {
    const views = viewsOf(file, {
      subject: { purchase: receipt([3_000]) },
      counters: ({ counter }) => (counter === rules.purchases!.counter ? purchases : spent),
    });
    return [views.third?.detail, views.much?.detail];
  };
  expect(details(3, 2_500)).toEqual(['it is purchase number 4, not 3', '45.00 EUR more in the month']);
  expect(details(0, 10_000)).toEqual([
    'it is purchase number 1, not 3',
    'the spending of the month had reached 100.00 EUR before',
  ]);
  expect(details(undefined, undefined)).toEqual([
    'it is not purchase number 3',
    'it does not bring the spending of the month to 100.00 EUR',
  ]);
});

test('a condition behind one that does not hold was never looked at, so its failure is none of the rule', () => {
  const file: File = {
    rules: [
      {
        name: 'r',
        currency: 'points',
        channels: ['web'],
        when: '100 / receipt.total > 1',
        earn: { by: 'fixed', points: 1 },
      },
    ],
  };
  expect(viewsOf(file, { subject: { purchase: receipt([0]) } }).r).toMatchObject({
    outcome: 'not_matched',
    conditions: [
      { condition: 'channel is web', holds: false },
      { holds: false, detail: 'cannot be judged: division by zero' },
    ],
  });
});

test('of several caps those are named that had less room than was asked for', () => {
  const file: File = {
    rules: [
      amountRule('base', 'points', [1, 100], {
        caps: [
          { points: 50, period: 'day' },
          { points: 500, period: 'month' },
        ],
      }),
    ],
  };
  const stood =
    (day: number, month: number) =>
    ({ period }: { period: number }) =>
      period > 1_000_000 ? day : month;
  const caps = (day: number, month: number, given: number) =>
    viewsOf(
      file,
      { subject: { purchase: receipt([3_000]) }, counters: stood(day, month) },
      { given: [given] },
    ).base?.caps;
  expect(caps(30, 30, 20)).toEqual([{ period: 'day', pointsMax: 50, cut: 10 }]);
  expect(caps(0, 490, 10)).toEqual([{ period: 'month', pointsMax: 500, cut: 20 }]);
});

test('the cap of a receipt stands among the caps, before those of a longer period', () => {
  const caps = [
    { points: 25, period: 'receipt' as const },
    { points: 40, period: 'day' as const },
  ];
  const file: File = {
    rules: [amountRule('base', 'points', [1, 100], { caps })],
    promotions: [{ name: 'twice', currency: 'points', multiply: { by: 2 }, caps: caps.slice(0, 1) }],
  };
  const views = viewsOf(
    file,
    { subject: { purchase: receipt([3_000]) }, counters: () => 30 },
    { given: [10, 25] },
  );
  expect(views.base).toMatchObject({
    outcome: 'capped',
    points: 10,
    caps: [
      { period: 'receipt', pointsMax: 25, cut: 5 },
      { period: 'day', pointsMax: 40, cut: 15 },
    ],
  });
  expect(views.twice).toMatchObject({ outcome: 'applied', points: 25, caps: [] });
});

test('what points or a gift card paid earns nothing, by piece or as such', () => {
  const rules = rulesFrom({
    rules: [
      amountRule('base', 'points', [1, 100]),
      { name: 'pieces', currency: 'points', earn: { by: 'quantity', points: 2 } },
      { name: 'visit', currency: 'points', earn: { by: 'fixed', points: 10 } },
    ],
  });
  const paid = (points: number, ...lines: readonly (readonly [amount: number, category?: string])[]) =>
    pointsBy(
      judge(rules, {
        subject: { purchase: { ...receipt(...lines), payments: [{ means: 'points', amount: points }] } },
      }),
    );
  expect(paid(0, [1_000], [1_000])).toEqual({ base: 20, pieces: 4, visit: 10 });
  expect(paid(1_000, [1_000], [1_000])).toEqual({ base: 10, pieces: 2, visit: 10 });
  expect(paid(2_000, [1_000], [1_000])).toEqual({});
  // The own bag of 0.00 was paid by nobody.
  expect(paid(1_000, [1_000], [0])).toEqual({ pieces: 2 });
  expect(paid(0, [0])).toEqual({ pieces: 2, visit: 10 });
});

test('where a group stands in the file does not decide which promotion is trimmed', () => {
  const promotion = (name: string, group: string) => ({
    name,
    currency: 'points',
    group,
    earn: { by: 'fixed' as const, points: 10 },
  });
  for (const groups of [
    ['g', 'h'],
    ['h', 'g'],
  ]) {
    const rules = rulesFrom({
      groups: groups.map((name) => ({ name, combine: 'additive' as const })),
      promotions: [promotion('a', 'h'), promotion('b', 'g')],
      promotionsPointsMax: 10,
    });
    expect(pointsBy(judge(rules, { subject: { purchase: receipt([100]) } }))).toEqual({ a: 10 });
  }
});
