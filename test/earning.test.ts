/** What a till sends and gets: accruals, quotes, bulk, reversals. */
import { afterAll, describe, expect, test } from 'vitest';
import { createEviction } from '#src/jobs/eviction.ts';
import { pointsMax } from '#src/values.ts';
import { amountRule, inDays, reference, startEngine } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const rules = [
  amountRule('base', 'points', [1, 100]),
  amountRule('miles', 'miles', [5, 1_000], { expiry: inDays(365) }),
  amountRule('status', 'credits', [1, 10_000]),
];
const currencies = [{ code: 'points' }, { code: 'miles' }, { code: 'credits', spendable: false }];
const shop = await engine.shop({
  timeZone: 'Europe/Paris',
  definition: { rules, currencies, moneyCurrencies: ['EUR', 'CHF'] },
});
const euros = (...amounts: number[]) => ({
  currency: 'EUR',
  lines: amounts.map((amount, index) => ({ line: index + 1, amount })),
});

describe('201', () => {
  test('a receipt earns under every rule, each currency with its own terms', async () => {
    const member = await shop.enrol();
    const purchase = {
      ...euros(12_345, 655),
      order: 'O-1',
      store: 'paris-1',
      terminal: 't1',
      cashier: 'c1',
      channel: 'shop',
      payments: [{ means: 'card', amount: 13_000 }],
    };
    const answer = await shop.accrue(member, 0, { purchase });
    const day = new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/Paris' }).format(
      shop.now() + 365 * 86_400_000,
    );
    expect(answer.body).toMatchObject({
      object: 'accrual',
      mode: 'live',
      status: 'accrued',
      order: 'O-1',
      awards: [
        { currency: 'points', points: 130, rule: 'base' },
        { currency: 'miles', points: 65, rule: 'miles', expiresOn: day },
        { currency: 'credits', points: 1, rule: 'status' },
      ],
    });
    expect(answer.at('balances.points')).toEqual({ available: 130, pending: 0, held: 0, debt: 0 });
    expect(answer.at('balances.miles.available')).toBe(65);
  });

  test('a receipt of 0.00 is valid and awards nothing', async () => {
    const member = await shop.enrol();
    const answer = await shop.accrue(member, 0);
    expect(answer.body.awards).toEqual([]);
    expect(answer.at('balances.points.available')).toBe(0);
  });

  test('what was paid with points or a gift card earns nothing', async () => {
    const member = await shop.enrol();
    const payments = [
      { means: 'points', amount: 1_000 },
      { means: 'gift_card', amount: 550 },
      { means: 'card', amount: 8_450 },
    ];
    const answer = await shop.accrue(member, 0, { purchase: { ...euros(10_000), payments } });
    expect(answer.body.awards).toMatchObject([
      { currency: 'points', points: 84 },
      { currency: 'miles', points: 40 },
    ]);
  });

  test('a grant gives what it says; flights and activities are kept although no rule speaks of them yet', async () => {
    const member = await shop.enrol();
    const base = () => ({ member, reference: reference(), occurredAt: shop.time() });
    const grant = { currency: 'miles', points: 500, product: 'welcome' };
    const granted = await shop.pos('POST', '/v1/accruals', { ...base(), grant });
    expect(granted.body.awards).toEqual([{ currency: 'miles', points: 500, rule: 'welcome' }]);
    const flight = {
      carrier: 'XX',
      flightNumber: '12',
      date: '2026-01-31',
      from: 'CDG',
      to: 'JFK',
      bookingClass: 'Y',
    };
    expect((await shop.pos('POST', '/v1/accruals', { ...base(), flight })).body.awards).toEqual([]);
    const activity = { type: 'review', attributes: { stars: '5' } };
    expect((await shop.pos('POST', '/v1/accruals', { ...base(), activity })).body.awards).toEqual([]);
  });

  test('somebody unknown is enrolled on the way when asked', async () => {
    const member = { type: 'card', value: reference('card') };
    const refused = await shop.pos('POST', '/v1/accruals', { ...shop.receipt('', 5), member });
    expect(refused.code).toBe('member_not_found');
    const accepted = await shop.pos('POST', '/v1/accruals', { ...shop.receipt('', 5), member, enrol: true });
    expect(accepted.status).toBe(201);
    const found = await shop.pos('POST', '/v1/members/lookup', member);
    expect(found.at('balances.points.available')).toBe(5);
  });

  test('metadata is stored and shown, never judged', async () => {
    const member = await shop.enrol();
    const answer = await shop.accrue(member, 5, { metadata: { campaign: 'spring' } });
    const shown = await shop.care('GET', `/v1/operations/${answer.id}`);
    expect(shown.body.metadata).toEqual({ campaign: 'spring' });
  });
});

