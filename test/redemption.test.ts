/** What a checkout sends and gets: quotes, redemptions, holds, refunds, returns. */
import { afterAll, describe, expect, test } from 'vitest';
import { type Answer, amountRule, reference, startEngine } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const currencies = [{ code: 'points' }, { code: 'coins' }];
const rules = ['points', 'coins'].map((currency) => amountRule(currency, currency, [1, 100]));
const shop = await engine.shop({ definition: { currencies, rules } });
const nobody = 'hold_00000000000070008000000000000000';

async function withPoints(points: number): Promise<string> {
  const member = await shop.enrol();
  await shop.accrue(member, points);
  return member;
}
const redeem = (member: string, more: object): Promise<Answer> =>
  shop.checkout('POST', '/v1/redemptions', { member, reference: reference(), ...more });
const hold = (member: string, more: object): Promise<Answer> =>
  shop.checkout('POST', '/v1/holds', { member, reference: reference(), ...more });

describe('a quote', () => {
  test('says what can be redeemed now', async () => {
    const member = await withPoints(80);
    const answer = await shop.checkout('POST', '/v1/redemptions/quote', { member });
    expect(answer.body).toMatchObject({
      object: 'redemptionQuote',
      available: 80,
      minimum: 1,
      step: 1,
      maximum: 80,
      limitedBy: 'available',
    });
    const empty = await shop.checkout('POST', '/v1/redemptions/quote', {
      member: await shop.enrol(),
      currency: 'coins',
    });
    expect(empty.body).toMatchObject({ currency: 'coins', available: 0, maximum: 0, limitedBy: 'none' });
    const unknown = await shop.checkout('POST', '/v1/redemptions/quote', { member, currency: 'stars' });
    expect(unknown.code).toBe('currency_unknown');
    expect((await shop.checkout('POST', '/v1/redemptions/quote', { member: 'nobody' })).code).toBe(
      'member_not_found',
    );
  });
});

describe('a redemption', () => {
  test('answers what was taken from which lots', async () => {
    const member = await withPoints(80);
    const value = { amount: 300, currency: 'EUR' };
    const answer = await redeem(member, { points: 30, order: 'O-7', value, metadata: { basket: 'b1' } });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({
      object: 'redemption',
      status: 'redeemed',
      points: 30,
      currency: 'points',
      order: 'O-7',
      value,
      lots: [{ currency: 'points', points: 30, expiresOn: null }],
      ledger: { durability: 'ledger' },
    });
    expect(answer.at('balances.points.available')).toBe(50);
  });

  test('of a price in several currencies takes all parts or none', async () => {
    const member = await withPoints(80);
    const parts = (points: number, coins: number) => ({
      parts: [
        { currency: 'points', points },
        { currency: 'coins', points: coins },
      ],
    });
    const refused = await redeem(member, parts(10, 81));
    expect(refused.body).toMatchObject({
      code: 'insufficient_points',
      currency: 'coins',
      available: 80,
      required: 81,
    });
    expect((await shop.balances(member)).available).toBe(80);
    const taken = await redeem(member, parts(10, 20));
    expect(taken.body).toMatchObject({ parts: parts(10, 20).parts });
    const refund = await shop.checkout('POST', `/v1/redemptions/${taken.id}/refunds`, {
      reference: reference(),
    });
    expect(refund.body).toMatchObject({ parts: parts(10, 20).parts });
    expect([await shop.balances(member), await shop.balances(member, 'coins')]).toMatchObject([
      { available: 80 },
      { available: 80 },
    ]);
  });

  test('is refused where currencies are unknown, named twice, or the price is missing', async () => {
    const member = await withPoints(80);
    expect((await redeem(member, { points: 1, currency: 'stars' })).code).toBe('currency_unknown');
    const twice = [
      { currency: 'points', points: 1 },
      { currency: 'points', points: 2 },
    ];
    expect((await redeem(member, { parts: twice })).body).toMatchObject({ errors: [{ pointer: '/parts' }] });
    expect((await redeem(member, {})).body).toMatchObject({ errors: [{ pointer: '/points' }] });
    expect((await redeem('nobody', { points: 1 })).code).toBe('member_not_found');
    expect((await shop.balances(member)).available).toBe(80);
  });
});

