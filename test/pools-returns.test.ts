/** An order that a household's pool has paid for comes back: earned points are taken back, and everybody has what was given for it. */
import { afterAll, expect, test } from 'vitest';
import { finishPools } from '#src/jobs/pools.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import {
  availableOf,
  give,
  type Household,
  household,
  householdFile,
  type Resident,
  resident,
  spend,
} from './house/household.ts';
import { stallAt } from './house/stall.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

/** Repeats a call under its reference for as long as it is told to come back, as on a machine that is busy with other things. */
function answered(send: () => Promise<Answer>): Promise<Answer> {
  return waitFor(
    'a call is answered for good',
    async () => {
      const answer = await send();
      const isOpen = ['reference_in_progress', 'outcome_unknown', 'not_ready'].includes(answer.code);
      return answer.status === 202 || isOpen ? undefined : answer;
    },
    30_000,
  );
}

/** Spends of a pool. */
function spent({ pool }: Household, by: Resident, points: number, more: object): Promise<Answer> {
  const once = { reference: reference(), ...more };
  return answered(() => spend(shop, pool, by, points, once));
}

function post(path: string, more: object = {}): Promise<Answer> {
  const body = { reference: reference(), ...more };
  return answered(() => shop.pos('POST', path, body));
}

/** Buys for so many minor units; a point for each hundred. */
async function buy({ member }: Resident, order: string, amount: number): Promise<Answer> {
  const lines = [{ line: 1, amount }];
  const purchase = { currency: 'EUR', store: 'forever', order, lines };
  return shop.accrue(member, amount / 100, { purchase, durability: 'ledger' });
}

interface Ordered {
  readonly house: Household;
  readonly order: string;
  readonly accrual: Answer;
  readonly paid: Answer;
}

/** The first of three with 40 points each buys, and pays with 90 points of all. */
async function ordered(amount = 1_000, more: object = {}): Promise<Ordered> {
  const house = await household(shop, [40, 40, 40], { order: 'equal_shares' });
  const order = reference('order');
  const paid = await spent(house, house.residents[0]!, 90, { order, ...more });
  expect(paid.status).toBe(201);
  expect(await availableOf(shop, house.residents)).toEqual([10, 10, 10]);
  return { house, order, paid, accrual: await buy(house.residents[0]!, order, amount) };
}

const giveBack = (body: object): Promise<Answer> => post('/v1/returns', { occurredAt: shop.time(), ...body });

test('whole, everybody has again what the pool took, once, also where it is asked for by its receipt', async () => {
  for (const name of ['order', 'accrual'] as const) {
    const { house, order, accrual, paid } = await ordered(1_000, { value: { amount: 900, currency: 'EUR' } });
    const body = { reference: reference(), ...(name === 'order' ? { order } : { accrual: accrual.id }) };
    const back = await giveBack({ ...body, occurredAt: '2026-11-20T10:00:00Z' });
    expect(back).toMatchObject({
      status: 201,
      body: {
        order,
        reversed: [{ points: 10 }],
        refunded: [{ redemption: paid.id, points: 90, value: { amount: 900, currency: 'EUR' } }],
        refundMoney: { amount: 100, currency: 'EUR' },
      },
    });
    expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
    const again = await giveBack({ ...body, occurredAt: '2026-11-20T10:00:00Z' });
    expect([again.status, again.body]).toEqual([201, back.body]);
    expect((await giveBack({ order })).code).toBe('reversal_exceeds_accrual');
    expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
    // The parts have the order too.
    await engine.drained();
    const { rows } = await engine.pool.query<{ kind: string }>(
      'select distinct kind from operation where order_reference = $1 order by kind',
      [order],
    );
    expect(rows.map(({ kind }) => kind)).toEqual(['accrual', 'capture', 'hold', 'return']);
  }
});

test('in pieces, in any order, the points come back in shares that are all of them in the end', async () => {
  const { house, order } = await ordered();
  const piece = (amount: number) => giveBack({ order, lines: [{ line: 1, amount }] });
  expect((await piece(333)).body.refunded).toMatchObject([{ points: 29 }]);
  expect((await piece(334)).body.refunded).toMatchObject([{ points: 31 }]);
  // Whoever gave last has it first.
  const sum = async () => (await availableOf(shop, house.residents)).reduce((a, b) => a + b, 0);
  expect((await availableOf(shop, house.residents)).slice(1)).toEqual([40, 40]);
  expect((await piece(333)).body.refunded).toMatchObject([{ points: 30 }]);
  expect(await sum()).toBe(120);
  expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
});

