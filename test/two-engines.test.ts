/**
 * Two instances of this service, each with a program of its own, are partners by nothing but their public partner APIs: a member is
 * linked by one code, points move both ways while processes of both are killed, and no point is created or lost.
 */
import { afterAll, expect, test } from 'vitest';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { reference, waitFor } from './harness.ts';
import { partnerAccount } from './house/alliance.ts';
import { letCall, linkMembers, opening, type Side, sideOf } from './house/two-engines.ts';

const west = await sideOf('east');
afterAll(() => west.engine.end());
const east = await sideOf('west');
afterAll(() => east.engine.end());
await letCall(west, east);
await letCall(east, west);

test('a member is linked by one code, and each side knows it', async () => {
  const linked = await linkMembers(west, east);
  expect(linked.body).toMatchObject({ object: 'partnerLink', partner: west.other });
  for (const { shop, member } of [west, east]) {
    const links = await shop.admin('GET', `/v1/members/${member}/links`);
    expect(links.at('data')).toHaveLength(1);
  }
});

/** What went from a side to the other by its books. */
async function went({ engine, shop, other }: Side): Promise<number> {
  const { pool } = engine.stores;
  await engine.drained();
  return partnerAccount(pool, shop, (await partnerNamed(pool, shop.program.number, other))!.number);
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
    for (let i = 0; i < 5; i += 1) {
      exchanges.push(exchanged(west, 'out', base + i), exchanged(west, 'in', base + 10 + i));
      // What leaves the east comes to the west.
      exchanges.push(exchanged(east, 'out', base + 20 + i).then((points) => -points));
      exchanges.push(exchanged(east, 'in', base + 40 + i).then((points) => -points));
    }
  };
  for (const [round, victim] of [east, west, east, west].entries()) {
    batch(100 * (round + 1));
    await Promise.race(exchanges.slice(-20));
    await killedAndBack(victim);
  }
  const moved = (await Promise.all(exchanges)).reduce((sum, points) => sum + points, 0);
  expect([await went(west), await went(east)]).toEqual([moved, -moved]);
  const balances = await Promise.all([west, east].map(({ shop, member }) => shop.balances(member)));
  expect(balances).toEqual([
    { available: opening - moved, pending: 0, held: 0, debt: 0 },
    { available: opening + moved, pending: 0, held: 0, debt: 0 },
  ]);
}, 300_000);
