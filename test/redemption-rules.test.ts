/** Redemption rules on the way through API, wallet and books: what is refused, what it is worth, what comes back. */
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { afterAll, describe, expect, test } from 'vitest';
import { type Answer, amountRule, reference, startEngine, uuidV7, waitFor } from './harness.ts';
import type { Shop } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());

const timeZone = 'Europe/Berlin';
const today = DateTime.now().setZone(timeZone).startOf('day');
/** Rates and rules change at the beginning of this day; the clock of the shop is moved over it once. */
const changeDay = today.plus({ days: 3 });
const dateOf = (day: DateTime) => day.toFormat('yyyy-MM-dd');
const oneEuroFor200 = { points: 200, minorUnits: 100, money: 'EUR' };

const definition = {
  currencies: [{ code: 'points' }, { code: 'coins' }, { code: 'status', spendable: false }],
  rules: ['points', 'coins', 'status'].map((currency) => amountRule(currency, currency, [1, 100])),
  money: {
    currency: 'EUR',
    rates: [
      { currency: 'JPY', from: '2020-01-01', units: 1_000, base: 610 },
      { currency: 'JPY', from: dateOf(changeDay), units: 1_000, base: 500 },
      { currency: 'KWD', from: '2020-01-01', units: 1_000, base: 300 },
    ],
  },
  redemption: [
    {
      name: 'outlet',
      currency: 'points',
      stores: ['outlet'],
      exchange: { points: 400, minorUnits: 100, money: 'EUR' },
    },
    {
      name: 'birthday',
      currency: 'points',
      channels: ['birthday'],
      during: { member: 'birthday_month' as const },
      exchange: { points: 100, minorUnits: 100, money: 'EUR' },
    },
    {
      name: 'shelf',
      currency: 'points',
      channels: ['shelf'],
      exchange: oneEuroFor200,
      minimumPoints: 200,
      stepPoints: 100,
      sharePercentMax: 50,
      lines: { except: { categories: ['tobacco'] } },
    },
    {
      name: 'later',
      currency: 'points',
      channels: ['dated'],
      during: { from: dateOf(changeDay) },
      exchange: { points: 250, minorUnits: 100, money: 'EUR' },
    },
    { name: 'plain', currency: 'points', exchange: oneEuroFor200 },
    { name: 'coin', currency: 'coins', exchange: { points: 1, minorUnits: 5, money: 'EUR' } },
  ],
};
const shop = await engine.shop({ mode: 'test', timeZone, definition });

async function withPoints(points: number, at: Shop = shop): Promise<string> {
  const member = await at.enrol();
  await at.accrue(member, points);
  return member;
}
const quote = (member: string, more: object = {}): Promise<Answer> =>
  shop.checkout('POST', '/v1/redemptions/quote', { member, ...more });
const redeem = (member: string, more: object): Promise<Answer> =>
  shop.checkout('POST', '/v1/redemptions', { member, reference: reference(), ...more });
const hold = (member: string, more: object): Promise<Answer> =>
  shop.checkout('POST', '/v1/holds', { member, reference: reference(), ...more });
const refund = (id: string, more: object = {}): Promise<Answer> =>
  shop.checkout('POST', `/v1/redemptions/${id}/refunds`, { reference: reference(), ...more });
const giveBack = (more: object): Promise<Answer> =>
  shop.checkout('POST', '/v1/returns', { reference: reference(), occurredAt: shop.time(), ...more });

function receipt(amounts: Readonly<Record<string, number>>, more: object = {}): Record<string, unknown> {
  const lines = Object.entries(amounts).map(([category, amount]) => ({ line: category, category, amount }));
  return { currency: 'EUR', lines, ...more };
}
const euros = (amount: number) => ({ amount, currency: 'EUR' });

