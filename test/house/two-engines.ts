/**
 * Two instances of this service, each with a program of its own and processes of its own, that are partners of each other by nothing
 * but their public partner APIs; what goes from one to the other goes through a network that can be cut.
 */
import { createIdentity } from '#src/members/identity.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { type Link, startProxy } from '../../loadtest/chaos/proxy.ts';
import { noLimits, partnerAccount } from './alliance.ts';
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
  /** Between the other and this side's API. */
  readonly link: Link;
}

export const opening = 5_000;

export async function openSide(other: string): Promise<Side> {
  const engine = await spawnEngine({ env: { PARTNER_TIMEOUT_MS: '2000' } });
  const [, shop] = await Promise.all([engine.startAlliance(), engine.shop()]);
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
    limits: noLimits,
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
  const link = await startProxy(`to the partner of ${other}`, Number(new URL(engine.apis[0]!.url).port));
  return { engine, shop, other, member, link };
}

export async function closeSide({ engine, link }: Side): Promise<void> {
  await engine.end();
  await link.close();
}

/** Makes a key for `caller` at `callee` and tells `caller` to call there with it. */
export async function letCall(caller: Side, callee: Side): Promise<void> {
  const key = await callee.shop.admin('POST', '/v1/keys', { client: callee.other, role: 'partner' });
  const { pool } = caller.engine.stores;
  const program = caller.shop.program.number;
  const identity = createIdentity(Buffer.from(caller.engine.env.IDENTITY_KEY!, 'base64'));
  const partner = (await partnerNamed(pool, program, caller.other))!.number;
  const credentials = { keyId: key.id, secret: String(key.body.secret) };
  const url = `http://127.0.0.1:${callee.link.port}`;
  await setEndpoint(pool, identity, { partner, program, url, ...credentials });
}

/** Links the members of both sides by one code of the callee's. */
export async function linkMembers(caller: Side, callee: Side): Promise<Answer> {
  const codes = `/v1/members/${callee.member}/link-codes`;
  const { code } = (await callee.shop.admin('POST', codes, { partner: callee.other })).body;
  const body = { partner: caller.other, account: callee.member, code };
  return waitFor('the other side knows the key', async () => {
    const answer = await caller.shop.admin('POST', `/v1/members/${caller.member}/links`, body);
    return answer.status < 300 ? answer : undefined;
  });
}

/** What went from a side to the other by its books. */
export async function went({ engine, shop, other }: Side): Promise<number> {
  const { pool } = engine.stores;
  await engine.drained();
  return partnerAccount(pool, shop, (await partnerNamed(pool, shop.program.number, other))!.number);
}

/** How many exchanges of a side are in each state, and how many breaks are open. */
export async function statesOf({ engine }: Side): Promise<Readonly<Record<string, number>>> {
  const { rows } = await engine.stores.pool.query<{ state: string; count: number }>(
    `select state, count(*)::int as count from exchange group by state
     union all select 'break', count(*)::int from exchange_break`,
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

/** How many exchanges somebody still has to go on with. */
export async function underWay({ engine }: Side): Promise<number> {
  const { rows } = await engine.stores.pool.query<{ count: number }>(
    `select count(*)::int as count from exchange where state not in ('quoted', 'completed', 'refused', 'reversed', 'in_review')`,
  );
  return rows[0]!.count;
}
