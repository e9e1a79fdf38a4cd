/** What points come to at a partner: published rates, whole numbers, and the promises that hold for every rate there can be. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  feeAmountOf,
  nothingUsed,
  pointsEarned,
  type Quote,
  type QuoteRefusal,
  quoteOf,
  rateFor,
  rounded,
} from '#src/partners/contracts/arithmetic.ts';
import { problemOfQuote } from '#src/partners/contracts/problems.ts';
import type { Earning, Fee, Partner, Rate, Used } from '#src/partners/contracts/types.ts';
import { pointsMax } from '#src/values.ts';
import { fileWith, partnerOf, rateEntry } from './house/partners.ts';
import * as published from './house/published-rates.ts';

const instantOf = (text: string) => Date.parse(text.includes('T') ? text : `${text}T12:00:00Z`);

interface Ask {
  readonly points: number;
  readonly on?: string;
  readonly tier?: string;
  readonly used?: Used;
}

function quoted(partner: Partner, { points, on = '2026-02-28', tier, used = nothingUsed }: Ask) {
  const at = instantOf(on);
  const rate = rateFor(partner, { direction: 'out', currency: 'points', tier }, at);
  return rate && quoteOf(rate, { points, at, tier, used });
}

const inYear = (receive: number): Used => ({ ...nothingUsed, year: { give: 0, receive } });
const usd = (amount: number) => ({ fee: { amount, currency: 'USD' } });

/** Cases 13 to 22 and 24: from, asked, what came. */
const cases: readonly (readonly [title: string, file: object, ask: Ask, came: object])[] = [
  ['13 Amex to Cathay before', published.amexToCathay, { points: 50_000 }, { receive: 50_000 }],
  [
    '13 Amex to Cathay from the day on',
    published.amexToCathay,
    { points: 50_000, on: '2026-03-01T00:00:00Z' },
    { receive: 40_000, rate: { numerator: 4, denominator: 5, version: 2 } },
  ],
  ['14 beside the step', published.amexToCathay, { points: 50_250 }, { word: 'exchange_step', bound: 1_000 }],
  [
    '15 base and bonus are rounded apart',
    published.capitalOneToJal,
    { points: 100, on: '2026-04-15' },
    { base: 75, bonus: 22, receive: 97 },
  ],
  [
    '15 a thousand at once',
    published.capitalOneToJal,
    { points: 1_000, on: '2026-04-15' },
    { base: 750, bonus: 225, receive: 975 },
  ],
  [
    '16 bonuses add',
    published.chaseToAeroplan,
    { points: 1_000, on: '2026-04-30T23:59:59Z', tier: 'card' },
    { receive: 1_300, bonuses: ['april', 'card'] },
  ],
  [
    '16 a bonus is over after its last day',
    published.chaseToAeroplan,
    { points: 1_000, on: '2026-05-01T00:00:00Z', tier: 'card' },
    { receive: 1_000, bonuses: [] },
  ],
  [
    '16 a bonus of others',
    published.chaseToAeroplan,
    { points: 1_000, on: '2026-04-15' },
    { receive: 1_200, bonuses: ['april'] },
  ],
  ['16 a bonus on 1:2', published.amexToHilton, { points: 1_000, on: '2026-05-30' }, { receive: 2_400 }],
  ['17 Marriott to BA', published.marriottToBa, { points: 60_000 }, { receive: 25_000 }],
  ['17 Marriott to United', published.marriottToUnited, { points: 60_000 }, { receive: 30_000 }],
  [
    '18 one short of a second block',
    published.marriottToBa,
    { points: 119_999 },
    { receive: 44_999, base: 39_999 },
  ],
  ['18 two blocks', published.marriottToBa, { points: 120_000 }, { receive: 50_000 }],
  [
    '19 under the minimum',
    published.marriottToBa,
    { points: 2_999 },
    { word: 'exchange_minimum', bound: 3_000 },
  ],
  ['20 a block of the Bank of China', published.bankOfChinaToWings, { points: 14_750 }, { receive: 500 }],
  [
    '20 beside the block',
    published.bankOfChinaToWings,
    { points: 15_000 },
    { word: 'exchange_step', bound: 14_750 },
  ],
  [
    '21 over the cap of the year, of which nothing is given in part',
    published.bankOfChinaToWings,
    { points: 14_750, used: inYear(79_600) },
    { word: 'cap_reached', bound: 80_000, left: 400, period: 'year' },
  ],
  [
    '21 up to the cap of the year',
    published.bankOfChinaToWings,
    { points: 14_750, used: inYear(79_500) },
    { receive: 500 },
  ],
  ['22 a fee without a float', published.amexToUnited, { points: 10_000 }, usd(600)],
  ['22 a fee that just reaches its maximum', published.amexToUnited, { points: 165_000 }, usd(9_900)],
  ['22 a fee at its maximum', published.amexToUnited, { points: 200_000 }, usd(9_900)],
  [
    '24 Citi to American, premium card',
    published.citiToAmerican,
    { points: 1_000, tier: 'premium' },
    { receive: 1_000 },
  ],
  [
    '24 Citi to American, basic card',
    published.citiToAmerican,
    { points: 1_000, tier: 'basic' },
    { receive: 700 },
  ],
  ['24 Citi to American, no card', published.citiToAmerican, { points: 1_000 }, { receive: 700 }],
];

