/**
 * Which contract an exchange is billed by: the one of its request, however long it takes and whatever is agreed meanwhile; and that what
 * was quoted is what moves.
 */
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import { checkSettlement } from '#src/partners/clearing/check.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import { type Ally, type AllyOptions, ally, noLimits, partnerAccount } from './house/alliance.ts';
import { allEntries, clearAll, clearingOf } from './house/clearing.ts';

const engine = await startEngine();
const { app, pool } = engine;
const shop = await engine.shop({ mode: 'test', timeZone: 'Europe/Berlin' });
const worker = createExchanging(app, { timeoutMs: 400, retryMs: 5, retryMsMax: 20 });
const follower = clearingOf(app);
const allies: Ally[] = [];
afterAll(async () => {
  await Promise.all(allies.map(({ far }) => far.close()));
  await engine.end();
});

/** A partner whose second contract, with other prices and paid afterwards, begins with the next month of the program. */
async function changing(options: AllyOptions): Promise<{ readonly air: Ally; readonly turn: number }> {
  const air = await ally(app, shop, options);
  allies.push(air);
  const turn = DateTime.fromMillis(shop.now(), { zone: 'Europe/Berlin' })
    .startOf('month')
    .plus({ months: 1 });
  const price = { amount: 7, perPoints: 1 };
  const added = await shop.admin('POST', `/v1/partners/${air.name}/contracts`, {
    from: turn.toISODate(),
    billing: { kind: 'postpaid' },
    settleOn: 'issue',
    currency: 'EUR',
    prices: { issue: price, redemption: price },
    limits: noLimits,
  });
  expect(added.body.outcome).toBe('changed');
  return { air, turn: turn.toMillis() };
}

/** Asks for an exchange under the first contract; the partner says that it has done it under the second. */
async function acrossTheTurn(
  { air, turn }: { readonly air: Ally; readonly turn: number },
  ask: object,
): Promise<string> {
  air.far.next('pending');
  const begun = await shop.checkout('POST', '/v1/exchanges', { ...ask, reference: reference() });
  expect([begun.status, begun.body.status]).toEqual([202, 'pending']);
  await waitFor('the partner has it', async () => air.far.sends.has(begun.id));
  await shop.setClock(turn + 3_600_000);
  air.far.succeed(begun.id);
  await waitFor('the exchange is completed', async () => {
    for (const each of await claimDue(pool, air.number, 10, 1))
      await worker.saga.drive(each, Date.now() + 5_000);
    return (await shop.checkout('GET', `/v1/exchanges/${begun.id}`)).body.status === 'completed';
  });
  await engine.drained();
  await clearAll(pool, follower);
  return begun.id;
}

/** Of each entry: its contract, whether it was booked under the second, its points, and what blocks have paid of them. */
async function billed({ air, turn }: { readonly air: Ally; readonly turn: number }) {
  return (await allEntries(pool, air.number)).map(({ kind, contract, at, points, prepaid }) => [
    ...[kind, contract, at >= turn, points, prepaid],
  ]);
}

async function linesOf({ air }: { readonly air: Ally }) {
  const drafts = await shop.finance('GET', `/v1/settlements/drafts?partner=${air.name}`);
  return (drafts.body.data as { lines: { points: number; amount: number; contract: number }[] }[]).flatMap(
    ({ lines }) => lines.map(({ contract, points, amount }) => [contract, points, amount]),
  );
}

test.each(['by the rate of now', 'by a quote'])(
  'points that go out %s before a contract ends and arrive afterwards are billed by that contract',
  async (how) => {
    const made = await changing({});
    const member = await made.air.member(100);
    const ask = { member, partner: made.air.name, direction: 'out', points: 80 };
    const quote = () => shop.checkout('POST', '/v1/exchanges/quote', ask);
    await acrossTheTurn(made, how === 'by a quote' ? { quote: (await quote()).id } : ask);
    expect(await billed(made)).toEqual([['exchange_out', 1, true, 80, 0]]);
    expect(await linesOf(made)).toEqual([[1, 80, -80]]);
  },
);

test('points that come in and were drawn from a block are paid for by it, also where the contract was postpaid by then', async () => {
  const made = await changing({ billing: { kind: 'prepaid', alertPoints: 0 } });
  const { air } = made;
  const bought = await shop.finance('POST', `/v1/partners/${air.name}/blocks`, {
    reference: reference(),
    points: 500,
    from: '2020-01-01',
  });
  expect(bought.status).toBe(201);
  const member = await air.member(0);
  await acrossTheTurn(made, { member, partner: air.name, direction: 'in', points: 40 });
  expect(await billed(made)).toEqual([['exchange_in', 1, true, -120, -120]]);
  expect((await linesOf(made)).map(([contract, , amount]) => [contract, amount])).toEqual([[1, 0]]);
});