test('after a refund of the pool, or of a part of it, only the rest comes back', async () => {
  const { house, order, paid } = await ordered();
  const refunds = `/v1/pools/${house.pool}/redemptions/${paid.id}/refunds`;
  expect((await post(refunds, { points: 20 })).status).toBe(201);
  const { parts } = paid.body as { parts: { id: string }[] };
  const part = `/v1/redemptions/${parts[0]!.id}/refunds`;
  expect((await post(part, { points: 7 })).status).toBe(201);
  expect((await giveBack({ order })).body.refunded).toMatchObject([{ points: 63 }]);
  expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
  expect((await post(refunds)).code).toBe('refund_exceeds_redemption');
});

test('that nobody has a receipt of, the points come back alone', async () => {
  const house = await household(shop, [40, 40]);
  const order = reference('order');
  await spent(house, house.residents[1]!, 60, { order });
  const back = await giveBack({ order });
  expect(back).toMatchObject({ status: 201, body: { reversed: [], refunded: [{ points: 60 }] } });
  expect(back.body.member).toBe(house.residents[1]!.member);
  expect(await availableOf(shop, house.residents)).toEqual([40, 40]);
});

test('bought by one of the household and paid by another is one order; a stranger’s with the same number is not', async () => {
  const house = await household(shop, [40, 40]);
  const order = reference('order');
  await spent(house, house.residents[1]!, 60, { order });
  await buy(house.residents[0]!, order, 500);
  expect((await giveBack({ order, lines: [{ line: 1, amount: 250 }] })).body).toMatchObject({
    member: house.residents[0]!.member,
    refunded: [{ points: 30 }],
  });
  const stranger = await resident(shop);
  const other = await buy(stranger, order, 700);
  expect((await giveBack({ order })).code).toBe('validation_failed');
  const own = await giveBack({ accrual: other.id });
  expect(own.body).toMatchObject({ reversed: [{ points: 7 }], refunded: [] });
  expect((await availableOf(shop, house.residents)).reduce((a, b) => a + b, 0)).toBe(52);
});

test('that is refused keeps nobody waiting: the pool’s redemption can be refunded at once', async () => {
  const { house, order, paid } = await ordered();
  expect((await giveBack({ order, lines: [{ line: 2, amount: 1 }] })).status).toBe(400);
  const { rowCount } = await engine.pool.query(`select from pool_refund where state = 'waiting'`);
  expect(rowCount).toBe(0);
  const refunds = `/v1/pools/${house.pool}/redemptions/${paid.id}/refunds`;
  expect((await post(refunds)).status).toBe(201);
});

test('by many at once comes back once', async () => {
  const { house, order } = await ordered();
  const body = { reference: reference(), occurredAt: shop.time(), order };
  const answers = await Promise.all([
    ...Array.from({ length: 6 }, () => post('/v1/returns', body)),
    ...Array.from({ length: 6 }, () => post('/v1/returns', { ...body, reference: reference() })),
  ]);
  const tally = Map.groupBy(answers, ({ status, code }) => code || String(status));
  // All six of one reference, or one of the others.
  expect([1, 6]).toContain(tally.get('201')?.length);
  expect((tally.get('201')?.length ?? 0) + (tally.get('reversal_exceeds_accrual')?.length ?? 0)).toBe(12);
  expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
});

test('whose request died before its record gives its turn up when none can be made any more', async () => {
  const { house, order, paid } = await ordered();
  const stalls = await stallAt(engine.stores.databaseUrl, [{ on: 'insert on pool_refund' }]);
  const lines = [{ line: 2, amount: 1 }];
  const sent = giveBack({ order, lines });
  await stalls.at[0]!.reached();
  await stalls.remove();
  await sent;
  // As a process leaves it that died there.
  await engine.pool.query(
    `insert into pool_refund (refund, redemption, client, reference_key, fingerprint, request, wanted, made_at, state, attempts, changed_at)
     select gen_random_uuid(), redemption, 1, gen_random_uuid(), repeat('0', 32), '{}', '[]', 0, 'waiting', 1, now() - interval '1 minute'
     from pool_redemption where redemption = $1::uuid`,
    [String(paid.id).slice(4)],
  );
  const refunds = `/v1/pools/${house.pool}/redemptions/${paid.id}/refunds`;
  const refund = { reference: reference() };
  expect((await shop.pos('POST', refunds, refund)).code).toBe('reference_in_progress');
  await finishPools(engine.app, 10);
  expect((await shop.pos('POST', refunds, refund)).code).toBe('reference_in_progress');
  await engine.pool.query(
    `update pool_refund set changed_at = now() - interval '3 minutes' where state = 'waiting'`,
  );
  await finishPools(engine.app, 10);
  expect((await post(refunds, refund)).status).toBe(201);
  await give(shop, house.residents[0]!, 1);
});