describe('published rates', () => {
  test.each(cases)('%s', (_, file, ask, came) => {
    expect(quoted(partnerOf(file), ask)).toMatchObject(came);
  });

  test('23 money spent is rounded a purchase or a statement, as the contract says', () => {
    const earning = (roundedPer: Earning['roundedPer']): Earning => ({
      currency: 'CNY',
      points: 1,
      perMinorUnits: 1_000,
      rounding: 'floor',
      roundedPer,
    });
    expect(pointsEarned(earning('purchase'), [1_999, 1_999])).toBe(2);
    expect(pointsEarned(earning('statement'), [1_999, 1_999])).toBe(3);
  });

  test('25 a quote of the last minute keeps its rate, which the next minute would not give', () => {
    const partner = partnerOf(published.amexToCathay);
    const quote = quoted(partner, { points: 50_000, on: '2026-02-28T23:59:00Z' });
    expect(quote).toMatchObject({ receive: 50_000, rate: { version: 1 } });
    expect(quoted(partner, { points: 50_000, on: '2026-03-01T00:01:00Z' })).toMatchObject({
      receive: 40_000,
      rate: { version: 2 },
    });
  });

  test.each(published.devaluations)('$bank fell on its day', ({ file, came }) => {
    const partner = partnerOf(file);
    const receive = (on: string) => {
      const quote = quoted(partner, { points: 1_000, on });
      return quote === undefined ? null : (quote as Quote).receive;
    };
    expect(came.map(([day]) => [day, receive(day)])).toEqual(came);
  });

  test('the day of a change is that of the program, not of Greenwich', () => {
    const shanghai = partnerOf(published.amexToCathay, 'Asia/Shanghai');
    expect(quoted(shanghai, { points: 1_000, on: '2026-02-28T15:59:59Z' })).toMatchObject({ receive: 1_000 });
    expect(quoted(shanghai, { points: 1_000, on: '2026-02-28T16:00:00Z' })).toMatchObject({ receive: 800 });
  });
});

const ratioArbitrary = fc.record({
  numerator: fc.integer({ min: 1, max: 10_000 }),
  denominator: fc.integer({ min: 1, max: 10_000 }),
});
const roundingArbitrary = fc.constantFrom('floor', 'half_up', 'half_even', 'ceil');
const shareArbitrary = fc
  .integer({ min: 0, max: 100_000 })
  .map((numerator) => ({ numerator, denominator: 10_000 }));

