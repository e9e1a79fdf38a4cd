/** Holds of a pool: reserved in the wallets of its members, and resolved once for all of them. */
import { afterAll, describe, expect, test } from 'vitest';
import { finishPools } from '#src/jobs/pools.ts';
import { type Answer, reference, type Shop, startEngine, waitFor } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  leave,
  partsOf,
  spend,
} from './house/household.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

const hold = (of: Shop, { pool, residents }: Household, points: number, more: object = {}): Promise<Answer> =>
  of.checkout('POST', `/v1/pools/${pool}/holds`, {
    member: residents[0]!.card,
    reference: reference(),
    points,
    ...more,
  });
const settle = (
  of: Shop,
  pool: string,
  id: string,
  mode: 'capture' | 'release',
  more: object = {},
): Promise<Answer> =>
  of.checkout('POST', `/v1/pools/${pool}/holds/${id}/${mode}`, { reference: reference(), ...more });
const heldOf = async ({ residents }: Household) => (await figuresOf(shop, residents)).map(({ held }) => held);

test('a hold reserves in every wallet what its part is, and a capture redeems all of it', async () => {
  const house = await household(shop, [30, 30, 30]);
  const made = await hold(shop, house, 70, { order: 'O-9', value: { amount: 700, currency: 'EUR' } });
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({
    object: 'poolHold',
    status: 'held',
    points: 70,
    order: 'O-9',
    value: { amount: 700 },
  });
  expect(partsOf(made).map(({ points }) => points)).toEqual([30, 30, 10]);
  expect([await availableOf(shop, house.residents), await heldOf(house)]).toEqual([
    [0, 0, 20],
    [30, 30, 10],
  ]);
  expect((await spend(shop, house.pool, house.residents[0]!, 21)).body).toMatchObject({ available: 20 });
  const captured = await settle(shop, house.pool, made.id, 'capture');
  expect(captured.body).toMatchObject({
    status: 'captured',
    points: 70,
    released: 0,
    value: { amount: 700 },
  });
  const redemption = String(captured.at('redemption.id'));
  const shown = await shop.care('GET', `/v1/pools/${house.pool}/redemptions/${redemption}`);
  expect(shown.body).toMatchObject({ status: 'redeemed', points: 70, value: { amount: 700 } });
  expect(await heldOf(house)).toEqual([0, 0, 0]);
  const path = `/v1/pools/${house.pool}/redemptions/${redemption}/refunds`;
  const refund = await shop.care('POST', path, { reference: reference() });
  expect(refund.body).toMatchObject({ points: 70, value: { amount: 700 } });
  expect(await availableOf(shop, house.residents)).toEqual([30, 30, 30]);
});

test('a capture of a part takes the first parts first, gives the rest back, and is worth the part', async () => {
  const exchange = { points: 3, minorUnits: 1, money: 'EUR' };
  const priced = await engine.shop({
    definition: {
      ...householdFile,
      redemption: [{ name: 'pay', currency: 'points', exchange, minimumPoints: 3 }],
    },
  });
  const house = await household(priced, [30, 30, 30]);
  const made = await hold(priced, house, 90);
  expect(made.body).toMatchObject({ value: { amount: 30 } });
  const captured = await settle(priced, house.pool, made.id, 'capture', { points: 40 });
  expect(captured.body).toMatchObject({
    status: 'captured',
    points: 40,
    released: 50,
    value: { amount: 13 },
  });
  expect(partsOf(captured).map(({ points, lots }) => [points, lots[0]!.points])).toEqual([
    [30, 30],
    [10, 10],
  ]);
  expect(await availableOf(priced, house.residents)).toEqual([0, 20, 30]);
  const path = `/v1/pools/${house.pool}/redemptions/${String(captured.at('redemption.id'))}/refunds`;
  expect((await priced.care('POST', path, { reference: reference(), points: 41 })).code).toBe(
    'refund_exceeds_redemption',
  );
  const pieces = [7, 20, 13].map((points) => {
    const body = { reference: reference(), points };
    return waitFor('it was its turn', async () => {
      const answer = await priced.care('POST', path, body);
      return answer.code === 'reference_in_progress' ? undefined : answer;
    });
  });
  const amounts = (await Promise.all(pieces)).map((piece) => [piece.status, piece.at('value.amount')]);
  expect(amounts.map(([status]) => status)).toEqual([201, 201, 201]);
  expect(amounts.reduce((sum, [, amount]) => sum + Number(amount), 0)).toBe(13);
  expect(await availableOf(priced, house.residents)).toEqual([30, 30, 30]);
});

