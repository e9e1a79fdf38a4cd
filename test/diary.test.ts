/** What members did by day: read out of the books in order, once, and taken back to exactly nothing. */
import { afterAll, describe, expect, test } from 'vitest';
import { sumsOf } from '#src/diary/reading.ts';
import type { Answer } from './harness.ts';
import { reference, startEngine } from './harness.ts';
import { dayOf, daysOf, followerOf, memberIn, pointsOf, readAll } from './house/diary.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const follower = followerOf(app);
const shop = await engine.shop({
  timeZone: 'Asia/Tokyo',
  definition: {
    money: { currency: 'JPY', rates: [{ currency: 'EUR', from: '2020-01-01', units: 1, base: 2 }] },
    currencies: [{ code: 'points' }, { code: 'status' }],
    rules: [
      { name: 'spend', currency: 'points', earn: { by: 'amount', points: 1, perMinorUnits: 100 } },
      { name: 'status', currency: 'status', earn: { by: 'amount', points: 1, perMinorUnits: 1_000 } },
      { name: 'fly', on: 'flight', currency: 'points', earn: { by: 'fixed', points: 500 } },
    ],
  },
});
const tokyo = { day: '2026-10-05', at: '2026-10-05T00:30:00+09:00' };
const day = dayOf(tokyo.day);

interface Line {
  readonly line: number;
  readonly amount: number;
  readonly quantity?: string;
}

function buy(
  member: string,
  lines: readonly Line[],
  more: Readonly<Record<string, unknown>> = {},
  occurredAt = tokyo.at,
): Promise<Answer> {
  const purchase = { currency: 'JPY', lines, ...more };
  return shop.pos('POST', '/v1/accruals', { member, reference: reference(), occurredAt, purchase });
}

function giveBack(accrual: Answer, lines?: readonly object[]): Promise<Answer> {
  const body = { reference: reference(), occurredAt: shop.time(), ...(lines ? { lines } : {}) };
  return shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, body);
}

async function read(): Promise<void> {
  await engine.drained();
  await readAll(app, follower);
}

describe('a purchase', () => {
  test('counts on its day in the program’s zone: a visit, what counts of its money, and the points of every currency', async () => {
    const name = await shop.enrol();
    const answer = await buy(name, [{ line: 1, amount: 5_000 }]);
    const member = memberIn(answer);
    await read();
    expect(await daysOf(pool, member)).toEqual([[day, 1, 5_000, 0, 0]]);
    expect(await pointsOf(pool, member)).toEqual([
      [1, day, 50],
      [2, day, 5],
    ]);
  });

  test('in foreign money counts at the rate of its version, without what points or gift cards paid', async () => {
    const name = await shop.enrol();
    const answer = await buy(name, [{ line: 1, amount: 333 }], {
      currency: 'EUR',
      payments: [{ means: 'gift_card', amount: 33 }],
    });
    const member = memberIn(answer);
    await read();
    expect(await daysOf(pool, member)).toEqual([[day, 1, 600, 0, 0]]);
    await giveBack(answer, [{ line: 1, amount: 100 }]);
    await read();
    expect(await daysOf(pool, member)).toEqual([[day, 1, Math.floor((466 * 600) / 666), 0, 0]]);
    await giveBack(answer);
    await read();
    expect(await daysOf(pool, member)).toEqual([]);
    expect(await pointsOf(pool, member)).toEqual([]);
  });
});

test('receipts as large as numbers go stop nobody: each counts a bounded amount, and all of it comes back', async () => {
  const name = await shop.enrol();
  const largest = [{ line: 1, amount: Number.MAX_SAFE_INTEGER }];
  const answers = [await buy(name, largest), await buy(name, largest)];
  expect(answers.map(({ status }) => status)).toEqual([201, 201]);
  const member = memberIn(answers[0]!);
  await read();
  expect(await daysOf(pool, member)).toEqual([[day, 2, 2_000_000_000_000, 0, 0]]);
  for (const answer of answers) await giveBack(answer);
  await read();
  expect(await daysOf(pool, member)).toEqual([]);
});

