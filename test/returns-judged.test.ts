/** What a return leaves is what the rest of the receipt would have earned, whatever rules look at and whoever the member is by now. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createEviction } from '#src/jobs/eviction.ts';
import { operationsOfOrderMax } from '#src/wallet/orders.ts';
import { amountRule, reference, startEngine } from './harness.ts';
import type { Answer } from './house/client.ts';

const engine = await startEngine();
afterAll(() => engine.end());

type Line = readonly [amount: number, category?: string];
type Shop = Awaited<ReturnType<typeof engine.shop>>;
type Promotions = NonNullable<NonNullable<Parameters<typeof engine.shop>[0]>['definition']>['promotions'];

function shopWith(promotions: Promotions): Promise<Shop> {
  return engine.shop({ definition: { rules: [amountRule('base', 'points', [1, 100])], promotions } });
}

function buy(shop: Shop, member: string, lines: readonly Line[], order?: string): Promise<Answer> {
  const purchase = {
    currency: 'EUR',
    ...(order === undefined ? {} : { order }),
    lines: lines.map(([amount, category], i) => ({ line: i + 1, amount, ...(category ? { category } : {}) })),
  };
  return shop.pos('POST', '/v1/accruals', {
    member,
    reference: reference(),
    occurredAt: shop.time(),
    purchase,
  });
}

function giveBack(shop: Shop, accrual: Answer, lines?: readonly object[]): Promise<Answer> {
  const body = { reference: reference(), occurredAt: shop.time(), ...(lines ? { lines } : {}) };
  return shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, body);
}

function awardsOf(answer: Answer): Record<string, number> {
  const awards = (answer.body.awards ?? answer.body.reversed ?? []) as { rule: string; points: number }[];
  return Object.fromEntries(awards.map(({ rule, points }) => [rule, points]));
}

describe('of what remains', () => {
  test('conditions see no line that came back, baskets count none, and the total is what is left', async () => {
    const shop = await shopWith([
      { name: 'big', currency: 'points', when: 'receipt.total >= 5000', earn: { by: 'fixed', points: 100 } },
      {
        name: 'fish',
        currency: 'points',
        when: 'receipt.lines.exists(l, l.category == "fish" && l.amount >= 1000)',
        earn: { by: 'fixed', points: 20 },
      },
      {
        name: 'any-fish',
        currency: 'points',
        basket: [{ lines: { categories: ['fish'] } }],
        earn: { by: 'fixed', points: 21 },
      },
    ]);
    const member = await shop.enrol();
    const bought = await buy(shop, member, [[4_900], [1_200, 'fish']]);
    expect(awardsOf(bought)).toEqual({ base: 61, big: 100, fish: 20, 'any-fish': 21 });
    // 3.00 of the fish first: the piece that is left is too small for the counter, and still fish.
    expect(awardsOf(await giveBack(shop, bought, [{ line: 2, amount: 300 }]))).toEqual({ base: 3, fish: 20 });
    expect(awardsOf(await giveBack(shop, bought, [{ line: 2 }]))).toEqual({
      base: 9,
      big: 100,
      'any-fish': 21,
    });
    expect(awardsOf(await giveBack(shop, bought))).toEqual({ base: 49 });
    expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 0 });
  });
});

describe('of what depends on the past', () => {
  const promotions: Promotions = [
    { name: 'first', currency: 'points', purchaseNumber: 1, earn: { by: 'fixed', points: 7 } },
    { name: 'third', currency: 'points', purchaseNumber: 3, earn: { by: 'fixed', points: 300 } },
    {
      name: 'fifty',
      currency: 'points',
      spendReached: { minorUnits: 5_000, period: 'month' },
      earn: { by: 'fixed', points: 40 },
    },
    {
      name: 'hundred',
      currency: 'points',
      spendReached: { minorUnits: 10_000, period: 'month' },
      earn: { by: 'fixed', points: 90 },
    },
  ];

  async function explained(shop: Shop, { id }: Answer): Promise<Record<string, unknown>> {
    await engine.drained();
    return (await shop.care('GET', `/v1/operations/${id}`)).body.explanation as Record<string, unknown>;
  }

  test('an amount that the rest still reaches keeps its bonus, one that it does not reach loses it, and it can be reached again', async () => {
    const shop = await shopWith(promotions);
    const member = await shop.enrol();
    await buy(shop, member, [[8_000]]);
    const lines: Line[] = [[2_500], [1_000], [500]];
    const bought = await buy(shop, member, lines);
    expect(awardsOf(bought)).toEqual({ base: 40, hundred: 90 });
    const { rules, missing } = await explained(shop, bought);
    expect(missing).toBeUndefined();
    expect(rules).toContainEqual(
      expect.objectContaining({ rule: 'hundred', outcome: 'applied', points: 90 }),
    );
    expect(awardsOf(await giveBack(shop, bought, [{ line: 2 }]))).toEqual({ base: 10 });
    expect(awardsOf(await giveBack(shop, bought, [{ line: 1, amount: 1_600 }]))).toEqual({
      base: 16,
      hundred: 90,
    });
    expect(awardsOf(await giveBack(shop, bought))).toEqual({ base: 14 });
    expect(awardsOf(await buy(shop, member, lines))).toEqual({ base: 40, hundred: 90 });
  });

  test('the third purchase is explained as such, and what comes back can be the third again', async () => {
    const shop = await shopWith(promotions);
    const member = await shop.enrol();
    for (let purchase = 0; purchase < 2; purchase += 1) await buy(shop, member, [[100]]);
    const third = await buy(shop, member, [[100]]);
    expect(awardsOf(third)).toEqual({ base: 1, third: 300 });
    const { rules, missing } = await explained(shop, third);
    expect(missing).toBeUndefined();
    expect(rules).toContainEqual(expect.objectContaining({ rule: 'third', outcome: 'applied', points: 300 }));
    expect(awardsOf(await giveBack(shop, third))).toEqual({ base: 1, third: 300 });
    expect(awardsOf(await buy(shop, member, [[100]]))).toEqual({ base: 1, third: 300 });
  });

  test('a multiplier that is given once does not come twice, although what came back lets it be reached again', async () => {
    const multiply = { by: 2, rules: ['base'] };
    const shop = await shopWith([
      {
        name: 'hundred',
        currency: 'points',
        spendReached: { minorUnits: 10_000, period: 'month' },
        multiply,
      },
      { name: 'third', currency: 'points', purchaseNumber: 3, multiply: { by: 3, rules: ['base'] } },
    ]);
    const member = await shop.enrol();
    const before = await buy(shop, member, [[6_000]]);
    const reached = await buy(shop, member, [[6_000]]);
    expect(awardsOf(reached)).toEqual({ base: 60, hundred: 60 });
    await giveBack(shop, before);
    expect(awardsOf(await buy(shop, member, [[6_000]]))).toEqual({ base: 60 });
    // What was given itself came back, so it can be given again.
    expect(awardsOf(await giveBack(shop, reached))).toEqual({ base: 60, hundred: 60 });
    expect(awardsOf(await buy(shop, member, [[6_000]]))).toEqual({ base: 60, hundred: 60 });
    const third = await buy(shop, member, [[100]]);
    expect(awardsOf(third)).toEqual({ base: 1, third: 2 });
  });

  test('a cap comes back also where the member would not get the points any more', async () => {
    const shop = await shopWith([
      {
        name: 'guest',
        currency: 'points',
        when: 'has(member.attributes.guest)',
        earn: { by: 'amount', points: 1, perMinorUnits: 10 },
        caps: [{ points: 500, period: 'month' }],
      },
    ]);
    const member = await shop.enrol();
    const change = (guest: true | null) =>
      shop.admin('PATCH', `/v1/members/${member}`, { attributes: { guest } });
    await change(true);
    const bought = await buy(shop, member, [[5_000]]);
    expect(awardsOf(bought)).toEqual({ base: 50, guest: 500 });
    await change(null);
    expect(awardsOf(await giveBack(shop, bought))).toEqual({ base: 50, guest: 500 });
    await change(true);
    expect(awardsOf(await buy(shop, member, [[5_000]]))).toEqual({ base: 50, guest: 500 });
  });
});

describe('of an order in several shipments', () => {
  const promotions: Promotions = [
    { name: 'welcome', currency: 'points', earn: { by: 'fixed', points: 100 } },
    { name: 'big', currency: 'points', when: 'receipt.total >= 2500', earn: { by: 'fixed', points: 9 } },
    { name: 'each', currency: 'points', oncePerOrder: false, earn: { by: 'fixed', points: 3 } },
  ];

  function comesBack(shop: Shop, what: object): Promise<Answer> {
    const body = { reference: reference(), occurredAt: shop.time(), durability: 'ledger', ...what };
    return shop.pos('POST', '/v1/returns', body);
  }

  test.each(['returned', 'reversed'])(
    'a bonus of the order goes when no shipment that is left would have earned it: %s',
    async (how) => {
      const shop = await shopWith(promotions);
      const member = await shop.enrol();
      const order = reference('order');
      const first = await buy(shop, member, [[3_000]], order);
      const second = await buy(shop, member, [[1_000], [1_000]], order);
      expect(awardsOf(first)).toEqual({ base: 30, welcome: 100, big: 9, each: 3 });
      expect(awardsOf(second)).toEqual({ base: 20, each: 3 });
      const back = (of: Answer, lines?: readonly object[]) =>
        how === 'reversed'
          ? giveBack(shop, of, lines)
          : comesBack(shop, { accrual: of.id, ...(lines ? { lines } : {}) });
      expect(awardsOf(await back(first))).toEqual({ base: 30, big: 9, each: 3 });
      expect(awardsOf(await back(second, [{ line: 1 }]))).toEqual({ base: 10 });
      expect((await back(first)).code).toBe('reversal_exceeds_accrual');
      expect(await shop.balances(member)).toMatchObject({ available: 113 });
      await engine.drained();
      await createEviction(engine.app, 0)();
      // What was given for the first shipment goes with the last one's last line.
      expect(awardsOf(await back(second))).toEqual({ welcome: 100, base: 10, each: 3 });
      expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 0 });
      expect(awardsOf(await buy(shop, member, [[1_000]], order))).toEqual({
        base: 10,
        welcome: 100,
        each: 3,
      });
    },
  );

  test('a bonus that came back with its shipment and was given again stays for a third shipment', async () => {
    const shop = await shopWith(promotions);
    const member = await shop.enrol();
    const order = reference('order');
    const first = await buy(shop, member, [[1_000]], order);
    expect(awardsOf(await comesBack(shop, { accrual: first.id }))).toEqual({
      base: 10,
      welcome: 100,
      each: 3,
    });
    const second = await buy(shop, member, [[1_000]], order);
    expect(awardsOf(second)).toEqual({ base: 10, welcome: 100, each: 3 });
    const third = await buy(shop, member, [[1_000]], order);
    expect(awardsOf(third)).toEqual({ base: 10, each: 3 });
    expect(awardsOf(await comesBack(shop, { accrual: second.id }))).toEqual({ base: 10, each: 3 });
    expect(awardsOf(await giveBack(shop, third))).toEqual({ base: 10, welcome: 100, each: 3 });
    expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
  });

  test('everything comes back exactly, in any pieces and order, whatever is bought in between', async () => {
    const buying = fc.record({ amount: fc.integer({ min: 1_000, max: 3_000 }) });
    const returning = fc.record({ pick: fc.nat(5), half: fc.boolean() });
    const steps = fc.array(fc.oneof(buying, { arbitrary: returning, weight: 2 }), {
      minLength: 4,
      maxLength: 9,
    });
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const shop = await shopWith(promotions);
        const member = await shop.enrol();
        const order = reference('order');
        const shipments: { readonly id: string; left: number }[] = [];
        const ship = async (amount: number) => {
          const { id } = await buy(shop, member, [[amount]], order);
          shipments.push({ id, left: amount });
        };
        await ship(3_000);
        for (const step of taken) {
          if ('amount' in step) await ship(step.amount);
          else {
            const shipment = shipments[step.pick % shipments.length]!;
            const amount = step.half ? Math.ceil(shipment.left / 2) : shipment.left;
            if (amount === 0) continue;
            await comesBack(shop, { accrual: shipment.id, lines: [{ line: 1, amount }] });
            shipment.left -= amount;
          }
          const rest = shipments.map(({ left }) => left).filter((left) => left > 0);
          const expected = rest.reduce((sum, each) => sum + Math.floor(each / 100) + 3, 0);
          const big = rest.some((each) => each >= 2_500) ? 9 : 0;
          expect(await shop.balances(member)).toMatchObject({
            available: expected + (rest.length > 0 ? 100 : 0) + big,
          });
        }
        await comesBack(shop, { order });
        expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
      }),
      { numRuns: 10, endOnFailure: true },
    );
  }, 60_000);

  test('numbers of orders that start again each day: a receipt is found among those of its member, and one of too many is refused', async () => {
    const shop = await shopWith(promotions);
    const order = reference('order');
    const [many, one] = [await shop.enrol('many'), await shop.enrol('one')];
    const first = await buy(shop, many, [[1_000]], order);
    const soon = {
      reference: reference(),
      occurredAt: shop.time(),
      accrual: (await buy(shop, many, [[1_000]], order)).id,
    };
    const before = await comesBack(shop, soon);
    for (let bought = 1; bought <= operationsOfOrderMax; bought += 20)
      await Promise.all(Array.from({ length: 20 }, () => buy(shop, many, [[1_000]], order)));
    const [mine, later] = [await buy(shop, one, [[1_000]], order), await buy(shop, one, [[1_000]], order)];
    expect(awardsOf(await giveBack(shop, mine))).toEqual({ base: 10, each: 3 });
    expect(awardsOf(await comesBack(shop, { accrual: later.id }))).toEqual({
      welcome: 100,
      base: 10,
      each: 3,
    });
    expect(await shop.balances(one)).toMatchObject({ available: 0, debt: 0 });
    for (const refused of [
      await giveBack(shop, first),
      await comesBack(shop, { accrual: first.id }),
      await comesBack(shop, { order }),
    ])
      expect([refused.status, refused.code]).toEqual([409, 'order_too_large']);
    expect(await comesBack(shop, soon)).toMatchObject({ status: 201, id: before.id });
  }, 60_000);

  test.each(['returned', 'reversed'])(
    'stays for a shipment that is accrued at that moment: %s',
    async (how) => {
      const shop = await shopWith(promotions);
      await Promise.all(
        Array.from({ length: 12 }, async () => {
          const [member, order] = [await shop.enrol(), reference('order')];
          const first = await buy(shop, member, [[1_000]], order);
          const back = () =>
            how === 'reversed' ? giveBack(shop, first) : comesBack(shop, { accrual: first.id });
          const [came, second] = await Promise.all([back(), buy(shop, member, [[1_000]], order)]);
          expect([came.status, second.status]).toEqual([201, 201]);
          expect(await shop.balances(member)).toMatchObject({ available: 113 });
        }),
      );
    },
  );

  test('a till of one store takes no bonus from a receipt of another', async () => {
    const shop = await shopWith(promotions);
    const member = await shop.enrol();
    const order = reference('order');
    const key = await shop.key({ client: 'tills', role: 'pos', stores: ['north'] });
    const buyAt = (store: string) =>
      shop.accrue(member, 0, {
        purchase: { currency: 'EUR', order, store, lines: [{ line: 1, amount: 1_000 }] },
      });
    const [first, last] = [await buyAt('south'), await buyAt('north')];
    expect(awardsOf(await giveBack(shop, first))).toEqual({ base: 10, each: 3 });
    const body = { reference: reference(), occurredAt: shop.time() };
    const atTill = (more: object) =>
      engine.http('POST', `/v1/accruals/${last.id}/reversals`, { ...body, ...more }, { key });
    expect(await atTill({})).toMatchObject({ status: 403, code: 'store_not_allowed' });
    expect((await atTill({ lines: [{ line: 1, amount: 500 }] })).status).toBe(201);
    expect(awardsOf(await giveBack(shop, last))).toEqual({ base: 5, welcome: 100, each: 3 });
  });
});
