/**
 * kill -9 of the API at every step of an exchange, both ways: the worker finishes what was begun, and what the books and the partner
 * say went there is the same.
 */
import { afterAll, expect, test } from 'vitest';
import { createIdentity } from '#src/members/identity.ts';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { reference, waitFor } from './harness.ts';
import { ally, partnerAccount } from './house/alliance.ts';
import { spawnEngine } from './house/spawn.ts';
import { type Step, stallAt } from './house/stall.ts';

const engine = await spawnEngine({ apis: 2, env: { PARTNER_TIMEOUT_MS: '500' } });
afterAll(() => engine.end());
await engine.startAlliance();
const { stores } = engine;
const shop = await engine.shop();
const identity = createIdentity(Buffer.from(engine.env.IDENTITY_KEY!, 'base64'));
const air = await ally({ pool: stores.pool, identity }, shop);
afterAll(() => air.far.close());

const state = (name: string): Step => ({
  on: 'update on exchange',
  when: `new.state = '${name}' and old.state <> '${name}'`,
});
const out: Readonly<Record<string, Step>> = {
  'before it is begun': { on: 'insert on exchange', when: `new.state = 'holding'` },
  'with points held and not noted': state('ready'),
  'before anything is sent': state('calling'),
  'with the answer not noted': state('capturing'),
  'with points captured and not noted': state('completed'),
};
const into: Readonly<Record<string, Step>> = {
  'before anything is sent': state('calling'),
  'with the answer not noted': state('crediting'),
  'with points credited and not noted': state('completed'),
};

/** Runs an exchange on an API that is killed at the step, and repeats it elsewhere; answers its id. */
async function killedAt(step: Step, body: object): Promise<string> {
  const stalls = await stallAt(stores.databaseUrl, [step]);
  const victim = engine.apis[1]!;
  const request = { ...body, partner: air.name, reference: reference() };
  const sent = victim
    .http('POST', '/v1/exchanges', request, { key: shop.tokens.admin, timeoutMs: 60_000 })
    .catch(() => undefined);
  await stalls.at[0]!.reached();
  await victim.kill();
  await stalls.remove();
  await sent;
  const back = engine.startApi();
  // What was begun is taken up when its lease ends: here it ends at once.
  await stores.pool.query('update exchange set due_at = now() where due_at > now()');
  const answer = await waitFor(
    'the exchange is over',
    async () => {
      const repeated = await shop.admin('POST', '/v1/exchanges', request);
      return repeated.status === 201 ? repeated : undefined;
    },
    60_000,
    100,
  );
  engine.apis[1] = await back;
  return answer.id;
}

async function booksAndPartner() {
  await engine.drained();
  return { went: await partnerAccount(stores.pool, shop, air.number), there: air.far.points() };
}

test.each(Object.keys(out))(
  'points that go out survive kill -9 %s',
  async (step) => {
    const member = await air.member(100);
    const before = await booksAndPartner();
    const id = await killedAt(out[step]!, { member, direction: 'out', points: 80 });
    expect(await booksAndPartner()).toEqual({ went: before.went + 80, there: before.there + 40 });
    expect(await shop.balances(member)).toEqual({ available: 20, pending: 0, held: 0, debt: 0 });
    expect(parseExchangeId(id)).toBeDefined();
  },
  120_000,
);

test.each(Object.keys(into))(
  'points that come in survive kill -9 %s',
  async (step) => {
    const member = await air.member(0);
    const before = await booksAndPartner();
    await killedAt(into[step]!, { member, direction: 'in', points: 40 });
    expect(await booksAndPartner()).toEqual({ went: before.went - 120, there: before.there - 40 });
    expect(await shop.balances(member)).toEqual({ available: 120, pending: 0, held: 0, debt: 0 });
  },
  120_000,
);