describe('limits', () => {
  const purchase = receipt({ food: 3_000, tobacco: 1_000 }, { channel: 'shelf' });

  test.each([
    [199, 'minimum', { minimum: 200 }],
    [250, 'step', { step: 100 }],
    [3_100, 'share', { maximum: 3_000 }],
  ])('%i points are refused by the %s, and nothing moves', async (points, limitedBy, fields) => {
    const member = await withPoints(5_000);
    for (const ask of [redeem, hold]) {
      const answer = await ask(member, { points, purchase });
      expect(answer.status).toBe(409);
      expect(answer.body).toMatchObject({
        code: 'redemption_limit',
        limitedBy,
        ...fields,
        errors: [{ pointer: '/points' }],
      });
    }
    expect(await shop.balances(member)).toMatchObject({ available: 5_000, held: 0 });
  });

  test('are met to the point, and one point short is refused by the wallet', async () => {
    const member = await withPoints(2_999);
    const answer = await quote(member, { purchase });
    expect(answer.body).toMatchObject({
      rule: 'shelf',
      available: 2_999,
      minimum: 200,
      step: 100,
      maximum: 2_900,
      limitedBy: 'available',
      exchange: { points: 200, amount: 100, currency: 'EUR' },
      best: { points: 2_900, value: euros(1_450) },
    });
    const short = await redeem(member, { points: 3_000, purchase });
    expect(short.body).toMatchObject({ code: 'insufficient_points', available: 2_999, required: 3_000 });
    await shop.accrue(member, 1);
    const taken = await redeem(member, { points: 3_000, purchase, value: euros(1_500) });
    expect(taken.body).toMatchObject({ status: 'redeemed', points: 3_000, value: euros(1_500) });
  });

  test('count what a gift card has left to pay', async () => {
    const member = await withPoints(5_000);
    const payments = [{ means: 'gift_card', amount: 1_000 }];
    const answer = await quote(member, { purchase: { ...purchase, payments } });
    // 30.00 of the 40.00 are left, so 22.50 of the food, and half of that is 11.25.
    expect(answer.body).toMatchObject({ maximum: 2_200, limitedBy: 'share' });
    expect((await redeem(member, { points: 2_300, purchase: { ...purchase, payments } })).code).toBe(
      'redemption_limit',
    );
    expect((await redeem(member, { points: 2_200, purchase: { ...purchase, payments } })).status).toBe(201);
  });

  test('of another store, and of the day of a member, are their own', async () => {
    const member = await withPoints(1_000);
    const worth = async (name: string, more: object) => {
      const answer = await quote(name, { purchase: receipt({ food: 5_000 }, more) });
      return [answer.body.rule, answer.at('best.value.amount')];
    };
    expect(await worth(member, {})).toEqual(['plain', 500]);
    expect(await worth(member, { store: 'outlet' })).toEqual(['outlet', 250]);
    expect(await worth(member, { channel: 'birthday' })).toEqual(['plain', 500]);
    const born = `1990-${DateTime.fromMillis(shop.now(), { zone: timeZone }).toFormat('MM')}-15`;
    const patched = await shop.admin('PATCH', `/v1/members/${member}`, { birthday: born });
    expect(patched.status).toBe(200);
    expect(await worth(member, { channel: 'birthday' })).toEqual(['birthday', 1_000]);
  });

  test('without any rule that fits are no points at all', async () => {
    const strict = await engine.shop({
      definition: {
        redemption: [{ name: 'gold', currency: 'points', tiers: ['gold'], exchange: oneEuroFor200 }],
      },
    });
    const member = await withPoints(100, strict);
    const answer = await strict.checkout('POST', '/v1/redemptions/quote', { member });
    expect(answer.body).toMatchObject({ available: 100, maximum: 0, limitedBy: 'rule', best: { points: 0 } });
    const refused = await strict.checkout('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 1,
    });
    expect(refused.body).toMatchObject({ code: 'redemption_limit', limitedBy: 'rule' });
  });

  test('of a member who may not spend are nothing, and points that are no money stay where they are', async () => {
    const member = await withPoints(100);
    expect((await redeem(member, { points: 10, currency: 'status' })).body).toMatchObject({
      code: 'currency_unknown',
      errors: [{ pointer: '/currency' }],
    });
    expect((await quote(member, { currency: 'status' })).code).toBe('currency_unknown');
    await shop.admin('POST', `/v1/members/${member}/suspend`, {
      reference: reference(),
      reason: 'lost card',
    });
    expect((await quote(member)).body).toMatchObject({ maximum: 0, limitedBy: 'member' });
    expect((await redeem(member, { points: 10 })).code).toBe('member_not_active');
  });
});

