/** Promotions, caps and what depends on a member's past, at the till: quotes, accruals, returns and their explanations. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { type Engine, startEngine } from './harness.ts';
import type { Answer } from './house/client.ts';
import { amountRule, reference, type Shop } from './house/shop.ts';

const club: Partial<ProgramFileInput> = {
  currencies: [{ code: 'points' }, { code: 'stamps', spendable: false }],
  groups: [{ name: 'days', combine: 'best' }],
  rules: [
    amountRule('base', 'points', [1, 100]),
    {
      name: 'fresh',
      currency: 'points',
      earn: { by: 'amount', points: 2, perMinorUnits: 100, lines: { categories: ['fresh'] } },
      caps: [{ points: 50, period: 'day' }],
    },
    {
      name: 'page',
      currency: 'stamps',
      earn: { by: 'fixed', points: 1 },
      basket: [{ amountMin: 5_000 }],
      caps: [{ points: 3, period: 'month', whenFull: 'refuse' }],
    },
    {
      name: 'review',
      on: 'activity',
      currency: 'points',
      activities: ['review'],
      earn: { by: 'fixed', points: 20 },
      caps: [{ points: 30, period: 'week' }],
    },
    {
      name: 'miles',
      on: 'flight',
      currency: 'points',
      earn: { by: 'distance', classes: [{ codes: ['Y'], percent: 100 }] },
    },
    { name: 'segment', on: 'flight', currency: 'points', earn: { by: 'fixed', points: 7 } },
  ],
  promotions: [
    { name: 'first', currency: 'points', purchaseNumber: 1, earn: { by: 'fixed', points: 100 } },
    {
      name: 'hundred',
      currency: 'points',
      spendReached: { minorUnits: 10_000, period: 'month' },
      earn: { by: 'fixed', points: 40 },
    },
    {
      name: 'double',
      currency: 'points',
      group: 'days',
      multiply: { by: 2, rules: ['base'] },
      code: 'TWICE',
    },
    {
      name: 'birthday',
      currency: 'points',
      group: 'days',
      during: { member: 'birthday' },
      multiply: { by: '2.5', rules: ['base'] },
    },
    { name: 'parcel', currency: 'points', channels: ['web'], earn: { by: 'fixed', points: 15 } },
  ],
};

let engine: Engine;
let shop: Shop;
beforeAll(async () => {
  engine = await startEngine();
  shop = await engine.shop({ definition: club });
});
afterAll(() => engine.end());

type Line = readonly [amount: number, category?: string];

function bought(lines: readonly Line[], more: Readonly<Record<string, unknown>> = {}) {
  return {
    purchase: {
      currency: 'EUR',
      lines: lines.map(([amount, category], i) => ({
        line: i + 1,
        amount,
        ...(category ? { category } : {}),
      })),
      ...more,
    },
  };
}

function send(member: string, subject: object): Promise<Answer> {
  const body = { member, reference: reference(), occurredAt: shop.time(), ...subject };
  return shop.pos('POST', '/v1/accruals', body);
}

function awardsOf(answer: Answer): Record<string, number> {
  const awards = (answer.body.awards ?? []) as { rule: string; points: number }[];
  return Object.fromEntries(awards.map(({ rule, points }) => [rule, points]));
}

/** Somebody whose first purchase lies behind them. */
async function regular(): Promise<string> {
  const member = await shop.enrol();
  await send(member, bought([[100]]));
  return member;
}

