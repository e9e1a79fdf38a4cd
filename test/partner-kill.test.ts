/** kill -9 of the API under a partner's calls: what was answered holds, what was not is repeated, and copies stay refused. */
import { afterAll, expect, test } from 'vitest';
import { partnerCalls } from '#src/partners/protocol/calls.ts';
import { reference, waitFor } from './harness.ts';
import { freshNonce, linked, openPartner, seconds } from './house/partner.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ apis: 2 });
afterAll(() => engine.end());
const { pool } = engine.stores;
const shop = await engine.shop();
const partner = await openPartner({ pool, http: engine.http }, shop);
const account = await linked(shop, partner, await shop.enrol('li'), 'FF-1');
const { path } = partnerCalls.accrue;

const accrual = () => ({ reference: reference('flight'), account, points: 10, occurredAt: shop.time() });

async function available(): Promise<number> {
  return (await shop.balances(account)).available;
}

async function toPartner(): Promise<number> {
  await engine.drained();
  const { rows } = await pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::float8 as points from account_balance where account = 'partner' and party = $1`,
    [partner.number],
  );
  return rows[0]!.points;
}

test('a copy of a call is refused by younger processes', { timeout: 120_000 }, async () => {
  const stamp = { timestamp: seconds(), nonce: freshNonce() };
  const body = accrual();
  const first = await partner.call('POST', path, body, { stamp });
  expect(first.status).toBeLessThan(203);
  for (const [i, api] of engine.apis.entries()) {
    await api.kill();
    engine.apis[i] = await engine.startApi();
  }
  const copy = await partner.call('POST', path, body, { stamp });
  expect(copy.body).toMatchObject({ code: 'signature_invalid', reason: 'replayed' });
  const repeat = await partner.call('POST', path, body);
  expect([repeat.replayed, repeat.body.id]).toEqual([true, first.body.id]);
});

/** Sends calls to the second API, which is killed under them, and then each again to the first until it is answered. */
async function cutOff(target: string, bodies: readonly object[]): Promise<void> {
  const victim = engine.apis[1]!;
  const sent = bodies.map((body) =>
    partner.call('POST', target, body, { at: victim.http }).catch(() => undefined),
  );
  await Promise.race(sent);
  await victim.kill();
  await Promise.all(sent);
  const repeat = (body: object) =>
    waitFor('the call is answered', async () => {
      return (await partner.call('POST', target, body)).body.status === 'succeeded';
    });
  await Promise.all(bodies.map(repeat));
}

const given = Array.from({ length: 30 }, accrual);

test('accruals that were cut off are repeated, and each has happened once', {
  timeout: 120_000,
}, async () => {
  const before = [await available(), await toPartner()] as const;
  await cutOff(path, given);
  expect([await available(), await toPartner()]).toEqual([before[0] + 300, before[1] - 300]);
  engine.apis[1] = await engine.startApi();
});

test('so are reversals, and nothing is taken back twice', { timeout: 120_000 }, async () => {
  const before = [await available(), await toPartner()] as const;
  const back = given.map(({ reference: originalReference }) => ({
    reference: reference('back'),
    originalKind: 'accrual',
    originalReference,
    points: 4,
    occurredAt: shop.time(),
  }));
  await cutOff(partnerCalls.reverse.path, back);
  expect([await available(), await toPartner()]).toEqual([before[0] - 120, before[1] + 120]);
  const asked = await Promise.all(given.map((body) => partner.inquire('accrual', body.reference)));
  expect(asked.map(({ body: { reversed } }) => reversed)).toEqual(Array(30).fill(4));
  engine.apis[1] = await engine.startApi();
});
