/**
 * kill -9 of the API at every step of a pool's redemption and of its refund, and a standstill of it there: the worker finishes what
 * was begun, nothing is spent twice or held for ever, and whoever repeats the request is told what became of it. Standstills take
 * five seconds each and run with `POOL_HARMS=all`.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { type Answer, reference, waitFor } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  leave,
} from './house/household.ts';
import { type SpawnedApi, spawnEngine } from './house/spawn.ts';
import { type Step, stallAt } from './house/stall.ts';

const engine = await spawnEngine({ apis: 2, upkeep: true });
afterAll(() => engine.end());
const { stores } = engine;
const shop = await engine.shop({ definition: householdFile });

const redeeming: Readonly<Record<string, Step>> = {
  'before it is begun': { on: 'insert on pool_redemption' },
  'before it is planned': { on: 'insert on pool_part' },
  'with points held and not noted': { on: 'update on pool_part', when: `new.state = 'held'` },
  'at the decision': { on: 'update on pool_redemption', when: `new.state = 'capturing'` },
  'with points captured and not noted': { on: 'update on pool_part', when: `new.state = 'captured'` },
  'at its end': { on: 'update on pool_redemption', when: `new.state = 'redeemed'` },
};
const refunding: Readonly<Record<string, Step>> = {
  'before it is begun': { on: 'insert on pool_refund' },
  'with points back and not noted': { on: 'insert on pool_refund_part' },
  'at its end': { on: 'update on pool_refund', when: `new.state = 'refunded'` },
};

/** The API that is harmed; the shop talks to the first. */
const victim = () => engine.apis[1]!;

type Harm = (api: SpawnedApi) => Promise<() => Promise<void>>;
/** Each answers what puts the API right again, once the worker has done its work. */
const harms: Readonly<Record<string, Harm>> = {
  async 'kill -9'(api) {
    await api.kill();
    return async () => {
      engine.apis[1] = await engine.startApi();
    };
  },
  async standstill(api) {
    process.kill(api.pid, 'SIGSTOP');
    return () => Promise.resolve(void process.kill(api.pid, 'SIGCONT'));
  },
};

/** Nobody may ever answer. */
function sentToVictim(path: string, body: object): Promise<unknown> {
  const options = { key: shop.tokens.admin, timeoutMs: 60_000 };
  return victim()
    .http('POST', path, body, options)
    .catch(() => undefined);
}

/** Sends a request to the victim, which is harmed at the step; answers when the worker has nothing left to do. */
async function harmedAt(step: Step, harm: Harm, path: string, body: object): Promise<() => Promise<void>> {
  const stalls = await stallAt(stores.databaseUrl, [step]);
  const sent = sentToVictim(path, body);
  await stalls.at[0]!.reached();
  const heal = await harm(victim());
  await stalls.remove();
  await settled();
  return async () => {
    await heal();
    await sent;
  };
}

/** Nothing of any pool is under way, and nothing is held without an end. */
function settled(): Promise<true> {
  return waitFor(
    'the worker has finished what was begun',
    async () => {
      const { rows } = await stores.pool.query<{ open: number }>(
        `select (select count(*) from pool_redemption where state in ('collecting', 'giving_back', 'capturing'))::int
           + (select count(*) from pool_refund where state = 'refunding')::int
           + (select count(*) from hold where status = 'held')::int as open`,
      );
      return rows[0]!.open === 0 ? true : undefined;
    },
    60_000,
  );
}

/** What the rows say of a pool's redemptions, for whoever reads a failure. */
async function toldOf(pool: string): Promise<string> {
  const { rows } = await stores.pool.query(
    `select r.redemption, r.state, r.refusal, (select json_agg(p) from pool_part p where p.redemption = r.redemption) as parts
     from pool_redemption r where r.pool = $1`,
    [Number.parseInt(pool.slice(5), 36)],
  );
  return JSON.stringify(rows);
}

const sumOf = async ({ residents }: Household) =>
  (await availableOf(shop, residents)).reduce((sum, points) => sum + points, 0);

/** Repeats a request at another API until it is answered for good. */
function repeated(path: string, body: object): Promise<Answer> {
  return waitFor(
    'the request is answered',
    async () => {
      const answer = await shop.admin('POST', path, body);
      return [201, 409].includes(answer.status) && answer.code !== 'reference_in_progress'
        ? answer
        : undefined;
    },
    30_000,
  );
}

const chosen = process.env.POOL_HARMS === 'all' ? Object.keys(harms) : ['kill -9'];
const cases = (steps: Readonly<Record<string, Step>>) =>
  chosen.flatMap((harm) => Object.keys(steps).map((step) => [harm, step] as const));