describe('what depends on what the member did before', () => {
  test('the first purchase counts once, however many tills send one at the same moment', async () => {
    const member = await shop.enrol();
    const answers = await Promise.all(Array.from({ length: 12 }, () => send(member, bought([[200]]))));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
    expect(answers.filter((answer) => awardsOf(answer).first === 100)).toHaveLength(1);
  });

  test('the purchase that reaches the amount of the month is given its bonus, and only that', async () => {
    const member = await regular();
    const points = [];
    for (const amount of [4_000, 5_000, 1_000, 9_000])
      points.push(awardsOf(await send(member, bought([[amount]]))).hundred ?? 0);
    expect(points).toEqual([0, 0, 40, 0]);
  });

  test('an order that comes in two shipments has its promotion once', async () => {
    const member = await regular();
    const order = reference('order');
    const first = await send(member, bought([[1_000]], { order, channel: 'web' }));
    const second = await send(member, bought([[2_000]], { order, channel: 'web' }));
    expect([awardsOf(first).parcel, awardsOf(second).parcel]).toEqual([15, undefined]);
    const other = await send(member, bought([[2_000]], { order: reference('order'), channel: 'web' }));
    expect(awardsOf(other).parcel).toBe(15);
  });

  test('the shipments of an order are one purchase, and what came back makes room for the next', async () => {
    const number = (name: string, purchaseNumber: number, points: number) =>
      ({ name, currency: 'points', purchaseNumber, earn: { by: 'fixed', points } }) as const;
    const own = await engine.shop({
      definition: { promotions: [number('first', 1, 100), number('third', 3, 300)] },
    });
    const member = await own.enrol();
    const buy = async (order?: string) => {
      const subject = bought([[100]], order === undefined ? {} : { order });
      const body = { member, reference: reference(), occurredAt: own.time(), ...subject };
      return own.pos('POST', '/v1/accruals', body);
    };
    const bonuses = async (...orders: (string | undefined)[]) => {
      const given = [];
      for (const order of orders) {
        const { first = 0, third = 0 } = awardsOf(await buy(order));
        given.push(first + third);
      }
      return given;
    };
    expect(await bonuses('o1', 'o1', 'o1')).toEqual([100, 0, 0]);
    const second = await buy('o2');
    const body = { reference: reference(), occurredAt: own.time() };
    expect((await own.pos('POST', `/v1/accruals/${second.id}/reversals`, body)).status).toBe(201);
    expect(await bonuses('o2', 'o2', 'o3', 'o3', 'o4', undefined)).toEqual([0, 0, 300, 0, 0, 0]);
  });

  test('a birthday that becomes known counts from the next receipt on', async () => {
    const member = await regular();
    expect(awardsOf(await send(member, bought([[1_000]]))).birthday).toBeUndefined();
    const today = new Date(shop.now()).toISOString().slice(0, 10);
    const changed = await shop.admin('PATCH', `/v1/members/${member}`, { birthday: `1990${today.slice(4)}` });
    expect(changed.status).toBe(200);
    expect(awardsOf(await send(member, bought([[1_000]], { codes: ['TWICE'] })))).toMatchObject({
      base: 10,
      birthday: 15,
    });
  });
});

describe('awards with the same terms', () => {
  test('are one lot and two entries in the ledger, and stay apart in the answer, its repeat and the explanation', async () => {
    const member = await regular();
    const goods = bought([[2_500, 'fresh']], { codes: ['TWICE'] });
    const body = { member, reference: reference(), occurredAt: shop.time(), ...goods };
    const answer = await shop.pos('POST', '/v1/accruals', body);
    expect(awardsOf(answer)).toEqual({ base: 25, fresh: 50, double: 25 });
    await engine.drained();
    const repeat = await shop.pos('POST', '/v1/accruals', body);
    expect(repeat.body).toEqual({ ...answer.body, ledger: repeat.body.ledger });
    const { body: shown } = await shop.care('GET', `/v1/operations/${answer.id}`);
    expect(shown.entries).toEqual([
      { account: 'wallet', currency: 'points', points: 100, lot: 1, party: 'program' },
      { account: 'issuance', currency: 'points', points: -100, party: 'program' },
    ]);
    const { rules } = shown.explanation as { rules: { rule: string; outcome: string; points: number }[] };
    const applied = rules.filter(({ outcome }) => outcome === 'applied' || outcome === 'capped');
    expect(Object.fromEntries(applied.map(({ rule, points }) => [rule, points]))).toEqual(awardsOf(answer));
  });

  test('are trimmed and taken back each by itself', async () => {
    const member = await regular();
    const answer = await send(member, bought([[3_000, 'fresh'], [1_000]], { codes: ['TWICE'] }));
    expect(awardsOf(answer)).toEqual({ base: 40, fresh: 50, double: 40 });
    const lines = [{ line: 1, amount: 1_000 }];
    const back = { reference: reference(), occurredAt: shop.time(), lines };
    const reversal = await shop.pos('POST', `/v1/accruals/${answer.id}/reversals`, back);
    // Of the 20.00 of fresh food that are left the rule gives 40; of all that is left the base 30, and as much again.
    expect(awardsOf(reversal)).toEqual({ base: 10, fresh: 10, double: 10 });
  });
});

describe('a cap', () => {
  test('is never passed by a point, however many receipts come at once', async () => {
    const member = await regular();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => send(member, bought([[700, 'fresh/fruit']]))),
    );
    const fresh = answers.map((answer) => awardsOf(answer).fresh ?? 0);
    expect(fresh.reduce((sum, points) => sum + points, 0)).toBe(50);
    expect(new Set(fresh)).toEqual(new Set([14, 8, 0]));
  });

  test('that refuses gives the whole award or none', async () => {
    const member = await regular();
    const pages = [];
    for (let i = 0; i < 5; i += 1) pages.push(awardsOf(await send(member, bought([[5_000]]))).page ?? 0);
    expect(pages).toEqual([1, 1, 1, 0, 0]);
  });

  test('trims an activity to what is left of the week, and the explanation says so', async () => {
    const member = await shop.enrol();
    await send(member, { activity: { type: 'review' } });
    const trimmed = await send(member, { activity: { type: 'review' } });
    expect(awardsOf(trimmed)).toEqual({ review: 10 });
    await engine.drained();
    const shown = await shop.care('GET', `/v1/operations/${trimmed.id}`);
    expect(shown.body.explanation).toMatchObject({
      programVersion: 1,
      rules: [
        { rule: 'review', outcome: 'capped', points: 10, caps: [{ period: 'week', pointsMax: 30, cut: 10 }] },
      ],
    });
  });
});

