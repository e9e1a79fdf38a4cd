/** Which contract an exchange is billed by: the one of its request, however long it takes and whatever is agreed meanwhile. */
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import { checkSettlement } from '#src/partners/clearing/check.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { type Ally, type AllyOptions, ally, noLimits } from './house/alliance.ts';
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

test('and all of it is what the books say', async () => {
  expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
});