describe('a redemption', () => {
  test.each(cases(redeeming))(
    'survives %s %s',
    async (harm, step) => {
      const house = await household(shop, [40, 40, 40]);
      const path = `/v1/pools/${house.pool}/redemptions`;
      const body = { member: house.residents[0]!.card, reference: reference(), points: 100 };
      const heal = await harmedAt(redeeming[step]!, harms[harm]!, path, body);
      const left = await sumOf(house);
      expect(step === 'before it is begun' ? [20, 120] : [20]).toContain(left);
      const answer = await repeated(path, body);
      expect([answer.status, answer.body.status]).toEqual([201, 'redeemed']);
      expect(await sumOf(house)).toBe(20);
      await heal();
      expect((await repeated(path, body)).body).toEqual(answer.body);
      await settled();
      expect(await sumOf(house)).toBe(20);
      expect((await figuresOf(shop, house.residents)).every(({ held, debt }) => held + debt === 0)).toBe(
        true,
      );
    },
    120_000,
  );

  test.each([
    ['at the decision', { on: 'update on pool_redemption', when: `new.state = 'giving_back'` }],
    ['with points given back and not noted', { on: 'update on pool_part', when: `new.state = 'returned'` }],
    ['at its end', { on: 'update on pool_redemption', when: `new.state = 'refused'` }],
  ] as const)(
    'that is refused survives kill -9 %s',
    async (_, step) => {
      const house = await household(shop, [40, 40, 40]);
      const path = `/v1/pools/${house.pool}/redemptions`;
      const spender = house.residents[1]!;
      const body = { member: spender.card, reference: reference(), points: 100 };
      const holding = redeeming['with points held and not noted']!;
      const stalls = await stallAt(stores.databaseUrl, [holding, step]);
      const [holds, refuses] = stalls.at;
      const sent = sentToVictim(path, body);
      await holds!.reached();
      // The spender leaves while the points are held, so they go back.
      expect((await leave(shop, house.pool, spender)).status).toBe(200);
      await holds!.letGo();
      await refuses!.reached();
      await victim().kill();
      await stalls.remove();
      await sent;
      const answer = await repeated(path, body);
      expect(answer.code).toBe('spender_not_allowed');
      await settled();
      expect(await figuresOf(shop, house.residents)).toEqual(
        house.residents.map(() => ({ available: 40, pending: 0, held: 0, debt: 0 })),
      );
      engine.apis[1] = await engine.startApi();
    },
    120_000,
  );

  test('of which a process died keeps no other of the same pool waiting for the worker', async () => {
    const house = await household(shop, [40, 40]);
    const path = `/v1/pools/${house.pool}/redemptions`;
    const body = { member: house.residents[0]!.card, reference: reference(), points: 30 };
    const stalls = await stallAt(stores.databaseUrl, [redeeming['with points held and not noted']!]);
    const sent = sentToVictim(path, body);
    await stalls.at[0]!.reached();
    await victim().kill();
    await stalls.remove();
    const other = await repeated(path, { ...body, reference: reference() });
    expect(other.status).toBe(201);
    engine.apis[1] = await engine.startApi();
    await sent;
    await settled();
    expect(await sumOf(house), await toldOf(house.pool)).toBe(20);
  }, 120_000);
});

describe('a refund', () => {
  test.each(cases(refunding))(
    'survives %s %s',
    async (harm, step) => {
      const house = await household(shop, [40, 0]);
      await give(shop, house.residents[1]!, 40, 'month');
      const redemptions = `/v1/pools/${house.pool}/redemptions`;
      const spent = await shop.admin('POST', redemptions, {
        member: house.residents[0]!.card,
        reference: reference(),
        points: 80,
      });
      const path = `${redemptions}/${spent.id}/refunds`;
      const body = { reference: reference(), points: 60 };
      const heal = await harmedAt(refunding[step]!, harms[harm]!, path, body);
      const answer = await repeated(path, body);
      expect([answer.status, answer.body.points]).toEqual([201, 60]);
      await heal();
      expect((await repeated(path, body)).body).toEqual(answer.body);
      await settled();
      expect(await availableOf(shop, house.residents)).toEqual([40, 20]);
    },
    120_000,
  );
});

describe('a hold', () => {
  const ending: Readonly<Record<string, readonly [mode: 'capture' | 'release', step: Step]>> = {
    'before its capture is decided': [
      'capture',
      { on: 'update on pool_redemption', when: `new.state = 'capturing'` },
    ],
    'with points captured and not noted': ['capture', redeeming['with points captured and not noted']!],
    'with points released and not noted': [
      'release',
      { on: 'update on pool_part', when: `new.state = 'returned'` },
    ],
  };
  test.each(chosen.flatMap((harm) => Object.keys(ending).map((step) => [harm, step] as const)))(
    'survives %s %s',
    async (harm, name) => {
      const house = await household(shop, [40, 40, 40]);
      const [mode, step] = ending[name]!;
      const holds = `/v1/pools/${house.pool}/holds`;
      const made = await shop.admin('POST', holds, {
        member: house.residents[0]!.card,
        reference: reference(),
        points: 100,
      });
      const path = `${holds}/${made.id}/${mode}`;
      const body = { reference: reference(), ...(mode === 'capture' ? { points: 50 } : {}) };
      const stalls = await stallAt(stores.databaseUrl, [step]);
      const sent = sentToVictim(path, body);
      await stalls.at[0]!.reached();
      const heal = await harms[harm]!(victim());
      await stalls.remove();
      const answer = await waitFor(
        'the request is answered',
        async () => {
          const again = await shop.admin('POST', path, body);
          return again.status === 200 ? again : undefined;
        },
        60_000,
      );
      await settled();
      await heal();
      await sent;
      expect((await shop.admin('POST', path, body)).body).toEqual(answer.body);
      const left = mode === 'capture' ? [0, 30, 40] : [40, 40, 40];
      expect(await availableOf(shop, house.residents)).toEqual(left);
    },
    120_000,
  );
});
