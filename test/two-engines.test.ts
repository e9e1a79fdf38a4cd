/**
 * Two instances of this service, each with a program of its own, are partners by nothing but their public partner APIs: a member is
 * linked by one code, points move both ways while processes of both are killed and while connections between them are cut, and no
 * point is created or lost.
 *
 * `TWO_ENGINES_SECONDS=600 npx vitest run test/two-engines.test.ts` cuts connections for ten minutes; `TWO_ENGINES_SEED` says which, and when.
 */
import { afterAll, expect, test } from 'vitest';
import { createIdentity } from '#src/members/identity.ts';
import { usualPatience } from '#src/partners/exchange/policy.ts';
import { resolveExchange } from '#src/partners/exchange/resolving.ts';
import type { OperationHex } from '#src/values.ts';
import { beginUntil, cutLinks } from '../loadtest/chaos/cutting.ts';
import { createRandom, type Random } from '../loadtest/chaos/random.ts';
import { reference, waitFor } from './harness.ts';
import {
  closeSide,
  letCall,
  linkMembers,
  opening,
  openSide,
  type Side,
  statesOf,
  underWay,
  went,
} from './house/two-engines.ts';

const seconds = Number(process.env.TWO_ENGINES_SECONDS ?? 8);
const seed = Number(process.env.TWO_ENGINES_SEED ?? 20_261_123);

const [west, east] = await Promise.all([openSide('east'), openSide('west')]);
const both = [west, east] as const;
afterAll(() => Promise.all(both.map(closeSide)));
await Promise.all([letCall(west, east), letCall(east, west)]);

test('a member is linked by one code, and each side knows it', async () => {
  const linked = await linkMembers(west, east);
  expect(linked.body).toMatchObject({ object: 'partnerLink', partner: west.other });
  for (const { shop, member } of both) {
    const links = await shop.admin('GET', `/v1/members/${member}/links`);
    expect(links.at('data')).toHaveLength(1);
  }
});

/** What left a side and came to the other is the same by both books, and what the members have is what is left. */
async function expectNothingLost(): Promise<number> {
  const [fromWest, fromEast] = [await went(west), await went(east)];
  expect(fromEast + fromWest).toBe(0);
  const balances = await Promise.all(both.map(({ shop, member }) => shop.balances(member)));
  expect(balances).toEqual([
    { available: opening - fromWest, pending: 0, held: 0, debt: 0 },
    { available: opening - fromEast, pending: 0, held: 0, debt: 0 },
  ]);
  return fromWest;
}

/** Exchanges, and sends the same again until it has an end; answers what left the side by it. */
async function exchanged(
  { shop, member, other }: Side,
  direction: 'out' | 'in',
  points: number,
): Promise<number> {
  const body = { member, partner: other, direction, points, reference: reference() };
  const ended = await waitFor(
    `an exchange ${direction} has ended`,
    async () => {
      const answer = await shop.admin('POST', '/v1/exchanges', body);
      // Many at once may want more than the member has at the moment: nothing moves, and the reference stays refused.
      if (answer.status === 201 || ['exchange_refused', 'insufficient_points'].includes(answer.code ?? ''))
        return answer;
      throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
    },
    120_000,
    // Each asking is a call on a service that has enough to do.
    250,
  );
  if (ended.status !== 201) return 0;
  expect(ended.body.status).toBe('completed');
  return direction === 'out' ? points : -points;
}

async function killedAndBack({ engine }: Side): Promise<void> {
  const [api] = engine.apis;
  await api!.kill();
  engine.apis[0] = await engine.startApi(Number(new URL(api!.url).port));
}

test('points move both ways while each side is killed twice, and none is created or lost', async () => {
  const exchanges: Promise<number>[] = [];
  const batch = (base: number) => {
    for (let i = 0; i < 3; i += 1) {
      exchanges.push(exchanged(west, 'out', base + i), exchanged(west, 'in', base + 10 + i));
      // What leaves the east comes to the west.
      exchanges.push(exchanged(east, 'out', base + 20 + i).then((points) => -points));
      exchanges.push(exchanged(east, 'in', base + 40 + i).then((points) => -points));
    }
  };
  for (const [round, victim] of [east, west, east, west].entries()) {
    batch(100 * (round + 1));
    await Promise.race(exchanges.slice(-12));
    await killedAndBack(victim);
  }
  const moved = (await Promise.all(exchanges)).reduce((sum, points) => sum + points, 0);
  expect(await expectNothingLost()).toBe(moved);
}, 300_000);

const atOnceMax = 24;
/** Repeats become five minutes apart where connections are cut for long. */
const endMsMax = 60_000 + 2 * usualPatience.retryMsMax;

/** Exchanges by chance, from either side and in either direction. */
function exchangeByChance(random: Random): Promise<unknown> {
  const { shop, member, other } = random.pick(both);
  const direction = random.pick(['out', 'in'] as const);
  const body = { member, partner: other, direction, points: random.whole(1, 60), reference: reference() };
  return shop.admin('POST', '/v1/exchanges', body, { headers: { prefer: 'wait=1' } });
}

/** A person has looked at what was parked, and lets it go on. */
async function resumeParked({ engine }: Side): Promise<number> {
  const { pool } = engine.stores;
  const identity = createIdentity(Buffer.from(engine.env.IDENTITY_KEY!, 'base64'));
  const { rows } = await pool.query<{ exchange: OperationHex }>(
    `select replace(exchange::text, '-', '') as exchange from exchange where state = 'in_review'`,
  );
  for (const { exchange } of rows) {
    const decision = { verdict: 'retry' as const, actor: 'anna', reason: 'the network is back' };
    await resolveExchange(pool, identity, exchange, decision);
  }
  return rows.length;
}

test(
  'points move both ways while connections are cut, every exchange ends or is parked, and none is created or lost',
  async () => {
    const random = createRandom(seed);
    const untilMs = performance.now() + seconds * 1_000;
    const [cuts, chance] = [random.fork(), random.fork()];
    const [harmed, count] = await Promise.all([
      cutLinks([west.link, east.link], cuts, untilMs),
      beginUntil(untilMs, atOnceMax, () => exchangeByChance(chance)),
    ]);
    expect(harmed).toBeGreaterThan(3);
    expect(count).toBeGreaterThan(20);
    for (const side of both) {
      const over = async () => {
        if ((await resumeParked(side)) + (await underWay(side)) === 0) return true;
        throw new Error(JSON.stringify(await statesOf(side)));
      };
      await waitFor('every exchange has ended', over, endMsMax, 100);
    }
    await expectNothingLost();
    for (const side of both) {
      const states = await statesOf(side);
      expect(states.completed, JSON.stringify(states)).toBeGreaterThan(5);
      expect(states.break, JSON.stringify(states)).toBe(0);
    }
  },
  seconds * 1_000 + 2 * endMsMax,
);