test('points that come in by an exchange of a contract that bills them when they are spent are billed then, by the contract in force', async () => {
  const made = await changing({ settleOn: 'redemption' });
  const { air } = made;
  const member = await air.member(0);
  await acrossTheTurn(made, { member, partner: air.name, direction: 'in', points: 40 });
  const ask = { member, points: 30, reference: reference() };
  expect((await shop.checkout('POST', '/v1/redemptions', ask)).status).toBe(201);
  await engine.drained();
  await clearAll(pool, follower);
  expect(await billed(made)).toEqual([
    ['exchange_in', 1, true, -120, 0],
    ['spent', 2, true, -30, 0],
  ]);
  expect(await linesOf(made)).toEqual([
    [1, -120, 0],
    [2, -30, 210],
  ]);
});

test('and all of it is what the books say', async () => {
  expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
});

/** Rates as contracts have them. */
const rates = fc
  .record({
    ratio: fc.record({ give: fc.integer({ min: 1, max: 40 }), receive: fc.integer({ min: 1, max: 40 }) }),
    rounding: fc.constantFrom('floor', 'half_up', 'half_even', 'ceil'),
    steps: fc.integer({ min: 1, max: 12 }),
    step: fc.constantFrom(1, 1, 5, 10),
    block: fc.record({ points: fc.integer({ min: 50, max: 500 }), adds: fc.integer({ min: 1, max: 90 }) }),
    bonuses: fc
      .array(fc.constantFrom(20, '2.5', 70), { maxLength: 2 })
      .map((percents) =>
        percents.map((percent, i) => ({ name: `b${i}`, percent, from: '2020-01-01', through: '2099-12-31' })),
      ),
    fee: fc.record({
      currency: fc.constant('EUR'),
      amount: fc.nat(9),
      perPoints: fc.integer({ min: 1, max: 9 }),
    }),
  })
  .map(({ steps, ...rate }) => ({ ...rate, minimum: steps * rate.step }));
/** Of several quotes one after the other, so that one rate is enough for them. */
const amounts = fc.array(fc.tuple(fc.constantFrom('out', 'in'), fc.integer({ min: 1, max: 900 })), {
  minLength: 1,
  maxLength: 4,
});

test('whatever the rate says, what is quoted is what moves here, there and in the books, or is refused in the same words', async () => {
  const property = fc.asyncProperty(rates, amounts, async (rate, asks) => {
    const who = await ally(app, shop, { rate });
    allies.push(who);
    const member = await who.member(2_000);
    let [left, went, there] = [2_000, 0, 0];
    for (const [direction, points] of asks) {
      const ask = { member, partner: who.name, direction, points };
      const quote = await shop.checkout('POST', '/v1/exchanges/quote', ask);
      const exchange = (body: object) =>
        shop.checkout(
          'POST',
          '/v1/exchanges',
          { ...body, reference: reference() },
          { headers: { prefer: 'wait=5' } },
        );
      const plain = await exchange(ask);
      if (quote.status !== 200) {
        expect([plain.status, plain.code]).toEqual([quote.status, quote.code]);
        continue;
      }
      const byQuote = await exchange({ quote: quote.id });
      const terms = ({ give, receive, fee, rate: version }: Answer['body']) => ({
        give,
        receive,
        fee,
        version,
      });
      const { give, receive } = quote.body as Record<'give' | 'receive', { points: number }>;
      for (const made of [plain, byQuote]) {
        // All that can stand against what was quoted is that the member has too few.
        const isShort = direction === 'out' && left < give.points;
        expect([made.status, made.code]).toEqual(isShort ? [409, 'insufficient_points'] : [201, '']);
        if (isShort) continue;
        expect(terms(made.body)).toEqual(terms(quote.body));
        const [own, far] =
          direction === 'out' ? [-give.points, receive.points] : [receive.points, -give.points];
        left += own;
        went -= own;
        there += far;
      }
    }
    await engine.drained();
    const { available, held, debt } = await shop.balances(member);
    const account = await partnerAccount(pool, shop, who.number);
    expect([available, held, debt, account, who.far.points()]).toEqual([left, 0, 0, went, there]);
  });
  await fc.assert(property, { numRuns: 10, endOnFailure: true });
}, 90_000);
