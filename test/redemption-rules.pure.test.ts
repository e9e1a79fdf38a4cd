/** What points are worth and how many a receipt takes: the rules of a program file, without any engine. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noNumbers } from '#src/earning/file/numbers.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { type ProgramFileInput, programFileSchema } from '#src/earning/file/schema.ts';
import { type JudgedMember, nobody, type Purchase } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import { type Asked, judgeRedemption } from '#src/redemption/pricing.ts';
import {
  exchangeOf,
  type Occasion,
  offerOf,
  refusalOf,
  type Terms,
  termsOf,
  valueOfPoints,
} from '#src/redemption/rules.ts';

type RuleInput = NonNullable<ProgramFileInput['redemption']>[number];

const oneEuroFor200 = { points: 200, minorUnits: 100, money: 'EUR' };
const plain: RuleInput = { name: 'plain', currency: 'points', exchange: oneEuroFor200 };

function versionOf(redemption: readonly RuleInput[], more: Partial<ProgramFileInput> = {}) {
  const file = programFileSchema.parse({
    timeZone: 'Europe/Berlin',
    currencies: [{ code: 'points' }, { code: 'coins' }],
    redemption,
    ...more,
  });
  return { version: 3, effectiveFrom: -Infinity, definition: { ...file, numbers: noNumbers } };
}

const noon = Date.parse('2026-11-18T11:00:00Z');
const somebody: JudgedMember = { ...nobody, isKnown: true };

function receipt(amounts: Readonly<Record<string, number>>, more: Partial<Purchase> = {}): Purchase {
  const lines = Object.entries(amounts).map(([category, amount]) => ({ line: category, category, amount }));
  return { currency: 'EUR', lines, ...more };
}

function occasionOf(purchase?: Purchase, more: Partial<Occasion> = {}): Occasion {
  return { purchase, member: somebody, at: noon, ...more };
}

function open(version: ReturnType<typeof versionOf>, occasion: Occasion): Terms {
  const terms = termsOf(version.definition, 'points', occasion);
  if (typeof terms === 'string') throw new Error(`no terms: ${terms}`);
  return terms;
}

describe('limits', () => {
  const version = versionOf([
    {
      ...plain,
      minimumPoints: 200,
      stepPoints: 100,
      maximumPoints: 10_000,
      sharePercentMax: 50,
      lines: { except: { categories: ['tobacco'] } },
    },
  ]);
  // Half of 30.00, without the tobacco: 15.00, which are 3,000 points.
  const small = receipt({ food: 3_000, tobacco: 1_000 });

  test.each([
    [199, 'minimum'],
    [200, undefined],
    [250, 'step'],
    [3_000, undefined],
    [3_001, 'step'],
    [3_100, 'share'],
    [100, 'minimum'],
  ])('%i points of a receipt of 30.00 and excepted tobacco: %s', (points, limitedBy) => {
    expect(refusalOf(open(version, occasionOf(small)), points)?.limitedBy).toBe(limitedBy);
  });

  test.each([
    [10_000, undefined],
    [10_100, 'maximum'],
  ])('%i points of a receipt of 500.00: %s', (points, limitedBy) => {
    expect(refusalOf(open(version, occasionOf(receipt({ food: 50_000 }))), points)?.limitedBy).toBe(
      limitedBy,
    );
  });

  test('one unit less on the receipt is one step less', () => {
    const terms = open(version, occasionOf(receipt({ food: 2_999, tobacco: 9_000 })));
    expect([terms.payable, terms.maximum]).toEqual([1_499, 2_900]);
  });

  test('what gift cards and other points paid comes off all lines in proportion', () => {
    const payments = [
      { means: 'gift_card', amount: 600 },
      { means: 'points', amount: 400 },
      { means: 'card', amount: 3_000 },
    ];
    // 25.50 of the 30.00 are not the gift card's. Points may pay half of that, 12.75, and have paid 3.00 of it.
    const terms = open(version, occasionOf({ ...small, payments }));
    expect([terms.payable, terms.maximum]).toEqual([975, 1_900]);
  });

  test('a share is of the receipt, in however many redemptions it is paid', () => {
    const paid = (amount: number) => ({
      ...receipt({ food: 3_000 }),
      payments: [{ means: 'points', amount }],
    });
    const payable = (amount: number) => open(version, occasionOf(paid(amount))).payable;
    expect([0, 600, 1_499, 1_500, 2_000].map(payable)).toEqual([1_500, 900, 1, 0, 0]);
  });

  test('a receipt below the minimum takes no points at all', () => {
    const terms = open(version, occasionOf(receipt({ food: 199 })));
    expect(terms).toMatchObject({ payable: 99, maximum: 0, limitedBy: 'share' });
    expect(refusalOf(terms, 200)?.limitedBy).toBe('share');
    expect(offerOf(terms, 5_000)).toMatchObject({ maximum: 0, limitedBy: 'share', best: { points: 0 } });
  });

  test('without the receipt nothing can be said by a rule that limits by it, and all by one that does not', () => {
    expect(refusalOf(open(version, occasionOf()), 200)?.limitedBy).toBe('receipt');
    const terms = open(versionOf([plain]), occasionOf());
    expect(refusalOf(terms, 7)).toBeUndefined();
    expect(offerOf(terms, 1_001)).toMatchObject({
      maximum: 1_001,
      best: { points: 1_000, value: { amount: 500 } },
    });
  });

  test('some means of payment exclude points', () => {
    const terms = open(
      versionOf([{ ...plain, exceptPaidBy: ['voucher'] }]),
      occasionOf({ ...small, payments: [{ means: 'voucher', amount: 1 }] }),
    );
    expect(offerOf(terms, 5_000)).toMatchObject({ maximum: 0, limitedBy: 'payment' });
    expect(refusalOf(terms, 2)?.limitedBy).toBe('payment');
  });
});

describe('what a member is offered', () => {
  test.each([
    // available, maximum, limited by, best points, their value
    [0, 0, 'available', 0, 0],
    [199, 0, 'available', 0, 0],
    [200, 200, 'available', 200, 100],
    [290, 200, 'available', 200, 100],
    [999_999, 6_000, 'share', 6_000, 3_000],
  ])(
    'with %i points: at most %i, limited by %s; best %i for %i',
    (available, maximum, limitedBy, points, amount) => {
      const version = versionOf([{ ...plain, minimumPoints: 200, stepPoints: 100 }]);
      expect(offerOf(open(version, occasionOf(receipt({ food: 3_000 }))), available)).toEqual({
        minimum: 200,
        step: 100,
        maximum,
        limitedBy,
        best: { points, value: { amount, currency: 'EUR' } },
      });
    },
  );

  test('no point is paid for nothing: at 3 points a cent 99 buy what 100 buy', () => {
    const version = versionOf([{ ...plain, exchange: { points: 3, minorUnits: 1, money: 'EUR' } }]);
    const offer = offerOf(open(version, occasionOf(receipt({ food: 500 }))), 100);
    expect(offer).toMatchObject({ minimum: 3, maximum: 100, best: { points: 99, value: { amount: 33 } } });
  });

  test('points that are worth more than a unit leave the rest that no point fits', () => {
    const version = versionOf([{ ...plain, exchange: { points: 1, minorUnits: 3, money: 'EUR' } }]);
    const offer = offerOf(open(version, occasionOf(receipt({ food: 100 }))), 1_000);
    expect(offer).toMatchObject({ maximum: 33, limitedBy: 'share', best: { value: { amount: 99 } } });
  });
});

describe('money', () => {
  test.each([
    // A yen has no smaller unit, so one yen is the least that can be bought.
    [{ points: 200, minorUnits: 1, money: 'JPY' }, 199, 0, 200],
    [{ points: 200, minorUnits: 1, money: 'JPY' }, 399, 1, 200],
    [{ points: 1, minorUnits: 1, money: 'JPY' }, 57, 57, 1],
    // 100 points are a quarter of a dinar of 1,000 fils.
    [{ points: 100, minorUnits: 250, money: 'KWD' }, 101, 252, 1],
  ])('at %j %i points are worth %i, and at least %i are needed', (exchange, points, amount, minimum) => {
    const purchase = receipt({ food: 1_000_000 }, { currency: exchange.money });
    const terms = open(versionOf([{ ...plain, exchange }]), occasionOf(purchase));
    expect([valueOfPoints(terms, points), terms.minimum, terms.money]).toEqual([
      amount,
      minimum,
      exchange.money,
    ]);
  });

  const rates = [
    { currency: 'JPY', from: '2026-01-01', units: 1_000, base: 610 },
    { currency: 'JPY', from: '2026-11-19', units: 1_000, base: 500 },
  ];
  const dated = versionOf([plain], { money: { currency: 'EUR', rates } });
  const yen = receipt({ food: 10_000 }, { currency: 'JPY' });

  test('of the receipt is what a value is in, at the rate of the day', () => {
    // 200 points are 1.00 EUR, which are 163.9 yen at 6.10 EUR for 1,000.
    const terms = open(dated, occasionOf(yen));
    expect([valueOfPoints(terms, 200), terms.money]).toEqual([163, 'JPY']);
    expect(exchangeOf(terms)).toEqual({ points: 61, amount: 50, currency: 'JPY' });
    expect(terms.maximum).toBe(12_200);
  });

  test('changes with the rate at midnight in the zone of the program', () => {
    const value = (at: string) => valueOfPoints(open(dated, occasionOf(yen, { at: Date.parse(at) })), 1_000);
    expect([value('2026-11-18T22:59:59.999Z'), value('2026-11-18T23:00:00Z')]).toEqual([819, 1_000]);
  });

  test('of a receipt that nobody can convert fits no rule', () => {
    const dollars = receipt({ food: 100 }, { currency: 'USD' });
    expect(termsOf(versionOf([plain]).definition, 'points', occasionOf(dollars))).toBe('other_money');
    const own = { ...plain, name: 'usd', exchange: { points: 180, minorUnits: 100, money: 'USD' } };
    const terms = open(versionOf([plain, own]), occasionOf(dollars));
    expect([terms.rule.name, valueOfPoints(terms, 180)]).toEqual(['usd', 100]);
    expect(exchangeOf(terms)).toEqual({ points: 180, amount: 100, currency: 'USD' });
  });

  test('of rates with more digits than can be shown is judged exactly and shown rounded', () => {
    const exchange = { points: 999_999_937, minorUnits: 999_999_999_989, money: 'EUR' };
    const odd = [{ currency: 'JPY', from: '2026-01-01', units: 999_999_999_961, base: 999_999_999_959 }];
    const version = versionOf([{ ...plain, exchange }], { money: { currency: 'EUR', rates: odd } });
    const shown = exchangeOf(open(version, occasionOf(yen)));
    expect(Number.isSafeInteger(shown.amount) && Number.isSafeInteger(shown.points)).toBe(true);
    expect(shown.amount / shown.points).toBeCloseTo(1_000.000_063, 5);
  });
});

describe('the rule that holds', () => {
  const worth = (name: string, points: number, more: Partial<RuleInput>): RuleInput => ({
    ...plain,
    name,
    exchange: { points, minorUnits: 100, money: 'EUR' },
    ...more,
  });
  const version = versionOf([
    worth('november', 90, { during: { from: '2026-11-19', through: '2026-11-20' } }),
    worth('gold', 100, { tiers: ['gold'] }),
    worth('outlet', 400, { stores: ['outlet'] }),
    worth('online', 250, { channels: ['web'] }),
    worth('otherwise', 200, {}),
  ]);
  const food = receipt({ food: 1_000 });
  test.each([
    ['otherwise', {}, {}, noon],
    ['outlet', { store: 'outlet' }, {}, noon],
    ['online', { channel: 'web' }, {}, noon],
    ['gold', { store: 'outlet' }, { tier: 'gold' }, noon],
    ['otherwise', {}, { tier: 'silver' }, Date.parse('2026-11-18T22:59:59.999Z')],
    ['november', {}, { tier: 'gold' }, Date.parse('2026-11-18T23:00:00Z')],
    ['november', {}, {}, Date.parse('2026-11-20T22:59:59.999Z')],
    ['otherwise', {}, {}, Date.parse('2026-11-20T23:00:00Z')],
  ])('is %s for %j, %j', (name, purchase, member, at) => {
    const occasion = { purchase: { ...food, ...purchase }, member: { ...somebody, ...member }, at };
    expect(open(version, occasion).rule.name).toBe(name);
  });

  test('is none where none fits, and a rule that fails while it runs does not', () => {
    const only = versionOf([worth('gold', 100, { tiers: ['gold'] })]);
    expect(termsOf(only.definition, 'points', occasionOf(food))).toBe('no_rule');
    const failing = versionOf([worth('vip', 10, { when: 'member.attributes.vip == true' }), plain]);
    const heard: string[] = [];
    const terms = termsOf(failing.definition, 'points', occasionOf(food), (rule) => heard.push(rule));
    expect(terms).toMatchObject({ rule: { name: 'plain' } });
    expect(heard).toEqual(['vip']);
  });
});

describe('a price', () => {
  const coin: RuleInput = {
    name: 'coin',
    currency: 'coins',
    exchange: { points: 1, minorUnits: 50, money: 'EUR' },
  };
  const asked = (parts: Readonly<Record<string, number>>, more: Partial<Asked> = {}): Asked => ({
    parts: Object.entries(parts).map(([code, points], i) => ({
      currency: { code, number: i + 1 },
      points,
      pointer: `/parts/${i}/points`,
    })),
    purchase: receipt({ food: 1_000 }),
    value: undefined,
    ...more,
  });
  function refused(version: ReturnType<typeof versionOf>, what: Asked): unknown {
    try {
      return { worth: judgeRedemption(version, what, somebody, noon) };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { code: error.code, ...error.fields };
    }
  }

  test('keeps by which version, rule and rate it was judged', () => {
    expect(judgeRedemption(versionOf([plain]), asked({ points: 1_000 }), somebody, noon)).toEqual({
      programVersion: 3,
      judgedAt: '2026-11-18T11:00:00.000Z',
      rules: { points: 'plain' },
      value: { amount: 500, currency: 'EUR' },
      parts: [[1, 1_000, 500]],
    });
  });

  test('in two currencies is judged part by part, and all together', () => {
    const version = versionOf([plain, coin]);
    expect(judgeRedemption(version, asked({ points: 1_000, coins: 10 }), somebody, noon)).toMatchObject({
      rules: { points: 'plain', coins: 'coin' },
      value: { amount: 1_000 },
      parts: [
        [1, 1_000, 500],
        [2, 10, 500],
      ],
    });
    expect(refused(version, asked({ points: 1_002, coins: 10 }))).toMatchObject({
      code: 'redemption_limit',
      limitedBy: 'share',
      errors: [{ pointer: '/parts', detail: 'pay 10.01 EUR, and 10.00 EUR can be paid' }],
    });
  });

  test('in currencies for lines of their own may pay each its lines', () => {
    const version = versionOf([
      { ...plain, lines: { categories: ['food'] } },
      { ...coin, lines: { categories: ['beauty'] } },
    ]);
    const purchase = receipt({ food: 500, beauty: 500 });
    expect(refused(version, asked({ points: 1_000, coins: 10 }, { purchase }))).toMatchObject({
      worth: { value: { amount: 1_000 } },
    });
    expect(refused(version, asked({ points: 998, coins: 11 }, { purchase }))).toMatchObject({
      limitedBy: 'share',
      currency: 'coins',
      maximum: 10,
      errors: [{ pointer: '/parts/1/points' }],
    });
  });

  test('in a currency without rules takes any points and has no value', () => {
    expect(judgeRedemption(versionOf([plain]), asked({ coins: 77 }), somebody, noon)).toBeUndefined();
    const mixed = judgeRedemption(versionOf([plain]), asked({ points: 200, coins: 77 }), somebody, noon);
    expect(mixed).toMatchObject({ value: { amount: 100 }, parts: [[1, 200, 100]] });
  });

  test('whose value is another is refused with what the points are worth', () => {
    const version = versionOf([plain]);
    const value = { amount: 500, currency: 'EUR' };
    expect(refused(version, asked({ points: 1_000 }, { value }))).toMatchObject({ worth: { value } });
    expect(refused(version, asked({ points: 1_000 }, { value: { ...value, amount: 501 } }))).toMatchObject({
      code: 'value_mismatch',
      value,
      errors: [{ pointer: '/value', detail: 'the points are worth 5.00 EUR now' }],
    });
    expect(
      refused(version, asked({ points: 1_000 }, { value: { ...value, currency: 'USD' } })),
    ).toMatchObject({
      code: 'value_mismatch',
      value,
    });
    const alone = { purchase: undefined, value: { amount: 5, currency: 'USD' } };
    expect(refused(version, asked({ points: 1_000 }, alone))).toMatchObject({
      code: 'money_currency_not_accepted',
      errors: [{ pointer: '/value/currency' }],
    });
  });

  test('that cannot be counted is refused, whatever the member has', () => {
    const rich = versionOf([
      { ...plain, exchange: { points: 1, minorUnits: 1_000_000_000_000, money: 'EUR' } },
    ]);
    const all = asked({ points: Number.MAX_SAFE_INTEGER }, { purchase: undefined });
    expect(refused(rich, all)).toEqual({ code: 'balance_limit' });
  });

  test('of parts in different money needs a value or a receipt that says which', () => {
    const version = versionOf([plain, { ...coin, exchange: { points: 1, minorUnits: 5, money: 'JPY' } }]);
    expect(refused(version, asked({ points: 200, coins: 1 }, { purchase: undefined }))).toMatchObject({
      code: 'validation_failed',
      errors: [{ pointer: '/value' }],
    });
  });

  test('on a receipt in a currency that the program does not take is refused', () => {
    const version = versionOf([plain], { moneyCurrencies: ['EUR'] });
    const purchase = receipt({ food: 100 }, { currency: 'USD' });
    expect(refused(version, asked({ points: 200 }, { purchase }))).toMatchObject({
      code: 'money_currency_not_accepted',
      errors: [{ pointer: '/purchase/currency' }],
    });
  });

  test('is refused with its limits where no rule fits or a limit is passed', () => {
    expect(refused(versionOf([{ ...plain, tiers: ['gold'] }]), asked({ points: 2 }))).toMatchObject({
      code: 'redemption_limit',
      limitedBy: 'rule',
      errors: [{ pointer: '/parts/0/points' }],
    });
    expect(refused(versionOf([{ ...plain, minimumPoints: 500 }]), asked({ points: 499 }))).toMatchObject({
      code: 'redemption_limit',
      limitedBy: 'minimum',
      currency: 'points',
      minimum: 500,
      step: 1,
      maximum: 2_000,
    });
  });
});

const groceries = receipt({ household: 4_000, tobacco: 1_000, 'gift-cards': 1_000 }, { store: 'nord' });
test.each([
  // 80 % of the 40.00 that are not excepted are 32.00: 6,400 points.
  ['supermarket', '2026-10-05', 'everywhere', 9_000, 6_400, 3_200, groceries],
  // Half of them are 20.00, at 150 points each.
  ['supermarket', '2026-12-24', 'opening', 9_000, 3_000, 2_000, groceries],
  [
    'beauty-club',
    '2026-10-05',
    'everybody',
    950,
    400,
    2_000,
    receipt({ makeup: 4_000, 'gift-cards': 1_000 }),
  ],
  ['airline', '2026-10-05', 'shop', 1_900, 1_500, 1_050, receipt({ baggage: 4_000 }, { currency: 'USD' })],
])(
  '%s.yaml on %s: by %s, of %i points %i buy %i',
  (name, date, rule, available, points, amount, purchase) => {
    const source = readFileSync(new URL(`../src/earning/samples/${name}.yaml`, import.meta.url), 'utf8');
    const file = readProgramFile(source).file!;
    const occasion = occasionOf(purchase, { at: Date.parse(`${date}T10:00:00Z`) });
    const terms = termsOf(file, file.currencies[0]!.code, occasion);
    if (typeof terms === 'string') throw new Error(terms);
    expect([terms.rule.name, offerOf(terms, available).best]).toEqual([
      rule,
      { points, value: { amount, currency: purchase.currency } },
    ]);
  },
);

const ruleAndReceipt = fc.record({
  points: fc.integer({ min: 1, max: 500 }),
  minorUnits: fc.integer({ min: 1, max: 500 }),
  minimumPoints: fc.integer({ min: 1, max: 300 }),
  stepPoints: fc.integer({ min: 1, max: 60 }),
  maximumPoints: fc.option(fc.integer({ min: 300, max: 900 }), { nil: undefined }),
  sharePercentMax: fc.integer({ min: 1, max: 100 }),
  food: fc.integer({ min: 0, max: 2_000 }),
  giftCard: fc.integer({ min: 0, max: 500 }),
  available: fc.integer({ min: 0, max: 1_200 }),
});

test('an offer is exactly what may be redeemed, never more than is payable, and its best wastes nothing', () => {
  fc.assert(
    fc.property(ruleAndReceipt, ({ points, minorUnits, food, giftCard, available, ...limits }) => {
      const exchange = { points, minorUnits, money: 'EUR' };
      const version = versionOf([{ ...plain, ...limits, exchange }]);
      const payments = [{ means: 'gift_card', amount: giftCard }];
      const terms = open(version, occasionOf(receipt({ food }, { payments })));
      const offer = offerOf(terms, available);
      const taken: number[] = [];
      for (let each = 1; each <= available; each += 1) if (!refusalOf(terms, each)) taken.push(each);
      const offered: number[] = [];
      for (let each = offer.minimum; each <= offer.maximum; each += offer.step) offered.push(each);
      expect(taken).toEqual(offered);
      for (const each of taken) {
        expect(valueOfPoints(terms, each)).toBeGreaterThan(0);
        expect(valueOfPoints(terms, each)).toBeLessThanOrEqual(terms.payable!);
      }
      const { best } = offer;
      expect(best.value.amount).toBe(Math.max(0, ...taken.map((each) => valueOfPoints(terms, each))));
      expect(best.points).toBe(taken.find((each) => valueOfPoints(terms, each) === best.value.amount) ?? 0);
    }),
    { numRuns: 300 },
  );
});