describe('a hold', () => {
  test('is read by its id and by its member, in every state', async () => {
    const member = await withPoints(100);
    const [first, second, third] = [
      await hold(member, { points: 10 }),
      await hold(member, { points: 20 }),
      await hold(member, { points: 30, value: { amount: 900, currency: 'EUR' } }),
    ];
    await shop.checkout('POST', `/v1/holds/${second.id}/release`, { reference: reference() });
    const captured = await shop.checkout('POST', `/v1/holds/${third.id}/capture`, {
      reference: reference(),
      points: 25,
    });
    expect(captured.body).toMatchObject({
      status: 'captured',
      points: 25,
      released: 5,
      value: { amount: 750 },
    });
    const shown = await shop.checkout('GET', `/v1/holds/${third.id}`);
    expect(shown.body).toMatchObject({
      id: third.id,
      status: 'captured',
      points: 25,
      released: 5,
      redemption: { id: captured.at('redemption.id') },
    });
    const list = await shop.care('GET', `/v1/holds?member=${member}`);
    expect(list.body.data).toMatchObject([
      { id: third.id, status: 'captured' },
      { id: second.id, status: 'released' },
      { id: first.id, status: 'held', points: 10 },
    ]);
    const open = await shop.care('GET', `/v1/holds?member=${member}&status=held`);
    expect(open.body.data).toMatchObject([{ id: first.id }]);
  });

  test('pages are complete and without repeats', async () => {
    const member = await withPoints(100);
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) ids.unshift((await hold(member, { points: 1 })).id);
    const found: string[] = [];
    let cursor: unknown = '';
    for (let page = 0; page < 5 && cursor !== null; page += 1) {
      const from = cursor === '' ? '' : `&cursor=${String(cursor)}`;
      const list = await shop.care('GET', `/v1/holds?member=${member}&limit=2${from}`);
      found.push(...(list.body.data as { id: string }[]).map((each) => each.id));
      cursor = list.body.nextCursor;
    }
    expect(found).toEqual(ids);
  });

  test('nobody knows is 404, whatever is asked of it', async () => {
    expect((await shop.checkout('GET', `/v1/holds/${nobody}`)).code).toBe('not_found');
    for (const verb of ['capture', 'release']) {
      const answer = await shop.checkout('POST', `/v1/holds/${nobody}/${verb}`, { reference: reference() });
      expect([answer.status, answer.code]).toEqual([404, 'not_found']);
    }
    expect((await shop.care('GET', '/v1/holds?member=nobody')).code).toBe('member_not_found');
  });

  test('a capture that was answered is replayed, also after the hold is long resolved', async () => {
    const member = await withPoints(100);
    const held = await hold(member, { points: 40 });
    const body = { reference: reference(), points: 30 };
    const first = await shop.checkout('POST', `/v1/holds/${held.id}/capture`, body);
    const again = await shop.checkout('POST', `/v1/holds/${held.id}/capture`, body);
    expect(again.replayed).toBe(true);
    expect(again.body).toEqual(first.body);
    const other = await shop.checkout('POST', `/v1/holds/${held.id}/capture`, { reference: reference() });
    expect(other.body).toMatchObject({
      code: 'hold_already_resolved',
      resolution: 'captured',
      redemption: first.at('redemption.id'),
    });
  });

  test('200 open holds of a member are enough', async () => {
    const member = await withPoints(1_000);
    const answers = await Promise.all(
      Array.from({ length: 201 }, () => hold(member, { points: 1, durability: 'journal' })),
    );
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(200);
    expect(answers.filter((answer) => answer.code === 'balance_limit')).toHaveLength(1);
  });
});

