/**
 * Many processes go on with one redemption of a pool at once: at each of its steps one of them stands still, and four others, who have seen what it
 * saw and asked the same wallets, stand behind it. Then all go on, while somebody else spends of the same pool. Each part is held and
 * captured once, nothing is planned twice, and nobody is refused for points that the redemption itself holds.
 */
import { afterAll, expect, test } from 'vitest';
import { createCollector } from '#src/pools/collecting.ts';
import type { OperationHex } from '#src/values.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import { figuresOf, type Household, household, householdFile, leave, spend } from './house/household.ts';
import { type Step, stallAt } from './house/stall.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, stores } = engine;
const shop = await engine.shop({ definition: householdFile });

const driverCount = 4;
const held: Step = { on: 'update on pool_part', when: `new.state = 'held'` };
const redemptionIs = (state: string): Step => ({
  on: 'update on pool_redemption',
  when: `new.state = '${state}'`,
});

/** Repeats a redemption of the pool until it is answered for good. */
function spent(house: Household, by: number, points: number): Promise<Answer> {
  const once = { reference: reference() };
  return waitFor(
    'it is answered for good',
    async () => {
      const answer = await spend(shop, house.pool, house.residents[by]!, points, once);
      const isOpen = [202, 503, 504].includes(answer.status) || answer.code === 'reference_in_progress';
      return isOpen ? undefined : answer;
    },
    60_000,
  );
}

async function begunIn({ pool: id }: Household): Promise<OperationHex> {
  const { rows } = await pool.query<{ redemption: OperationHex }>(
    `select replace(redemption::text, '-', '') as redemption from pool_redemption where pool = $1 order by made_at limit 1`,
    [Number.parseInt(id.slice(5), 36)],
  );
  return rows[0]!.redemption;
}

/** Waits until everybody stands behind the one who was stopped. */
function allStand(): Promise<true> {
  return waitFor(
    'all drivers stand',
    async () => {
      const { rows } = await pool.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and wait_event <> 'advisory'`,
      );
      return rows[0]!.count >= driverCount ? true : undefined;
    },
    20_000,
  );
}

/** How often each part of a redemption moved in the books. */
async function movesOf(redemption: OperationHex): Promise<string[]> {
  await engine.drained();
  const { rows } = await pool.query<{ move: string }>(
    `select (o.request #>> '{body,part}') || ' ' || o.kind || ' ' || count(*) as move from operation o
     where o.request #>> '{body,redemption}' = $1 and o.effect::text like '%"legs":[[%'
     group by o.request #>> '{body,part}', o.kind order by 1`,
    [`prd_${redemption}`],
  );
  return rows.map(({ move }) => move);
}

const paying: readonly (readonly [string, Step])[] = [
  ['to add a plan', { on: 'insert on pool_part' }],
  ['to note what is held', held],
  ['to decide', redemptionIs('capturing')],
  ['to note what is captured', { on: 'update on pool_part', when: `new.state = 'captured'` }],
  ['to end it', redemptionIs('redeemed')],
];
const refusing: readonly (readonly [string, Step])[] = [
  ['to refuse it', redemptionIs('giving_back')],
  ['to note what went back', { on: 'update on pool_part', when: `new.state = 'returned'` }],
  ['to end what is refused', redemptionIs('refused')],
];

/** Stops the first that comes to the step; others come behind it, and somebody else wants to spend meanwhile. */
async function drivenByAll(house: Household, step: Step, isRefused: boolean) {
  const stalls = await stallAt(stores.databaseUrl, isRefused ? [held, step] : [step]);
  const sent = spent(house, 1, 70);
  const [first, second] = stalls.at;
  await first!.reached();
  if (second) {
    expect((await leave(shop, house.pool, house.residents[1]!)).status).toBe(200);
    await first!.letGo();
    await second.reached();
  }
  const redemption = await begunIn(house);
  const drivers = Array.from({ length: driverCount }, () =>
    createCollector(app).drive(redemption, Date.now() + 20_000, 'ended'),
  );
  const driven = Promise.all(drivers);
  await allStand();
  const other = spent(house, 0, 30);
  await stalls.remove();
  return { redemption, driven: await driven, answer: await sent, other: await other };
}

test.each([
  ...paying.map(([what, step]) => [what, step, false] as const),
  ...refusing.map(([what, step]) => [what, step, true] as const),
])(
  'all of them about %s, they do it once',
  async (_, step, isRefused) => {
    const house = await household(shop, [40, 40, 40]);
    const { redemption, driven, answer, other } = await drivenByAll(house, step, isRefused);
    expect(other.status).toBe(201);
    expect(new Set(driven.map(({ state }) => state))).toEqual(new Set([isRefused ? 'refused' : 'redeemed']));
    expect(answer.code || answer.status).toBe(isRefused ? 'spender_not_allowed' : 201);
    const end = isRefused ? 'release' : 'capture';
    expect(await movesOf(redemption)).toEqual([`1 ${end} 1`, '1 hold 1', `2 ${end} 1`, '2 hold 1'].sort());
    const figures = await figuresOf(shop, house.residents);
    expect(figures.every(({ held: open, debt }) => open + debt === 0)).toBe(true);
    const left = figures.reduce((sum, { available }) => sum + available, 0);
    expect(left).toBe(isRefused ? 90 : 20);
  },
  90_000,
);