describe('returns', () => {
  test('of pieces in any order end at exactly nothing, and the visit goes with the last piece', async () => {
    const name = await shop.enrol();
    const answer = await buy(name, [
      { line: 1, amount: 999, quantity: '3' },
      { line: 2, amount: 1_001 },
    ]);
    const member = memberIn(answer);
    const pieces = [
      [{ line: 1, quantity: '1' }],
      [{ line: 2, amount: 500 }],
      [{ line: 1, quantity: '2' }],
      [{ line: 2, amount: 501 }],
    ];
    const visits: number[] = [];
    for (const piece of pieces) {
      expect((await giveBack(answer, piece)).status).toBe(201);
      await read();
      visits.push((await sumsOf(pool, [{ member, measure: 'visits', fromDay: day, throughDay: day }]))[0]!);
    }
    expect(visits).toEqual([1, 1, 1, 0]);
    expect(await daysOf(pool, member)).toEqual([]);
    expect(await pointsOf(pool, member)).toEqual([]);
  });

  test('of an order take its visit when nothing of any shipment is left', async () => {
    const name = await shop.enrol();
    const order = reference('order');
    const first = await buy(name, [{ line: 1, amount: 1_000 }], { order });
    const second = await buy(name, [{ line: 2, amount: 2_000 }], { order }, '2026-10-09T12:00:00+09:00');
    const member = memberIn(first);
    await read();
    const later = dayOf('2026-10-09');
    expect(await daysOf(pool, member)).toEqual([
      [day, 1, 1_000, 0, 0],
      [later, 0, 2_000, 0, 0],
    ]);
    await giveBack(first);
    await read();
    expect(await daysOf(pool, member)).toEqual([
      [day, 1, 0, 0, 0],
      [later, 0, 2_000, 0, 0],
    ]);
    const all = { order, reference: reference(), occurredAt: shop.time() };
    expect((await shop.pos('POST', '/v1/returns', all)).status).toBe(201);
    await read();
    expect([await daysOf(pool, member), await pointsOf(pool, member)]).toEqual([[], []]);
    expect(second.status).toBe(201);
  });
});

describe('a flight', () => {
  test('counts with its distance and fare, and not as a visit, until it is taken back', async () => {
    const member = await shop.enrol();
    const flight = {
      carrier: 'XX',
      flightNumber: '123',
      date: tokyo.day,
      from: 'HND',
      to: 'ITM',
      bookingClass: 'Y',
      distanceMiles: 280,
      fare: { amount: 100, currency: 'EUR' },
    };
    const body = { member, reference: reference(), occurredAt: tokyo.at, flight };
    const answer = await shop.pos('POST', '/v1/accruals', body);
    const number = memberIn(answer);
    await read();
    expect(await daysOf(pool, number)).toEqual([[day, 0, 200, 1, 280]]);
    expect(await pointsOf(pool, number)).toEqual([[1, day, 500]]);
    await giveBack(answer);
    await read();
    expect([await daysOf(pool, number), await pointsOf(pool, number)]).toEqual([[], []]);
  });
});

describe('sums', () => {
  test('are of stretches that include both ends, one for each ask in their order', async () => {
    const name = await shop.enrol();
    const at = (date: string) => `${date}T10:00:00+09:00`;
    const dates = ['2025-12-31', '2026-01-01', '2026-01-31', '2026-03-01'];
    let member = 0 as ReturnType<typeof memberIn>;
    for (const date of dates) member = memberIn(await buy(name, [{ line: 1, amount: 1_000 }], {}, at(date)));
    await read();
    const ask = (measure: 'visits' | 'spend' | 'active_months', from: string, through: string) => ({
      member,
      measure,
      fromDay: dayOf(from),
      throughDay: dayOf(through),
    });
    const points = { ...ask('visits', '2026-01-01', '2026-01-30'), measure: { points: 2 } };
    expect(
      await sumsOf(pool, [
        ask('visits', '2025-12-31', '2026-01-31'),
        ask('spend', '2026-01-01', '2026-03-01'),
        points,
        ask('active_months', '2025-01-01', '2026-12-31'),
        ask('visits', '2026-01-02', '2026-01-30'),
        { ...points, fromDay: Number.NEGATIVE_INFINITY, throughDay: Number.POSITIVE_INFINITY },
      ]),
    ).toEqual([3, 3_000, 1, 3, 0, 4]);
    expect(await sumsOf(pool, [])).toEqual([]);
  });
});