describe('a refund', () => {
  test('of an unknown redemption, or of more than is left, moves nothing', async () => {
    const member = await withPoints(50);
    const redemption = await redeem(member, { points: 30 });
    const refund = (id: string, more = {}) =>
      shop.checkout('POST', `/v1/redemptions/${id}/refunds`, { reference: reference(), ...more });
    expect((await refund('red_00000000000070008000000000000000')).code).toBe('original_not_found');
    expect((await refund(redemption.id, { points: 31 })).code).toBe('refund_exceeds_redemption');
    expect((await refund(redemption.id, { points: 1, currency: 'stars' })).code).toBe('currency_unknown');
    expect((await shop.balances(member)).available).toBe(20);
    const answer = await refund(redemption.id);
    expect(answer.body).toMatchObject({
      object: 'refund',
      status: 'refunded',
      redemption: redemption.id,
      points: 30,
    });
  });

  test('forty at once: none is lost, whoever is told to come back comes back', async () => {
    const member = await withPoints(100);
    const redemption = await redeem(member, { points: 100 });
    const named = Array.from({ length: 40 }, () => reference());
    const codes = new Set<string>();
    let open = named;
    for (let round = 0; round < 30 && open.length > 0; round += 1) {
      const answers = await Promise.all(
        open.map((each) =>
          shop.checkout('POST', `/v1/redemptions/${redemption.id}/refunds`, { reference: each, points: 1 }),
        ),
      );
      for (const answer of answers) if (answer.code !== '') codes.add(answer.code);
      open = open.filter((_, i) => answers[i]!.status !== 201);
    }
    expect(open).toEqual([]);
    expect([...codes]).toEqual(['reference_in_progress']);
    expect((await shop.balances(member)).available).toBe(40);
  });
});

describe('a return', () => {
  const order = (name: string) => ({
    currency: 'EUR',
    order: name,
    lines: [
      { line: 1, amount: 6_000 },
      { line: 2, amount: 4_000 },
    ],
  });

  /** 100.00 of goods, of which 100 points worth 20.00 paid a part. */
  async function bought(name: string): Promise<string> {
    const member = await withPoints(100);
    await redeem(member, { points: 100, order: name, value: { amount: 2_000, currency: 'EUR' } });
    const payments = [
      { means: 'points', amount: 2_000 },
      { means: 'card', amount: 8_000 },
    ];
    await shop.accrue(member, 0, { purchase: { ...order(name), payments } });
    expect((await shop.balances(member)).available).toBe(80);
    return member;
  }
  const giveBack = (more: object): Promise<Answer> =>
    shop.checkout('POST', '/v1/returns', { reference: reference(), occurredAt: shop.time(), ...more });

  test.each([
    ['proportional', 60, 4_800],
    ['first', 100, 4_000],
    ['last', 0, 6_000],
    [40, 40, 5_200],
  ] as const)(
    'of 60 %% with points "%s" gives %i points and %i minor units back',
    async (points, back, money) => {
      const name = reference('order').slice(-40);
      const member = await bought(name);
      const answer = await giveBack({ order: name, lines: [{ line: 1 }], points });
      expect(answer.status).toBe(201);
      expect(answer.body).toMatchObject({
        object: 'return',
        status: 'returned',
        order: name,
        reversed: [
          { currency: 'points', points: 48 },
          { currency: 'coins', points: 48 },
        ],
        refunded: back === 0 ? [] : [{ currency: 'points', points: back }],
        refundMoney: { amount: money, currency: 'EUR' },
      });
      expect((await shop.balances(member)).available).toBe(80 - 48 + back);
      await giveBack({ order: name });
      expect((await shop.balances(member)).available).toBe(100);
      expect((await giveBack({ order: name })).code).toBe('reversal_exceeds_accrual');
    },
  );

  test('by accrual needs no order, and more points than were paid are refused', async () => {
    const member = await withPoints(0);
    const accrual = await shop.accrue(member, 50);
    expect((await giveBack({ accrual: accrual.id, points: 1 })).code).toBe('refund_exceeds_redemption');
    expect((await giveBack({ accrual: accrual.id })).body).toMatchObject({
      reversed: [{ points: 50 }, { points: 50 }],
      refunded: [],
    });
    expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
  });

  test('names an order or an accrual, not both', async () => {
    const both = await giveBack({ order: 'x', accrual: 'acc_x' });
    expect(both.body).toMatchObject({ status: 400, errors: [{ pointer: '/accrual' }] });
    expect((await giveBack({})).body).toMatchObject({ status: 400, errors: [{ pointer: '' }] });
    expect((await giveBack({ order: 'nobody' })).code).toBe('original_not_found');
  });
});