describe('a value', () => {
  test('that is not what the points are worth is refused with what they are', async () => {
    const member = await withPoints(1_000);
    const answer = await redeem(member, { points: 1_000, value: euros(501) });
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({
      code: 'value_mismatch',
      value: euros(500),
      errors: [{ pointer: '/value' }],
    });
    expect(
      (await hold(member, { points: 1_000, value: { amount: 500, currency: 'JPY' } })).body,
    ).toMatchObject({
      code: 'value_mismatch',
      value: { amount: 819, currency: 'JPY' },
    });
    expect((await redeem(member, { points: 1, value: { amount: 1, currency: 'USD' } })).code).toBe(
      'money_currency_not_accepted',
    );
    expect(await shop.balances(member)).toMatchObject({ available: 1_000, held: 0 });
  });

  test.each([
    ['JPY', 50_000, 1_000, 819],
    // 5.00 EUR are 1.666 dinars of 1,000 fils.
    ['KWD', 50_000, 1_000, 1_666],
  ])('in %s is in its own smallest units', async (currency, amount, points, worth) => {
    const member = await withPoints(points);
    const purchase = receipt({ food: amount }, { currency });
    const answer = await quote(member, { purchase });
    expect(answer.at('best.value')).toEqual({ amount: worth, currency });
    const taken = await redeem(member, { points, purchase, value: { amount: worth, currency } });
    expect(taken.at('value')).toEqual({ amount: worth, currency });
    const dollars = { ...purchase, currency: 'USD' };
    expect((await quote(member, { purchase: dollars })).code).toBe('money_currency_not_accepted');
  });

  test('of a price in two currencies is that of both', async () => {
    const member = await withPoints(1_000);
    const parts = (points: number, coins: number) => ({
      parts: [
        { currency: 'points', points },
        { currency: 'coins', points: coins },
      ],
    });
    const purchase = receipt({ food: 1_000 });
    const refused = await redeem(member, { ...parts(1_000, 101), purchase });
    expect(refused.body).toMatchObject({ code: 'redemption_limit', errors: [{ pointer: '/parts' }] });
    const taken = await redeem(member, { ...parts(1_000, 100), purchase, value: euros(1_000) });
    expect(taken.body).toMatchObject({ value: euros(1_000), ...parts(1_000, 100) });
    const coins = await refund(taken.id, { points: 40, currency: 'coins' });
    expect(coins.body).toMatchObject({ points: 40, currency: 'coins', value: euros(200) });
    expect((await refund(taken.id)).body).toMatchObject({ value: euros(800) });
  });

  test('is a promise of a hold: a capture of a part is worth its part, and refunds bring back all of it', async () => {
    const member = await withPoints(1_001);
    const held = await hold(member, { points: 1_001, value: euros(500) });
    expect(held.at('value')).toEqual(euros(500));
    const captured = await shop.checkout('POST', `/v1/holds/${held.id}/capture`, {
      reference: reference(),
      points: 601,
    });
    // floor(500 × 601 / 1,001)
    expect(captured.body).toMatchObject({
      status: 'captured',
      points: 601,
      released: 400,
      value: euros(300),
    });
    expect((await shop.checkout('GET', `/v1/holds/${held.id}`)).at('value')).toEqual(euros(300));
    const why = await shop.care('GET', `/v1/operations/${String(captured.at('redemption.id'))}`);
    expect(why.at('explanation')).toMatchObject({
      programVersion: 1,
      value: euros(300),
      rules: [{ rule: 'plain', outcome: 'applied', currency: 'points', points: 601, value: euros(300) }],
    });
    const back: number[] = [];
    for (const points of [200, 201, 200]) {
      back.push(Number((await refund(String(captured.at('redemption.id')), { points })).at('value.amount')));
    }
    expect(back).toEqual([99, 101, 100]);
    expect(await shop.balances(member)).toMatchObject({ available: 1_001, held: 0 });
  });
});