describe('a quote', () => {
  test('says what a receipt would earn and why, and moves nothing', async () => {
    const member = await shop.enrol();
    const { reference: _, ...body } = shop.receipt(member, 130);
    const answer = await shop.pos('POST', '/v1/accruals/quote', body);
    expect(answer.body).toMatchObject({
      object: 'accrualQuote',
      awards: [{ points: 130 }, { points: 65 }, { points: 1 }],
      explanation: {
        programVersion: 1,
        rules: [{ rule: 'base', outcome: 'applied', base: 13_000, rounding: 'floor', points: 130 }, {}, {}],
      },
    });
    const anonymous = await shop.pos('POST', '/v1/accruals/quote', { purchase: euros(90) });
    expect(anonymous.body).toMatchObject({
      awards: [],
      explanation: { rules: [{ outcome: 'not_matched' }, {}, {}] },
    });
    expect((await shop.balances(member)).available).toBe(0);
  });
});

describe('bulk', () => {
  test('a bad item refuses nothing else, each is answered at its place, and a repeat replays', async () => {
    const member = await shop.enrol();
    const good = shop.receipt(member, 10);
    const items = [
      good,
      shop.receipt('nobody', 10),
      { ...shop.receipt(member, 10), purchase: { currency: 'EUR', lines: [{ line: 1, amount: -5 }] } },
      'not an item',
      shop.receipt(member, 7),
    ];
    const answer = await shop.pos('POST', '/v1/accruals/bulk', { items });
    expect(answer.status).toBe(200);
    expect(answer.body.data).toMatchObject([
      { index: 0, status: 201, replayed: false, accrual: { awards: [{ points: 10 }, { points: 5 }] } },
      { index: 1, status: 404, error: { code: 'member_not_found' } },
      {
        index: 2,
        status: 400,
        error: { code: 'validation_failed', errors: [{ pointer: '/purchase/lines/0/amount' }] },
      },
      { index: 3, status: 400, error: { code: 'validation_failed' } },
      { index: 4, status: 201, replayed: false },
    ]);
    const again = await shop.pos('POST', '/v1/accruals/bulk', { items: [good] });
    expect(again.body.data).toMatchObject([{ status: 201, replayed: true }]);
    expect((await shop.balances(member)).available).toBe(17);
  });

  test('a thousand items of many members all count, in one call', async () => {
    const patient = { headers: { prefer: 'wait=10' } };
    const members = await Promise.all(Array.from({ length: 20 }, () => shop.enrol()));
    const items = Array.from({ length: 1_000 }, (_, i) => shop.receipt(members[i % 20]!, 1));
    const answer = await shop.pos('POST', '/v1/accruals/bulk', { items, durability: 'ledger' }, patient);
    const data = answer.body.data as { status: number }[];
    expect(data.filter((item) => item.status !== 201)).toEqual([]);
    for (const member of members) expect((await shop.balances(member)).available).toBe(50);
  });

  test('items of one member keep their order', async () => {
    const member = await shop.enrol();
    const items = [1, 2, 3, 4, 5].map((points) => shop.receipt(member, points));
    const answer = await shop.pos('POST', '/v1/accruals/bulk', { items });
    const data = answer.body.data as { accrual: { balances: { points: { available: number } } } }[];
    expect(data.map((item) => item.accrual.balances.points.available)).toEqual([1, 3, 6, 10, 15]);
  });

  test('1,001 items are refused as a whole', async () => {
    const items = Array.from({ length: 1_001 }, () => ({}));
    const answer = await shop.pos('POST', '/v1/accruals/bulk', { items }, { invalid: true });
    expect(answer.body).toMatchObject({ status: 400, errors: [{ pointer: '/items' }] });
  });
});

