/** Two programs that are partners of each other exchange points both ways, through the calls that any partner would make. */
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { claimDue } from '#src/partners/exchange/rows.ts';
import { createKeyedPool } from '#src/platform/postgres.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { noLimits, partnerAccount } from './house/alliance.ts';
import { growing, type Plan, scansOf } from './house/plans.ts';
import type { Shop } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const [airline, bank] = [await engine.shop(), await engine.shop()];
const worker = createExchanging(app, { timeoutMs: 5_000, retryMs: 20, retryMsMax: 100 });

/** Makes a partner of a program, and the key that signs this partner's calls. */
async function partnerOf(shop: Shop, name: string) {
  const common = { from: '2020-01-01', currency: 'points', partnerCurrency: 'points' };
  const file = {
    partner: name,
    title: name,
    contracts: [
      {
        from: '2020-01-01',
        billing: { kind: 'postpaid' },
        settleOn: 'issue',
        currency: 'EUR',
        prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
        limits: noLimits,
      },
    ],
    rates: [
      { ...common, direction: 'out', ratio: { give: 2, receive: 1 } },
      { ...common, direction: 'in', ratio: { give: 1, receive: 3 } },
    ],
  };
  const applied = await shop.admin('POST', '/v1/partners', { source: JSON.stringify(file) });
  if (applied.status !== 201) throw new Error(`no partner: ${JSON.stringify(applied.body)}`);
  const key = await shop.admin('POST', '/v1/keys', { client: name, role: 'partner' });
  return { number: Number(applied.body.party), keyId: key.id, secret: String(key.body.secret) };
}
const bankAtAirline = await partnerOf(airline, 'bank');
const airlineAtBank = await partnerOf(bank, 'airline');

async function called(shop: Shop, partner: number, { keyId, secret }: { keyId: string; secret: string }) {
  const draft = { partner, program: shop.program.number, url: engine.url, keyId, secret };
  await setEndpoint(pool, app.identity, draft);
}
await called(airline, bankAtAirline.number, airlineAtBank);
await called(bank, airlineAtBank.number, bankAtAirline);

async function linkedPair(): Promise<[flyer: string, saver: string]> {
  const [flyer, saver] = [await airline.enrol('flyer'), await bank.enrol('saver')];
  const made = await bank.checkout('POST', `/v1/members/${saver}/link-codes`, { partner: 'airline' });
  const body = { partner: 'bank', account: saver, code: String(made.body.code) };
  const answer = await waitFor('the two are linked', async () => {
    const tried = await airline.checkout('POST', `/v1/members/${flyer}/links`, body);
    return tried.status === 201 ? tried : undefined;
  });
  expect(answer.body.partner).toBe('bank');
  return [flyer, saver];
}

/** What the caller of a program is told in the end. */
async function exchanged(shop: Shop, partner: number, body: object) {
  const begun = await shop.checkout('POST', '/v1/exchanges', { ...body, reference: reference() });
  expect(begun.status).toBeLessThan(300);
  return waitFor(
    'the exchange is completed',
    async () => {
      for (const id of await claimDue(pool, partner, 10, 1)) await worker.saga.drive(id, Date.now() + 5_000);
      const answer = await shop.checkout('GET', `/v1/exchanges/${begun.id}`);
      if (answer.body.status !== 'completed') throw new Error(JSON.stringify(answer.body.history));
      return answer;
    },
    20_000,
  );
}

test('points go from one program to the other and back, and both sides’ books say the same', async () => {
  const [flyer, saver] = await linkedPair();
  await airline.accrue(flyer, 100, { durability: 'ledger' });
  const out = { member: flyer, partner: 'bank', direction: 'out', points: 80 };
  await exchanged(airline, bankAtAirline.number, out);
  expect((await airline.balances(flyer)).available).toBe(20);
  expect((await bank.balances(saver)).available).toBe(40);

  await exchanged(airline, bankAtAirline.number, { ...out, direction: 'in', points: 10 });
  expect((await airline.balances(flyer)).available).toBe(50);
  expect((await bank.balances(saver)).available).toBe(30);

  const back = { member: saver, partner: 'airline', direction: 'out', points: 20 };
  await exchanged(bank, airlineAtBank.number, back);
  expect((await airline.balances(flyer)).available).toBe(60);
  expect((await bank.balances(saver)).available).toBe(10);

  await engine.drained();
  expect(await partnerAccount(pool, airline, bankAtAirline.number)).toBe(80 - 30 - 10);
  expect(await partnerAccount(pool, bank, airlineAtBank.number)).toBe(-40 + 10 + 20);
});

