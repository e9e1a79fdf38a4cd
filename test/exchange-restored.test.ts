/**
 * A PostgreSQL that was restored to an older state has lost exchanges whose holds the journal brings back: the points are not held
 * for ever. (That the journal brings the holds back is what `restore.test.ts` is about; here the rows of exchanges alone are taken away.)
 */
import { afterAll, expect, test } from 'vitest';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import type { Exchanging } from '#src/partners/exchange/exchanges.ts';
import { resolveExchange } from '#src/partners/exchange/resolving.ts';
import { restoreLost } from '#src/partners/exchange/restoring.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { ally, partnerAccount } from './house/alliance.ts';
import type { Behaviour } from './house/far-partner.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop();
const quick = { timeoutMs: 400, retryMs: 5, retryMsMax: 20, doubtsMax: 4, openMs: 10, openMsMax: 20 };
const worker: Exchanging = createExchanging(app, quick);
const air = await ally(app, shop);
afterAll(() => air.far.close());

const counted = async (outcome: string) => {
  const { values } = await app.telemetry.metrics.exchangesRestored.get();
  return values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0;
};

/** An exchange of 80 of 100 points that stands open when its row is lost; `keepsQuote`: the older state had its quote. */
async function lost(behaviour: Behaviour, keepsQuote = false) {
  const member = await air.member(100);
  air.far.next(behaviour);
  const body = { member, partner: air.name, direction: 'out', points: 80, reference: reference() };
  const send = () => shop.checkout('POST', '/v1/exchanges', body, { headers: { prefer: 'wait=1' } });
  const answer = await send();
  expect(answer.status).toBe(202);
  const id = parseExchangeId(answer.id)!;
  await engine.drained();
  await pool.query('delete from exchange_use where exchange = $1', [id]);
  if (keepsQuote)
    await pool.query(
      `update exchange set state = 'quoted', reference_key = null, due_at = null, hold = null,
         terms = (terms::jsonb - 'contract')::json where exchange = $1`,
      [id],
    );
  else await pool.query('delete from exchange where exchange = $1', [id]);
  expect(await shop.balances(member)).toMatchObject({ available: 20, held: 80 });
  const show = async () => (await shop.checkout('GET', `/v1/exchanges/${answer.id}`)).body.status;
  const driven = (wanted: string) =>
    waitFor(
      `it is ${wanted}`,
      async () => {
        for (const each of await claimDue(pool, air.number, 10, 1))
          await worker.saga.drive(each, Date.now() + 5_000);
        return (await show()) === wanted;
      },
      20_000,
    );
  return { member, id, name: answer.id, send, show, driven };
}

test.each([false, true])(
  'an exchange that its partner knows goes on, also where the quote was kept: %s',
  async (keepsQuote) => {
    const { member, id, name, send, driven } = await lost('pending', keepsQuote);
    const [before, there] = [await counted('goes_on'), air.far.points()];
    expect(await restoreLost(worker, 10)).toBe(1);
    expect(await restoreLost(worker, 10)).toBe(0);
    expect(await counted('goes_on')).toBe(before + 1);
    // Who sends the same again is told of it, and begins nothing anew.
    expect((await send()).id).toBe(name);
    // It was billed by the first contract before it was lost, and is afterwards.
    const { rows } = await pool.query<{ contract: number | null }>(
      `select (terms ->> 'contract')::int as contract from exchange where exchange = $1`,
      [id],
    );
    expect(rows).toEqual([{ contract: 1 }]);
    air.far.succeed(name);
    await driven('completed');
    await engine.drained();
    expect(await shop.balances(member)).toMatchObject({ available: 20, held: 0 });
    expect(air.far.points()).toBe(there + 40);
  },
);

test('an exchange that its partner does not know waits for a person, who has the points given back', async () => {
  const { member, id, show, driven } = await lost('lost');
  const [before, there] = [await counted('in_review'), air.far.points()];
  const went = await partnerAccount(pool, shop, air.number);
  expect(await restoreLost(worker, 10)).toBe(1);
  expect(await counted('in_review')).toBe(before + 1);
  expect(await show()).toBe('in_review');
  const decision = { verdict: 'undo' as const, actor: 'anna', reason: 'it was lost' };
  await resolveExchange(pool, app.identity, id, decision);
  await driven('reversed');
  await engine.drained();
  expect(await shop.balances(member)).toMatchObject({ available: 100, held: 0 });
  expect([air.far.points(), await partnerAccount(pool, shop, air.number)]).toEqual([there, went]);
});
