/** Households: who may spend whose points, whose go first, and what is left to whom. */
import { afterAll, describe, expect, test } from 'vitest';
import { reference, startEngine } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  household,
  householdFile,
  join,
  leave,
  partsOf,
  resident,
  spend,
} from './house/household.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

describe('a pool', () => {
  test('shows what each member has and what all have together', async () => {
    const { pool, residents } = await household(shop, [30, 0, 12]);
    const answer = await shop.care('GET', `/v1/pools/${pool}`);
    expect(answer.body).toMatchObject({
      object: 'pool',
      id: pool,
      status: 'open',
      policy: { spenders: 'all', order: 'soonest_expiry', membersMax: 20, coolingDays: 0 },
      balances: {
        points: { available: 42, pending: 0, held: 0, debt: 0, spendable: 42 },
        miles: { available: 0 },
      },
    });
    expect(answer.body.balances).not.toHaveProperty('coins');
    const members = answer.body.members as { member: string; isHead: boolean; mayUse: boolean }[];
    expect(members.map(({ member, isHead, mayUse }) => [member, isHead, mayUse])).toEqual(
      residents.map(({ member }, i) => [member, i === 0, true]),
    );
    const own = await shop.care('GET', `/v1/members/${residents[2]!.member}/pool`);
    expect(own.body).toEqual(answer.body);
    const stranger = await resident(shop);
    expect((await shop.care('GET', `/v1/members/${stranger.member}/pool`)).code).toBe('not_found');
    expect((await shop.care('GET', '/v1/pools/pool_zzzzzzzz')).code).toBe('not_found');
    expect((await shop.care('GET', '/v1/pools/nonsense')).code).toBe('not_found');
  });

  test('is paid from by any member, from the lots of all that end first', async () => {
    const { pool, residents } = await household(shop, [100, 0, 0]);
    const [head, second, third] = residents as [never, never, never];
    await give(shop, second, 40, 'year');
    await give(shop, third, 25, 'month');
    await give(shop, third, 10, 'forever');
    const answer = await spend(shop, pool, head, 80, { order: 'O-1' });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({
      object: 'poolRedemption',
      status: 'redeemed',
      pool,
      points: 80,
      currency: 'points',
      order: 'O-1',
      ledger: { durability: 'ledger' },
    });
    expect(partsOf(answer).map(({ member, points }) => [member, points])).toEqual([
      [residents[2]!.member, 25],
      [residents[1]!.member, 40],
      [residents[0]!.member, 15],
    ]);
    expect(await availableOf(shop, residents)).toEqual([85, 0, 10]);
    const shown = await shop.care('GET', `/v1/pools/${pool}/redemptions/${answer.id}`);
    expect(shown.body).toEqual(answer.body);
    const part = partsOf(answer)[0]!;
    const operation = await shop.care('GET', `/v1/operations/${part.id}`);
    expect(operation.body).toMatchObject({ kind: 'capture', member: part.member });
  });
});

void [figuresOf, join, leave, reference];