test('a return brings back of each currency what its own points were worth', async () => {
  const member = await withPoints(1_000);
  const name = reference('order').slice(-40);
  const parts = [
    { currency: 'points', points: 200 },
    { currency: 'coins', points: 20 },
  ];
  expect((await redeem(member, { parts, order: name })).at('value')).toEqual(euros(200));
  await shop.accrue(member, 0, {
    purchase: { ...receipt({ food: 1_000 }), order: name, payments: [{ means: 'points', amount: 200 }] },
  });
  const half = await giveBack({ order: name, lines: [{ line: 'food', amount: 500 }], points: 200 });
  expect(half.body).toMatchObject({
    refunded: [{ currency: 'points', points: 200, value: euros(100) }],
    refundMoney: euros(400),
  });
  const rest = await giveBack({ order: name });
  expect(rest.body).toMatchObject({
    refunded: [{ currency: 'coins', points: 20, value: euros(100) }],
    refundMoney: euros(400),
  });
});

test('a version with other rules judges what comes from its time on, and what was held before keeps its value', async () => {
  const early = await engine.shop({ definition: { redemption: [] } });
  const member = await withPoints(1_000, early);
  const ask = (path: string, more: object) => early.checkout('POST', path, { member, ...more });
  const held = await ask('/v1/holds', { reference: reference(), points: 500, value: euros(123) });
  expect(held.at('value')).toEqual(euros(123));
  const source = `timeZone: UTC
currencies: [{ code: points }]
rules: [{ name: spend, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }]
redemption:
  - name: fives
    currency: points
    exchange: { points: 100, minorUnits: 50, money: EUR }
    minimumPoints: 100
    stepPoints: 100
`;
  const applied = await early.admin('POST', '/v1/program/versions', { source });
  expect(applied.status).toBe(201);
  await waitFor('the version is in force', async () => {
    return (await ask('/v1/redemptions/quote', {})).body.programVersion === 2;
  });
  expect((await ask('/v1/redemptions/quote', {})).body).toMatchObject({ rule: 'fives', maximum: 500 });
  const refused = await ask('/v1/redemptions', { reference: reference(), points: 50 });
  expect(refused.body).toMatchObject({ code: 'redemption_limit', limitedBy: 'minimum' });
  const captured = await early.checkout('POST', `/v1/holds/${held.id}/capture`, {
    reference: reference(),
    points: 250,
  });
  expect(captured.at('value')).toEqual(euros(61));
  const taken = await ask('/v1/redemptions', { reference: reference(), points: 100, value: euros(50) });
  expect(taken.at('value')).toEqual(euros(50));
});

/** What a step of a random purse asks for: mostly what was offered, and its neighbours. */
const wishes = ['best', 'maximum', 'minimum', 'above', 'below', 'between'] as const;
const purse = fc.record({
  available: fc.integer({ min: 0, max: 4_000 }),
  food: fc.integer({ min: 0, max: 6_000 }),
  tobacco: fc.integer({ min: 0, max: 2_000 }),
  giftCard: fc.integer({ min: 0, max: 3_000 }),
  channel: fc.constantFrom('shelf', 'web'),
  money: fc.constantFrom('EUR', 'JPY', 'KWD'),
  wish: fc.constantFrom(...wishes),
  between: fc.integer({ min: 1, max: 4_100 }),
  isHold: fc.boolean(),
});