describe('a quote', () => {
  test('is what the accrual gives where nothing lies between', async () => {
    const lines = fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 9_000 }),
        fc.constantFrom(undefined, 'fresh', 'fresh/fruit', 'wine'),
      ),
      { minLength: 1, maxLength: 4 },
    );
    const receipts = fc.array(fc.tuple(lines, fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(receipts, async (each) => {
        const member = await shop.enrol();
        for (const [goods, isWeb, hasCode] of each) {
          const subject = bought(goods as Line[], {
            ...(isWeb ? { channel: 'web', order: 'same' } : {}),
            ...(hasCode ? { codes: ['TWICE'] } : {}),
          });
          const occurredAt = shop.time();
          const quote = await shop.pos('POST', '/v1/accruals/quote', { member, occurredAt, ...subject });
          const body = { member, reference: reference(), occurredAt, ...subject };
          const accrual = await shop.pos('POST', '/v1/accruals', body);
          expect([quote.status, accrual.status]).toEqual([200, 201]);
          expect(awardsOf(quote)).toEqual(awardsOf(accrual));
        }
      }),
      { numRuns: 12, seed: 5 },
    );
  });

  test('says what would have to differ for a rule that does not fit', async () => {
    const member = await regular();
    const quote = await shop.pos('POST', '/v1/accruals/quote', { member, ...bought([[2_700]]) });
    const rules = (quote.body.explanation as { rules: Record<string, unknown>[] }).rules;
    expect(rules.find(({ rule }) => rule === 'page')).toMatchObject({
      outcome: 'not_matched',
      conditions: [{ holds: false, detail: '23.00 EUR more in the receipt' }],
    });
    expect(rules.find(({ rule }) => rule === 'first')).toMatchObject({
      outcome: 'not_matched',
      detail: 'it is purchase number 2, not 1',
    });
  });
});

describe('a rule that fails', () => {
  test('refuses nothing else, and is named', async () => {
    const member = await shop.enrol();
    const flight = {
      carrier: 'XX',
      flightNumber: '1',
      date: '2026-01-01',
      from: 'A',
      to: 'B',
      bookingClass: 'Y',
    };
    const answer = await send(member, { flight });
    expect(awardsOf(answer)).toEqual({ segment: 7 });
    await engine.drained();
    const shown = await shop.care('GET', `/v1/operations/${answer.id}`);
    expect(shown.body.explanation).toMatchObject({
      rules: [
        { rule: 'miles', outcome: 'failed', detail: 'the flight has no distanceMiles' },
        { rule: 'segment' },
      ],
    });
  });
});

describe('a return', () => {
  test('of everything, in any pieces, ends at zero and gives caps, purchases and spending back', async () => {
    const pieces = fc.shuffledSubarray([1, 2, 3], { minLength: 3, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.boolean(), async (order, isLast) => {
        const member = await shop.enrol();
        const answer = await send(member, bought([[3_300, 'fresh'], [4_100], [3_900, 'wine']]));
        expect(awardsOf(answer)).toEqual({ base: 113, fresh: 50, page: 1, first: 100, hundred: 40 });
        for (const [i, line] of order.entries()) {
          const lines = isLast && i === 2 ? undefined : [{ line }];
          const body = { reference: reference(), occurredAt: shop.time(), ...(lines ? { lines } : {}) };
          expect((await shop.pos('POST', `/v1/accruals/${answer.id}/reversals`, body)).status).toBe(201);
        }
        expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 0 });
        const again = await send(member, bought([[3_300, 'fresh'], [4_100], [3_900, 'wine']]));
        expect(awardsOf(again)).toEqual(awardsOf(answer));
      }),
      { numRuns: 6, seed: 5 },
    );
  });

  test('of a part takes what the rest of the receipt would not have earned', async () => {
    const member = await regular();
    const answer = await send(member, bought([[4_900], [300]]));
    expect(awardsOf(answer)).toMatchObject({ base: 52, page: 1 });
    const body = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 2 }] };
    const back = await shop.pos('POST', `/v1/accruals/${answer.id}/reversals`, body);
    expect(awardsOf(back)).toEqual({ base: 3, page: 1 });
  });
});