describe('a reversal', () => {
  test('of a receipt takes back every award and says what could not be taken', async () => {
    const member = await shop.enrol();
    const accrual = await shop.accrue(member, 100, { purchase: { ...euros(10_000), order: 'R-1' } });
    await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 70 });
    const body = { reference: reference(), occurredAt: shop.time() };
    const answer = await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, body);
    expect(answer.body).toMatchObject({
      object: 'reversal',
      status: 'reversed',
      accrual: accrual.id,
      awards: [
        { currency: 'points', points: 100 },
        { currency: 'miles', points: 50 },
        { currency: 'credits', points: 1 },
      ],
      shortfall: [{ currency: 'points', points: 70 }],
    });
    expect(answer.at('balances.points')).toEqual({ available: 0, pending: 0, held: 0, debt: 70 });
    const again = await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, {
      ...body,
      reference: reference(),
    });
    expect(again.code).toBe('reversal_exceeds_accrual');
  });

  test('by quantity takes the share of the line, and more than was bought is refused', async () => {
    const member = await shop.enrol();
    const purchase = { currency: 'EUR', lines: [{ line: 'A', amount: 3_000, quantity: '3', unit: 'kg' }] };
    const accrual = await shop.accrue(member, 0, { purchase });
    const reverse = (quantity: string) =>
      shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, {
        reference: reference(),
        occurredAt: shop.time(),
        lines: [{ line: 'A', quantity }],
      });
    expect((await reverse('0.5')).at('balances.points.available')).toBe(25);
    expect((await reverse('2.6')).code).toBe('reversal_exceeds_accrual');
    expect((await reverse('2.5')).at('balances.points.available')).toBe(0);
  });

  test('takes of each award what its rule no longer gives: from its funder, and from its own points', async () => {
    const joint = await engine.shop({
      definition: {
        funders: ['program', 'dairy', 'house'],
        rules: [
          amountRule('base', 'points', [1, 100]),
          amountRule('fresh', 'points', [2, 100], { funder: 'dairy', pending: inDays(7) }),
          amountRule('store', 'points', [1, 200], { funder: 'house' }),
          amountRule('again', 'points', [1, 100]),
        ],
      },
    });
    const member = await joint.enrol();
    const accrual = await joint.accrue(member, 0, { purchase: euros(7_500, 2_500) });
    // What is left of each award is the same to whoever reads it in the books again.
    const left = async () => {
      await engine.drained();
      await createEviction(engine.app, 0)();
      const { rows } = await engine.pool.query<{ party: number; points: number }>(
        `select party, -sum(points)::int as points from entry where program = $1 and account = 'issuance' group by 1 order by 1`,
        [joint.program.number],
      );
      const { available, pending } = await joint.balances(member);
      return { funders: rows.map(({ points }) => points), available, pending };
    };
    expect(await left()).toEqual({ funders: [200, 200, 50], available: 250, pending: 200 });
    const reverse = (lines?: unknown) =>
      joint.pos('POST', `/v1/accruals/${accrual.id}/reversals`, {
        reference: reference(),
        occurredAt: joint.time(),
        ...(lines === undefined ? {} : { lines }),
      });
    await reverse([{ line: 2 }]);
    expect(await left()).toEqual({ funders: [150, 150, 37], available: 187, pending: 150 });
    await reverse([{ line: 1, amount: 3_001 }]);
    expect(await left()).toEqual({ funders: [88, 88, 22], available: 110, pending: 88 });
    await reverse();
    expect(await left()).toEqual({ funders: [0, 0, 0], available: 0, pending: 0 });
  });

  test('of a line that the receipt does not have is refused with its pointer', async () => {
    const member = await shop.enrol();
    const accrual = await shop.accrue(member, 10);
    const body = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 1 }, { line: 9 }] };
    const answer = await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, body);
    expect(answer.body).toMatchObject({ status: 400, errors: [{ pointer: '/lines/1/line' }] });
    expect((await shop.balances(member)).available).toBe(10);
  });

  test('of something that is no accrual is refused', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 10);
    const redemption = await shop.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 5,
    });
    const body = () => ({ reference: reference(), occurredAt: shop.time() });
    for (const id of [redemption.id, 'acc_00000000000070008000000000000000', 'acc_nonsense', 'x']) {
      expect((await shop.pos('POST', `/v1/accruals/${id}/reversals`, body())).code).toBe(
        'original_not_found',
      );
    }
  });
});