test('what the other program refuses goes back, with the word of the refusal', async () => {
  const [flyer, saver] = await linkedPair();
  const body = { member: flyer, partner: 'bank', direction: 'in', points: 10, reference: reference() };
  const poor = await airline.checkout('POST', '/v1/exchanges', body);
  expect([poor.status, poor.code, poor.body.reason]).toEqual([
    409,
    'exchange_refused',
    'insufficient_points',
  ]);
  await airline.accrue(flyer, 100, { durability: 'ledger' });
  const gone = { reference: reference(), reason: 'left' };
  expect((await bank.admin('POST', `/v1/members/${saver}/close`, gone)).status).toBe(200);
  const out = { member: flyer, partner: 'bank', direction: 'out', points: 80, reference: reference() };
  const answer = await airline.checkout('POST', '/v1/exchanges', out);
  expect([answer.status, answer.code]).toEqual([409, 'exchange_refused']);
  await engine.drained();
  expect(await airline.balances(flyer)).toEqual({ available: 100, pending: 0, held: 0, debt: 0 });
});

test('what is asked by keys is planned once and by indexes, also while there are few exchanges', async () => {
  const [flyer] = await linkedPair();
  await airline.accrue(flyer, 100);
  const body = { member: flyer, partner: 'bank', direction: 'out', points: 10 };
  const { id: quote } = await airline.checkout('POST', '/v1/exchanges/quote', body);
  for (const asked of [body, { quote }]) {
    const named = { ...asked, reference: reference() };
    expect((await airline.checkout('POST', '/v1/exchanges', named)).status).toBe(201);
  }
  const { keyedPool } = app;
  const clients = await Promise.all(Array.from({ length: keyedPool.totalCount }, () => keyedPool.connect()));
  const planned = new Set<string>();
  for (const client of clients) {
    const { rows } = await client.query<{ name: string; parameters: number; custom: number }>(
      `select name, coalesce(array_length(parameter_types, 1), 0) as parameters, custom_plans::int as custom from pg_prepared_statements`,
    );
    for (const { name, parameters, custom } of rows) {
      const values = Array.from({ length: parameters }, () => 'null').join();
      const { rows: plans } = await client.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
        `explain (format json) execute "${name}"(${values})`,
      );
      const scans = [...scansOf(plans[0]!['QUERY PLAN'][0].Plan)].filter(
        ({ how, table }) => growing.test(table) && /^(?:Seq|Index.*) Scan$/.test(how),
      );
      expect({ name, custom, whole: scans.filter(({ isPart }) => !isPart) }).toEqual({
        name,
        custom: 0,
        whole: [],
      });
      planned.add(name);
    }
    client.release();
  }
  for (const name of ['links-held', 'exchanges-used', 'exchanges-begin-new', 'exchanges-begin-quoted'])
    expect(planned).toContain(name);
});

/** How often rows of exchanges were changed, and how often so that no index was touched. */
async function updates(): Promise<{ readonly all: number; readonly hot: number }> {
  for (const each of [app.pool, app.keyedPool]) {
    const clients = await Promise.all(Array.from({ length: each.totalCount }, () => each.connect()));
    for (const client of clients) {
      await client.query('select pg_stat_force_next_flush()');
      client.release();
    }
  }
  const { rows } = await pool.query<{ all: number; hot: number }>(
    `select n_tup_upd::int as all, n_tup_hot_upd::int as hot from pg_stat_user_tables where relname = 'exchange'`,
  );
  return rows[0]!;
}

test('of the four times that an exchange is changed, only its first send and its end touch indexes', async () => {
  const [flyer] = await linkedPair();
  await airline.accrue(flyer, 1_000, { durability: 'ledger' });
  const before = await updates();
  const count = 10;
  for (let i = 0; i < count; i += 1) {
    const body = { member: flyer, partner: 'bank', direction: 'out', points: 10, reference: reference() };
    const prefer = { headers: { prefer: 'wait=10' } };
    expect((await airline.checkout('POST', '/v1/exchanges', body, prefer)).status).toBe(201);
  }
  const after = await updates();
  expect(after.all - before.all).toBe(4 * count);
  // A lease is renewed, which an index is about, where two steps lie seconds apart.
  expect(after.hot - before.hot).toBeGreaterThanOrEqual(2 * count - 2);
});

test('a database that is named by a path to its socket is asked in the same way, and with the options it is named with', async () => {
  const named = 'postgres://points:secret@/points?host=/run/postgresql&options=-c%20search_path%3Dloyalty';
  await using stack = new AsyncDisposableStack();
  const keyed = createKeyedPool(named, 1);
  stack.defer(() => keyed.end());
  const { connectionParameters } = new pg.Client(keyed.options) as unknown as {
    connectionParameters: { host: string; options: string };
  };
  expect(connectionParameters.host).toBe('/run/postgresql');
  expect(connectionParameters.options).toMatch(
    /^-c search_path=loyalty -c plan_cache_mode=force_generic_plan /,
  );
});