const plainRate = partnerOf(fileWith([rateEntry(1, 1)])).rates[0]!;
const rateArbitrary: fc.Arbitrary<Rate> = fc
  .record({
    ratio: ratioArbitrary,
    rounding: roundingArbitrary,
    step: fc.integer({ min: 1, max: 5_000 }),
    minimumSteps: fc.integer({ min: 1, max: 20 }),
    block: fc.option(
      fc.record({ points: fc.integer({ min: 1, max: 100_000 }), adds: fc.integer({ min: 1, max: 10_000 }) }),
    ),
    shares: fc.array(shareArbitrary, { maxLength: 4 }),
    cap: fc.option(fc.integer({ min: 1, max: 10_000_000 })),
  })
  .map(({ ratio, rounding, step, minimumSteps, block, shares, cap }) => ({
    ...plainRate,
    ratio,
    rounding,
    step,
    minimum: step * minimumSteps,
    block,
    bonuses: shares.map((share, i) => ({ name: `b${i}`, from: 0, until: null, share })),
    caps: cap === null ? [] : [{ period: 'day' as const, of: 'receive' as const, points: cap }],
  }));
const pointsArbitrary = fc.integer({ min: 1, max: 1_000_000_000 });
const at = instantOf('2026-05-01');
const quote = (rate: Rate, points: number, used = nothingUsed): Quote | QuoteRefusal =>
  quoteOf(rate, { points, at, used });

describe('every rate', () => {
  test('gives never more than the contract: what is not floored adds less than a point for base and for bonus', () => {
    fc.assert(
      fc.property(rateArbitrary, pointsArbitrary, (rate, points) => {
        const came = quote(rate, points);
        if (came.status === 'refused') return;
        const [exact, unit] = [BigInt(points) * BigInt(rate.ratio.numerator), BigInt(rate.ratio.denominator)];
        const over = BigInt(came.base) * unit - exact;
        expect(rate.rounding === 'floor' ? over <= 0n : over < unit).toBe(true);
        const shares = rate.bonuses.reduce((sum, { share }) => sum + share.numerator, 0);
        const ofBlocks = rate.block ? Math.floor(points / rate.block.points) * rate.block.adds : 0;
        const bonus = BigInt(came.bonus - ofBlocks) * 10_000n;
        const bonusOver = bonus - BigInt(came.base) * BigInt(shares);
        expect(rate.rounding === 'floor' ? bonusOver <= 0n : bonusOver < 10_000n).toBe(true);
        expect(came.receive).toBe(came.base + came.bonus);
      }),
    );
  });

  test('is the same for the quote and for the exchange, and for the same thing asked again', () => {
    fc.assert(
      fc.property(rateArbitrary, pointsArbitrary, (rate, points) => {
        const first = quote(rate, points);
        expect(quote(structuredClone(rate), points)).toEqual(first);
      }),
    );
  });

  test('gives more for more, and nothing beside minimum, step and maximum', () => {
    fc.assert(
      fc.property(rateArbitrary, fc.integer({ min: 0, max: 100 }), (rate, steps) => {
        const open = { ...rate, caps: [], maximum: rate.minimum + 50 * rate.step };
        const points = rate.minimum + steps * rate.step;
        const came = quote(open, points);
        if (points > open.maximum) expect(came).toMatchObject({ word: 'exchange_maximum' });
        else if (came.status === 'quoted' && points + rate.step <= open.maximum)
          expect((quote(open, points + rate.step) as Quote).receive).toBeGreaterThanOrEqual(came.receive);
        if (rate.step > 1 && points < open.maximum)
          expect(quote(open, points + 1)).toMatchObject({ word: 'exchange_step' });
        expect(quote(open, rate.minimum - 1)).toMatchObject({ word: 'exchange_minimum' });
      }),
    );
  });

  test('never passes a cap, in whatever order exchanges come', () => {
    fc.assert(
      fc.property(
        rateArbitrary,
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 }),
        (rate, cap, steps) => {
          const capped = {
            ...rate,
            caps: [
              { period: 'day' as const, of: 'receive' as const, points: cap },
              { period: 'year' as const, of: 'give' as const, points: 20 * rate.minimum },
            ],
          };
          const sum = { give: 0, receive: 0 };
          for (const step of steps) {
            const used = { day: sum, month: sum, year: sum };
            const came = quote(capped, rate.minimum + step * rate.step, { ...used });
            if (came.status === 'refused') continue;
            sum.give += came.give;
            sum.receive += came.receive;
            expect(sum.receive).toBeLessThanOrEqual(cap);
            expect(sum.give).toBeLessThanOrEqual(20 * rate.minimum);
          }
        },
      ),
    );
  });

  test('has a fee between its fixed part and its maximum, which does not fall when more is given', () => {
    const feeArbitrary = fc.record({
      currency: fc.constant('USD'),
      fixed: fc.integer({ min: 0, max: 10_000 }),
      perPoints: ratioArbitrary,
      over: fc.integer({ min: 0, max: 1_000_000 }),
      rounding: roundingArbitrary,
    });
    fc.assert(
      fc.property(feeArbitrary, fc.integer({ min: 1, max: 1_000_000 }), ({ over, ...shape }, points) => {
        const fee: Fee = { ...shape, maximum: shape.fixed + over };
        const amount = feeAmountOf(fee, points);
        expect(amount).toBeGreaterThanOrEqual(fee.fixed);
        expect(amount).toBeLessThanOrEqual(fee.maximum!);
        expect(feeAmountOf(fee, points + 1)).toBeGreaterThanOrEqual(amount);
      }),
    );
  });
});