describe('400', () => {
  test('a money currency that the program does not take', async () => {
    const member = await shop.enrol();
    const purchase = { currency: 'USD', lines: [{ line: 1, amount: 1_000 }] };
    const answer = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 0, { purchase }));
    expect(answer.body).toMatchObject({
      status: 400,
      code: 'money_currency_not_accepted',
      errors: [{ pointer: '/purchase/currency' }],
    });
  });

  test('a grant in a currency that the program does not have', async () => {
    const member = await shop.enrol();
    const grant = { currency: 'stars', points: 1, product: 'x' };
    const body = { member, reference: reference(), occurredAt: shop.time(), grant };
    const answer = await shop.pos('POST', '/v1/accruals', body);
    expect(answer.body).toMatchObject({ code: 'currency_unknown', errors: [{ pointer: '/grant/currency' }] });
  });

  test('more than five minutes ahead is refused, four are not', async () => {
    const member = await shop.enrol();
    const ahead = await shop.pos(
      'POST',
      '/v1/accruals',
      shop.receipt(member, 5, { occurredAt: shop.time(301_000) }),
    );
    expect(ahead.body).toMatchObject({ code: 'occurred_at_in_future', errors: [{ pointer: '/occurredAt' }] });
    const within = shop.receipt(member, 5, { occurredAt: shop.time(240_000) });
    expect((await shop.pos('POST', '/v1/accruals', within)).status).toBe(201);
  });

  test('a receipt has exactly one subject', async () => {
    const member = await shop.enrol();
    const both = shop.receipt(member, 5, { activity: { type: 'x' } });
    expect((await shop.pos('POST', '/v1/accruals', both)).body).toMatchObject({
      errors: [{ pointer: '/activity' }],
    });
    const none = { member, reference: reference(), occurredAt: shop.time() };
    expect((await shop.pos('POST', '/v1/accruals', none)).body).toMatchObject({ errors: [{ pointer: '' }] });
  });

  test('a line that stands twice in a receipt', async () => {
    const member = await shop.enrol();
    const purchase = {
      currency: 'EUR',
      lines: [
        { line: 1, amount: 5 },
        { line: '1', amount: 5 },
      ],
    };
    const answer = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 0, { purchase }));
    expect(answer.body).toMatchObject({ status: 400, errors: [{ pointer: '/purchase/lines/1/line' }] });
  });
});

test('409: a wallet cannot hold more points than can be counted', async () => {
  const member = await shop.enrol();
  const grant = { points: pointsMax, product: 'everything' };
  const give = (more: object) =>
    shop.pos('POST', '/v1/accruals', {
      member,
      reference: reference(),
      occurredAt: shop.time(),
      grant,
      ...more,
    });
  expect((await give({})).at('balances.points.available')).toBe(pointsMax);
  expect((await give({ grant: { points: 1, product: 'one more' } })).code).toBe('balance_limit');
  expect((await shop.balances(member)).available).toBe(pointsMax);
});

test('the 121st lot finds two neighbours merged, and no point is lost', async () => {
  const member = await shop.enrol();
  for (let day = 1; day <= 125; day += 1) {
    const occurredAt = shop.time(-day * 86_400_000);
    await shop.pos('POST', '/v1/accruals', shop.receipt(member, 10, { occurredAt }));
  }
  const answer = await shop.pos('GET', `/v1/members/${member}/balances`);
  const lots = answer.at('balances.miles.lots') as { points: number }[];
  expect(lots.length).toBeLessThanOrEqual(120);
  expect(lots.reduce((sum, lot) => sum + lot.points, 0)).toBe(625);
});