describe('a hold', () => {
  test('is released as a whole, once, and repeats are answered as before', async () => {
    const house = await household(shop, [30, 30]);
    const body = { member: house.residents[0]!.card, reference: reference(), points: 50 };
    const send = () => shop.checkout('POST', `/v1/pools/${house.pool}/holds`, body);
    const holds = await Promise.all(Array.from({ length: 5 }, send));
    expect(new Set(holds.map(({ id }) => id)).size).toBe(1);
    const made = holds[0]!;
    const other = await shop.checkout('POST', `/v1/pools/${house.pool}/holds`, { ...body, points: 51 });
    expect(other.body).toMatchObject({ code: 'reference_reused', id: made.id, pointer: '/points' });
    const named = reference();
    const released = await settle(shop, house.pool, made.id, 'release', { reference: named });
    expect(released.body).toMatchObject({ status: 'released', parts: [] });
    const again = await settle(shop, house.pool, made.id, 'release', { reference: named });
    expect([again.replayed, again.body]).toEqual([true, released.body]);
    const late = await settle(shop, house.pool, made.id, 'capture');
    expect(late.body).toMatchObject({ code: 'hold_already_resolved', resolution: 'released' });
    expect([await availableOf(shop, house.residents), await heldOf(house)]).toEqual([
      [30, 30],
      [0, 0],
    ]);
    const second = await hold(shop, house, 10);
    const reused = await settle(shop, house.pool, second.id, 'release', { reference: named });
    expect(reused.code).toBe('reference_reused');
    await settle(shop, house.pool, second.id, 'release');
  });

  test('captured and released at once is resolved by one of them, in all wallets alike', async () => {
    for (let round = 0; round < 4; round += 1) {
      const house = await household(shop, [20, 20, 20]);
      const made = await hold(shop, house, 60);
      const modes = ['capture', 'release', 'capture', 'release'] as const;
      const answers = await Promise.all(modes.map((mode) => settle(shop, house.pool, made.id, mode)));
      const resolved = answers.filter(({ status }) => status < 300);
      expect(resolved).toHaveLength(1);
      const status = resolved[0]!.body.status;
      for (const { body } of answers.filter(({ code }) => code !== ''))
        expect(body).toMatchObject({ code: 'hold_already_resolved', resolution: status });
      const left = status === 'captured' ? [0, 0, 0] : [20, 20, 20];
      expect([await availableOf(shop, house.residents), await heldOf(house)]).toEqual([left, [0, 0, 0]]);
    }
  });

  test('ends by itself when its time has come, by the clock of its program', async () => {
    const later = await engine.shop({ mode: 'test', definition: householdFile });
    const house = await household(later, [20, 20]);
    const made = await hold(later, house, 40, { expiresInSeconds: 3_600 });
    const kept = await hold(later, await household(later, [5]), 5, { expiresInSeconds: 604_800 });
    await later.advance(3_601);
    expect((await later.care('GET', `/v1/pools/${house.pool}/holds/${made.id}`)).body).toMatchObject({
      status: 'expired',
      parts: [],
    });
    expect((await settle(later, house.pool, made.id, 'capture')).code).toBe('hold_expired');
    await finishPools(engine.app, 10);
    expect(await availableOf(later, house.residents)).toEqual([20, 20]);
    expect((await settle(later, house.pool, made.id, 'capture')).code).toBe('hold_expired');
    const { rows } = await engine.pool.query(
      `select from pool_redemption where redemption = $1 and state = 'held'`,
      [kept.id.slice(4)],
    );
    expect(rows).toHaveLength(1);
  });

  test('is a promise: who leaves the pool pays what is held', async () => {
    const house = await household(shop, [10, 50]);
    await give(shop, house.residents[1]!, 10, 'month');
    const made = await hold(shop, house, 40);
    await leave(shop, house.pool, house.residents[1]!);
    expect((await settle(shop, house.pool, made.id, 'capture')).body).toMatchObject({
      status: 'captured',
      points: 40,
    });
    const sum = (await availableOf(shop, house.residents)).reduce((a, b) => a + b, 0);
    expect(sum).toBe(30);
  });

  test('is not there under another pool, nor before it is made', async () => {
    const [house, other] = [await household(shop, [20]), await household(shop, [20])];
    const made = await hold(shop, house, 5);
    for (const [pool, id] of [
      [other.pool, made.id],
      [house.pool, 'phd_00000000000070008000000000000000'],
      [house.pool, 'nonsense'],
    ] as const) {
      expect((await shop.care('GET', `/v1/pools/${pool}/holds/${id}`)).code).toBe('not_found');
      expect((await settle(shop, pool, id, 'release')).code).toBe('not_found');
    }
    const early = await shop.care('GET', `/v1/pools/${house.pool}/redemptions/prd_${made.id.slice(4)}`);
    expect(early.code).toBe('not_found');
    expect((await settle(shop, house.pool, made.id, 'capture', { points: 6 })).code).toBe(
      'validation_failed',
    );
    expect((await hold(shop, house, 16)).body).toMatchObject({ code: 'insufficient_points', available: 15 });
    await settle(shop, house.pool, made.id, 'release');
    await waitFor('nothing is held', async () => (await heldOf(house))[0] === 0);
  });
});
