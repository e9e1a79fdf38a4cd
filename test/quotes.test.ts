/** A quote is what the accrual would give: for whoever joins with it, and for what the program does not accept. */
import { afterAll, describe, expect, test } from 'vitest';
import { amountRule, reference, startEngine } from './harness.ts';
import type { Answer } from './house/client.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({
  definition: {
    moneyCurrencies: ['EUR'],
    rules: [amountRule('base', 'points', [1, 100], { caps: [{ points: 50, period: 'day' }] })],
    promotions: [
      { name: 'first', currency: 'points', purchaseNumber: 1, earn: { by: 'fixed', points: 7 } },
      {
        name: 'new-here',
        currency: 'points',
        when: 'member.known && member.joinedDays == 0',
        earn: { by: 'fixed', points: 3 },
      },
      {
        name: 'little',
        currency: 'points',
        budget: 'little',
        earn: { by: 'amount', points: 1, perMinorUnits: 100 },
      },
    ],
    budgets: [{ name: 'little', points: 20, whenFull: 'trim' }],
  },
});

function bodyOf(member: unknown, amount: number, more: object = {}): Record<string, unknown> {
  return {
    member,
    reference: reference(),
    occurredAt: shop.time(),
    purchase: { currency: 'EUR', lines: [{ line: 1, amount }] },
    ...more,
  };
}

const quote = (body: object) => shop.pos('POST', '/v1/accruals/quote', body);
const accrue = (body: object) => shop.pos('POST', '/v1/accruals', body);

function awardsOf({ body }: Answer): unknown {
  return body.awards;
}

describe('a quote for a card that nobody has yet', () => {
  test('is what the receipt gives that enrols it, caps and budgets included', async () => {
    const body = bodyOf({ type: 'card', value: reference('card') }, 8_000, { enrol: true });
    const quoted = await quote(body);
    expect(quoted.status).toBe(200);
    const given = await accrue(body);
    expect(given.status).toBe(201);
    expect(awardsOf(quoted)).toEqual(awardsOf(given));
    expect(awardsOf(quoted)).toMatchObject([
      { rule: 'base', points: 50 },
      { rule: 'first', points: 7 },
      { rule: 'little', points: 20 },
      { rule: 'new-here', points: 3 },
    ]);
  });

  test('is none where the receipt would not enrol it', async () => {
    const body = bodyOf({ type: 'card', value: reference('card') }, 100);
    expect([(await quote(body)).code, (await accrue(body)).code]).toEqual([
      'member_not_found',
      'member_not_found',
    ]);
  });
});

test('what no accrual takes has no quote either', async () => {
  const member = await shop.enrol();
  const dollars = bodyOf(member, 0, { purchase: { currency: 'USD', lines: [{ line: 1, amount: 100 }] } });
  expect([(await quote(dollars)).code, (await accrue(dollars)).code]).toEqual([
    'money_currency_not_accepted',
    'money_currency_not_accepted',
  ]);
  const grant = {
    member,
    reference: reference(),
    occurredAt: shop.time(),
    grant: { currency: 'shells', points: 5, product: 'p' },
  };
  expect([(await quote(grant)).code, (await accrue(grant)).code]).toEqual([
    'currency_unknown',
    'currency_unknown',
  ]);
});
