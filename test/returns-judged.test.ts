/** What a return leaves is what the rest of the receipt would have earned, whatever rules look at and whoever the member is by now. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createEviction } from '#src/jobs/eviction.ts';
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

  test('everything comes back exactly, in any pieces and order', async () => {
    const amounts = fc.array(fc.integer({ min: 1_000, max: 3_000 }), { minLength: 2, maxLength: 3 });
    const pieces = fc.array(fc.record({ pick: fc.nat(5), half: fc.boolean() }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(amounts, pieces, async (shipped, returned) => {
        const shop = await shopWith(promotions);
        const member = await shop.enrol();
        const order = reference('order');
        const shipments: Answer[] = [];
        for (const amount of shipped) shipments.push(await buy(shop, member, [[amount]], order));
        const left = shipped.map((amount) => amount);
        for (const { pick, half } of returned) {
          const i = pick % shipped.length;
          const amount = half ? Math.ceil(left[i]! / 2) : left[i]!;
          if (amount === 0) continue;
          await comesBack(shop, { accrual: shipments[i]!.id, lines: [{ line: 1, amount }] });
          left[i]! -= amount;
          const rest = left.filter((each) => each > 0);
          const big = shipped.some((each) => each >= 2_500) && left.some((each) => each >= 2_500);
          const expected = rest.reduce((sum, each) => sum + Math.floor(each / 100) + 3, 0);
          expect(await shop.balances(member)).toMatchObject({
            available: expected + (rest.length > 0 ? 100 : 0) + (big ? 9 : 0),
          });
        }
        await comesBack(shop, { order });
        expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
      }),
      { numRuns: 8, endOnFailure: true },
    );
  }, 60_000);
});