describe('rounding', () => {
  test.each([
    ['floor', [2, 2, 3, 3]],
    ['half_up', [2, 3, 4, 4]],
    ['half_even', [2, 2, 4, 4]],
    ['ceil', [3, 3, 4, 4]],
  ] as const)('%s of 9/4, 10/4, 14/4 and 15/4', (rounding, expected) => {
    expect([9n, 10n, 14n, 15n].map((numerator) => Number(rounded(numerator, 4n, rounding)))).toEqual(
      expected,
    );
  });

  test('beyond what can be counted is refused, never rounded', () => {
    const rate = partnerOf(fileWith([rateEntry(1, 1_000_000)])).rates[0]!;
    expect(quote(rate, Number.MAX_SAFE_INTEGER)).toMatchObject({ word: 'uncountable', bound: pointsMax });
    const most = Math.floor(pointsMax / 1_000_000);
    expect(quote(rate, most)).toMatchObject({ status: 'quoted', receive: most * 1_000_000 });
    expect(quote(rate, most + 1)).toMatchObject({ word: 'uncountable' });
  });

  test('near what can be counted an exchange is exact or refused, with bonuses, blocks, fees and caps', () => {
    const near = fc.oneof(
      fc.bigInt({ min: 0n, max: 1_000n }).map((less) => pointsMax - Number(less)),
      fc.integer({ min: 1, max: pointsMax }),
    );
    const part = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(near, part, part, near, part, (points, give, receive, used, adds) => {
        const more = {
          block: { points: give, adds },
          fee: { currency: 'USD', amount: 1_000_000_000, perPoints: 1_000 },
        };
        const [rate] = partnerOf(fileWith([rateEntry(give, receive, more)])).rates;
        const caps = [{ period: 'year', of: 'receive', points: pointsMax }] as const;
        const year = { give: used, receive: used };
        const found = quoteOf(
          { ...rate!, caps },
          { points, at: instantOf('2026-02-28'), used: { ...nothingUsed, year } },
        );
        const whole =
          (BigInt(points) * BigInt(receive)) / BigInt(give) + (BigInt(points) / BigInt(give)) * BigInt(adds);
        if (found.status === 'quoted') {
          expect(BigInt(found.receive)).toBe(whole);
          expect(BigInt(found.fee!.amount)).toBe((BigInt(points) * 1_000_000_000n + 500n) / 1_000n);
          expect(BigInt(found.receive) + BigInt(used) <= BigInt(pointsMax)).toBe(true);
        } else expect(problemOfQuote(found).status).toBe(409);
      }),
    );
  });
});
