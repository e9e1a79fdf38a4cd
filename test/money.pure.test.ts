/** Money in several currencies: decimals for people, rates by day for rules. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  converted,
  moneyDecimals,
  moneyText,
  rateBetween,
  toProgramAmount,
  toProgramMoney,
} from '#src/earning/rules/money.ts';
import type { Purchase } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';

const berlin = {
  timeZone: 'Europe/Berlin',
  money: {
    currency: 'EUR',
    rates: [
      // 1,000 yen are 6.10 euros, later 6.25; both count in smallest units, of which a yen has one.
      { currency: 'JPY', from: '2026-01-01', units: 1_000, base: 610 },
      { currency: 'JPY', from: '2026-03-29', units: 1_000, base: 625 },
      // A dinar of 1,000 fils is 3.00 euros.
      { currency: 'KWD', from: '2026-01-01', units: 1_000, base: 300 },
    ],
  },
};
const at = (text: string) => Date.parse(text);

function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error instanceof Problem ? { code: error.code, ...error.fields } : error;
  }
  return undefined;
}

function receipt(currency: string, amounts: readonly number[], payments?: Purchase['payments']): Purchase {
  return { currency, lines: amounts.map((amount, i) => ({ line: i + 1, amount })), payments };
}

describe('for people', () => {
  test.each([
    ['EUR', 5, '0.05 EUR'],
    ['EUR', 12_345, '123.45 EUR'],
    ['JPY', 500, '500 JPY'],
    ['KWD', 1_250, '1.250 KWD'],
    ['KWD', 7, '0.007 KWD'],
    ['CLF', 12_345, '1.2345 CLF'],
    ['IQD', 1_000, '1.000 IQD'],
    ['RSD', 100, '1.00 RSD'],
  ])('%s %i is %s', (currency, amount, text) => {
    expect(moneyText({ amount, currency })).toBe(text);
  });

  test('decimals are those of ISO 4217, also where people round', () => {
    expect(['JPY', 'KRW', 'EUR', 'HUF', 'BHD', 'UYW'].map(moneyDecimals)).toEqual([0, 0, 2, 2, 3, 4]);
  });
});

describe('a receipt in another currency', () => {
  test('is converted line by line, each rounded down to the smallest unit', () => {
    const judged = toProgramMoney(berlin, receipt('JPY', [1_000, 333, 1]), at('2026-02-01T12:00:00Z'));
    // 610; 203.13; 0.61.
    expect(judged).toEqual({ ...receipt('EUR', [610, 203, 0]), payments: undefined });
    const dinars = toProgramMoney(berlin, receipt('KWD', [1_250, 1]), at('2026-02-01T12:00:00Z'));
    expect(dinars.lines.map(({ amount }) => amount)).toEqual([375, 0]);
  });

  test.each([
    ['the last instant of the day before, at home', '2026-03-28T22:59:59.999Z', 610],
    ['the first instant of the day', '2026-03-28T23:00:00.000Z', 625],
    ['midnight of UTC, an hour into the day', '2026-03-29T00:00:00Z', 625],
  ])("takes the rate of its day in the program's zone: %s", (_, occurredAt, amount) => {
    expect(toProgramMoney(berlin, receipt('JPY', [1_000]), at(occurredAt)).lines[0]!.amount).toBe(amount);
  });

  test('is refused before there is a rate, and without one', () => {
    const errors = (detail: string) => [{ pointer: '/purchase/currency', detail }];
    const early = () => toProgramMoney(berlin, receipt('JPY', [1]), at('2025-12-31T12:00:00Z'));
    expect(codeOf(early)).toEqual({
      code: 'money_currency_not_accepted',
      errors: errors('the program has no rate for JPY on 2025-12-31'),
    });
    expect(
      codeOf(() => toProgramMoney(berlin, receipt('USD', [1]), at('2026-02-01T12:00:00Z'))),
    ).toMatchObject({ code: 'money_currency_not_accepted' });
    const fare = { amount: 100, currency: 'USD' };
    expect(codeOf(() => toProgramAmount(berlin, fare, at('2026-02-01T12:00:00Z')))).toMatchObject({
      errors: [{ pointer: '/flight/fare/currency' }],
    });
  });

  test('stays what it is in the currency of the program, and where the file names none', () => {
    const purchase = receipt('EUR', [99]);
    expect(toProgramMoney(berlin, purchase, 0)).toBe(purchase);
    const yen = receipt('JPY', [99]);
    expect(toProgramMoney({ timeZone: 'UTC' }, yen, 0)).toBe(yen);
    expect(toProgramAmount({ timeZone: 'UTC' }, { amount: 5, currency: 'USD' }, 0)).toEqual({
      amount: 5,
      currency: 'USD',
    });
  });

  test('is refused where it cannot be counted', () => {
    const huge = {
      ...berlin,
      money: { currency: 'EUR', rates: [{ currency: 'JPY', from: '2026-01-01', units: 1, base: 1_000_000 }] },
    };
    expect(
      codeOf(() =>
        toProgramMoney(huge, receipt('JPY', [Number.MAX_SAFE_INTEGER]), at('2026-02-01T00:00:00Z')),
      ),
    ).toEqual({ code: 'balance_limit' });
  });

  test('that was paid in full is paid in full after rounding, whoever paid what', () => {
    const amounts = fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(
        amounts,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
        (lines, cuts) => {
          const total = lines.reduce((sum, amount) => sum + amount, 0);
          const ends = [...cuts.map((cut) => Math.floor(cut * total)).toSorted((a, b) => a - b), total];
          const payments = ends.map((end, i) => ({ means: `card${i}`, amount: end - (ends[i - 1] ?? 0) }));
          const judged = toProgramMoney(berlin, receipt('JPY', lines, payments), at('2026-02-01T00:00:00Z'));
          const sum = (parts: readonly { amount: number }[]) =>
            parts.reduce((all, part) => all + part.amount, 0);
          expect(sum(judged.payments!)).toBe(sum(judged.lines));
          for (const { amount } of judged.payments!) expect(amount).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });
});

describe('a rate', () => {
  test('between two foreign currencies goes by way of the program’s', () => {
    const rate = rateBetween(berlin, 'KWD', 'JPY', at('2026-02-01T00:00:00Z'))!;
    // 1.000 KWD = 3.00 EUR = 491.8 JPY.
    expect(converted(1_000, rate)).toBe(491);
    expect(rateBetween(berlin, 'KWD', 'USD', at('2026-02-01T00:00:00Z'))).toBeUndefined();
    expect(rateBetween({ timeZone: 'UTC' }, 'KWD', 'JPY', 0)).toBeUndefined();
    expect(converted(77, rateBetween({ timeZone: 'UTC' }, 'USD', 'USD', 0)!)).toBe(77);
  });

  test('of two of one day the one further down in the file counts', () => {
    const rates = [1, 2].map((base) => ({ currency: 'USD', from: '2026-01-01', units: 1, base }));
    const definition = { timeZone: 'UTC', money: { currency: 'EUR', rates } };
    expect(converted(10, rateBetween(definition, 'USD', 'EUR', at('2026-05-05T00:00:00Z'))!)).toBe(20);
  });
});