test('a quote is the redemption when nothing lies between', async () => {
  await fc.assert(
    fc.asyncProperty(purse, async ({ available, food, tobacco, giftCard, channel, money, ...ask }) => {
      const member = await withPoints(available);
      const payments = [{ means: 'gift_card', amount: giftCard }];
      const purchase = receipt({ food, tobacco }, { currency: money, channel, payments });
      const { body } = await quote(member, { purchase });
      const { minimum, step, maximum, best } = body as unknown as {
        minimum: number;
        step: number;
        maximum: number;
        best: { points: number; value: { amount: number; currency: string } };
      };
      const wanted = {
        best: best.points,
        maximum,
        minimum,
        above: maximum + step,
        below: minimum - step,
        between: ask.between,
      };
      const points = Math.max(1, wanted[ask.wish]);
      const isOffered = points >= minimum && points <= maximum && points % step === 0;
      const more = points === best.points ? { value: best.value } : {};
      const answer = await (ask.isHold ? hold : redeem)(member, { points, purchase, ...more });
      expect(answer.status === 201 ? 'taken' : answer.code).toEqual(
        isOffered ? 'taken' : expect.stringMatching(/^(redemption_limit|insufficient_points)$/),
      );
      if (isOffered && points === maximum) expect(answer.at('value')).toEqual(best.value);
    }),
    { numRuns: 60, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
  );
}, 90_000);

test('a rate and a rule that change at midnight are those of the redemption, and what was done stays what it was', async () => {
  const member = await withPoints(10_000);
  const purchase = receipt({ food: 10_000 }, { currency: 'JPY' });
  const name = reference('order').slice(-40);
  await shop.setClock(changeDay.minus({ minutes: 30 }).toMillis());
  const shown = await quote(member, { purchase });
  const dated = () => quote(member, { purchase: receipt({ food: 1_000 }, { channel: 'dated' }) });
  expect(shown.at('exchange')).toEqual({ points: 61, amount: 50, currency: 'JPY' });
  expect((await dated()).body.rule).toBe('plain');
  const asked = { points: 1_000, purchase, value: { amount: 819, currency: 'JPY' } };
  const named = [reference(), uuidV7()];
  const before = [];
  for (const each of named) before.push(await redeem(member, { ...asked, reference: each }));
  expect(before.map(({ status }) => status)).toEqual([201, 201]);
  // Paid by points alone, in euros; the receipt is in yen.
  await redeem(member, { points: 1_000, order: name, value: euros(500) });
  const goods = {
    currency: 'JPY',
    order: name,
    lines: [
      { line: 1, amount: 6_000 },
      { line: 2, amount: 4_000 },
    ],
  };
  await shop.accrue(member, 0, { purchase: goods });
  const held = await hold(member, { points: 1_000, purchase, expiresInSeconds: 7_200 });

  await shop.setClock(changeDay.plus({ seconds: 1 }).toMillis());
  expect((await dated()).body.rule).toBe('later');
  expect((await quote(member, { purchase })).at('exchange')).toEqual({
    points: 1,
    amount: 1,
    currency: 'JPY',
  });
  const late = await redeem(member, { ...asked, reference: reference() });
  expect(late.body).toMatchObject({ code: 'value_mismatch', value: { amount: 1_000, currency: 'JPY' } });
  for (const [i, each] of named.entries()) {
    const again = await redeem(member, { ...asked, reference: each });
    expect([again.replayed, again.body]).toEqual([true, before[i]!.body]);
  }
  const captured = await shop.checkout('POST', `/v1/holds/${held.id}/capture`, { reference: reference() });
  expect(captured.at('value')).toEqual({ amount: 819, currency: 'JPY' });

  // 5.00 EUR were 819 yen when the goods were bought, of which 60 % are 491.
  const first = await giveBack({ order: name, lines: [{ line: 1 }] });
  expect(first.body).toMatchObject({
    refunded: [{ points: 600, value: euros(300) }],
    refundMoney: { amount: 6_000 - 491, currency: 'JPY' },
  });
  const rest = await giveBack({ order: name });
  expect(rest.body).toMatchObject({
    refunded: [{ points: 400, value: euros(200) }],
    refundMoney: { amount: 4_000 - 328, currency: 'JPY' },
  });
});
