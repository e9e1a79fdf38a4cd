/** Two instances of this service, each with a program of its own, that are partners by nothing but their public partner APIs. */
import { createIdentity } from '#src/members/identity.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import type { Answer } from './client.ts';
import { reference, type Shop } from './shop.ts';
import { type SpawnedEngine, spawnEngine } from './spawn.ts';
import { waitFor } from './waiting.ts';

/** One of the two, with what it calls the other. */
export interface Side {
  readonly engine: SpawnedEngine;
  readonly shop: Shop;
  readonly other: string;
  readonly member: string;
}

/** Points of each side's member. */
export const opening = 5_000;
const limits = Object.fromEntries(
  ['accountAge', 'contactHold', 'member', 'card', 'terminal', 'roundTrip', 'partnerDaily'].map((name) => [
    name,
    'none',
  ]),
);

/** An engine with the worker of exchanges, a partner called `other` and a member with points. It is the caller's to end. */
export async function sideOf(other: string): Promise<Side> {
  const engine = await spawnEngine({ env: { PARTNER_TIMEOUT_MS: '2000' } });
  await engine.startAlliance();
  const shop = await engine.shop();
  const rate = {
    currency: 'points',
    partnerCurrency: 'points',
    from: '2020-01-01',
    ratio: { give: 1, receive: 1 },
  };
  const contract = {
    from: '2020-01-01',
    billing: { kind: 'postpaid' },
    settleOn: 'issue',
    currency: 'EUR',
    prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
    limits,
  };
  const rates = [
    { ...rate, direction: 'out' },
    { ...rate, direction: 'in' },
  ];
  const file = { partner: other, title: other, contracts: [contract], rates };
  const applied = await shop.admin('POST', '/v1/partners', { source: JSON.stringify(file) });
  if (applied.status !== 201) throw new Error(`no partner: ${JSON.stringify(applied.body)}`);
  const member = (await shop.pos('POST', '/v1/members', { member: reference('flyer') })).id;
  await shop.accrue(member, opening, { durability: 'ledger' });
  return { engine, shop, other, member };
}

/** Makes a key for `caller` at `callee` and tells `caller` to call there with it. */
export async function letCall(caller: Side, callee: Side): Promise<void> {
  const key = await callee.shop.admin('POST', '/v1/keys', { client: callee.other, role: 'partner' });
  const { pool } = caller.engine.stores;
  const program = caller.shop.program.number;
  const identity = createIdentity(Buffer.from(caller.engine.env.IDENTITY_KEY!, 'base64'));
  const partner = (await partnerNamed(pool, program, caller.other))!.number;
  const credentials = { keyId: key.id, secret: String(key.body.secret) };
  await setEndpoint(pool, identity, { partner, program, url: callee.engine.apis[0]!.url, ...credentials });
}

/** Links the member of one side with that of the other by a code of the other's. */
export async function linkMembers(west: Side, east: Side): Promise<Answer> {
  const { code } = (
    await east.shop.admin('POST', `/v1/members/${east.member}/link-codes`, { partner: east.other })
  ).body;
  const body = { partner: west.other, account: east.member, code };
  return waitFor('the other side knows the key', async () => {
    const answer = await west.shop.admin('POST', `/v1/members/${west.member}/links`, body);
    return answer.status < 300 ? answer : undefined;
  });
}
