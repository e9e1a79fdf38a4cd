/** Households: who may spend whose points, whose go first, and what is left to whom. */
import { afterAll, describe, expect, test } from 'vitest';
import { parseMemberId } from '#src/values.ts';
import { reference, startEngine, waitFor } from './harness.ts';
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

describe('a place', () => {
  test('is taken with a card that the member shows, not with a number from a database', async () => {
    const { pool } = await household(shop, [1]);
    const { id } = await resident(shop);
    const named = await join(shop, pool, { id, member: id, card: { type: 'id', value: id } });
    expect(named.body).toMatchObject({ status: 400, errors: [{ pointer: '/card/type' }] });
    const unknown = await join(shop, pool, { id, member: id, card: { type: 'card', value: 'nobody' } });
    expect(unknown.code).toBe('member_not_found');
  });

  test('is the only one that a member has', async () => {
    const [one, other] = [await household(shop, [1, 1]), await household(shop, [1])];
    const second = one.residents[1]!;
    expect((await join(shop, one.pool, second)).status).toBe(200);
    expect((await join(shop, other.pool, second)).code).toBe('member_in_pool');
    const head = second.card;
    const opened = await shop.pos('POST', '/v1/pools', { reference: reference(), head });
    expect(opened.code).toBe('member_in_pool');
    expect((await leave(shop, one.pool, second)).status).toBe(200);
    expect((await leave(shop, one.pool, second)).status).toBe(200);
    expect((await join(shop, other.pool, second)).status).toBe(201);
    const stranger = await resident(shop);
    expect((await leave(shop, one.pool, stranger)).code).toBe('member_not_found');
  });

  test('of twenty who join at once two pools each gets one', async () => {
    const pools = [await household(shop, [1]), await household(shop, [1])];
    const comers = await Promise.all(Array.from({ length: 10 }, () => resident(shop)));
    const answers = await Promise.all(
      comers.flatMap((one) => pools.map(({ pool }) => join(shop, pool, one))),
    );
    const counts = Map.groupBy(answers, ({ status, code }) => code || status);
    expect([counts.get(201)?.length, counts.get('member_in_pool')?.length]).toEqual([10, 10]);
  });

  test('is refused in a pool that is full', async () => {
    const { pool } = await household(shop, [1, 1], { membersMax: 2 });
    const answer = await join(shop, pool, await resident(shop));
    expect(answer.body).toMatchObject({ code: 'pool_limit', limitedBy: 'members' });
  });

  test('is refused for as long as the pool that was left says', async () => {
    const later = await engine.shop({ mode: 'test', definition: householdFile });
    const { pool, residents } = await household(later, [1, 5], { coolingDays: 3 });
    const other = await household(later, [1]);
    await leave(later, pool, residents[1]!);
    const refused = await join(later, other.pool, residents[1]!);
    expect(refused.body).toMatchObject({ code: 'pool_limit', limitedBy: 'cooling' });
    expect(Date.parse(String(refused.body.mayJoinAt))).toBeGreaterThan(later.now() + 2 * 86_400_000);
    expect((await join(later, pool, residents[1]!)).code).toBe('pool_limit');
    await later.advance(3 * 86_400 + 1);
    expect((await join(later, other.pool, residents[1]!)).status).toBe(201);
  });

  test('that is left takes nothing along but the own points, with the ends that they always had', async () => {
    const { pool, residents } = await household(shop, [0, 0]);
    const [head, second] = residents as [never, never];
    await give(shop, second, 50, 'year');
    await give(shop, second, 50, 'month');
    const lots = async () =>
      (await shop.care('GET', `/v1/members/${residents[1]!.member}/balances`)).at('balances.points.lots');
    const before = (await lots()) as { points: number; expiresOn: string }[];
    await spend(shop, pool, head, 60);
    await leave(shop, pool, second);
    expect(await lots()).toEqual([{ ...before[1]!, points: 40 }]);
    expect((await spend(shop, pool, head, 1)).body).toMatchObject({
      code: 'insufficient_points',
      available: 0,
    });
    expect((await spend(shop, pool, second, 1)).code).toBe('spender_not_allowed');
  });

  test('of a head who leaves goes to who has been in the pool longest, and the last one ends it', async () => {
    const { pool, residents } = await household(shop, [1, 1, 1]);
    const headOf = async () => {
      const { body } = await shop.care('GET', `/v1/pools/${pool}`);
      return (body.members as { member: string; isHead: boolean }[]).find(({ isHead }) => isHead)?.member;
    };
    await leave(shop, pool, residents[0]!);
    expect(await headOf()).toBe(residents[1]!.member);
    await leave(shop, pool, residents[2]!);
    const ended = await leave(shop, pool, residents[1]!);
    expect(ended.body).toMatchObject({ status: 'dissolved', members: [] });
    expect((await join(shop, pool, residents[0]!)).code).toBe('pool_dissolved');
  });

  test('is nobody’s any more once the pool is dissolved', async () => {
    const { pool, residents } = await household(shop, [10, 10]);
    for (let i = 0; i < 2; i += 1) {
      const answer = await shop.care('POST', `/v1/pools/${pool}/dissolve`);
      expect(answer.body).toMatchObject({ status: 'dissolved', members: [] });
    }
    expect((await spend(shop, pool, residents[0]!, 5)).code).toBe('pool_dissolved');
    expect(await availableOf(shop, residents)).toEqual([10, 10]);
  });
});

test('a member’s export names the pools that it is or was in', async () => {
  const { pool, residents } = await household(shop, [1, 1]);
  const { member } = residents[1]!;
  await leave(shop, pool, residents[1]!);
  await join(shop, pool, residents[1]!);
  const answer = await shop.care('GET', `/v1/members/${member}/export`);
  expect(answer.body.pools).toMatchObject([
    { id: pool, member, consent: 'card', leftAt: expect.any(String) as string },
    { id: pool, member, consent: 'card' },
  ]);
});

test('who may redeem may spend of a pool, who reads may look at it', async () => {
  const { pool, residents } = await household(shop, [10]);
  const body = { member: residents[0]!.card, reference: reference(), points: 1 };
  const spends = (role: 'pos' | 'checkout' | 'care' | 'finance' | 'admin') =>
    shop[role]('POST', `/v1/pools/${pool}/redemptions`, { ...body, reference: reference() });
  const reads = (role: 'pos' | 'care' | 'finance') => shop[role]('GET', `/v1/pools/${pool}`);
  const spent = await Promise.all((['pos', 'checkout', 'admin', 'care', 'finance'] as const).map(spends));
  expect(spent.map(({ status }) => status)).toEqual([201, 201, 201, 403, 403]);
  const read = await Promise.all((['pos', 'care', 'finance'] as const).map(reads));
  expect(read.map(({ status }) => status)).toEqual([200, 200, 200]);
});

describe('opening a pool', () => {
  test('twice under one reference opens one, and another request under it is refused', async () => {
    const { card: head } = await resident(shop);
    const body = { reference: reference(), head, policy: { spenders: 'head' } };
    const answers = await Promise.all(Array.from({ length: 5 }, () => shop.pos('POST', '/v1/pools', body)));
    const made = answers.filter(({ status }) => status === 201);
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    const again = await shop.pos('POST', '/v1/pools', body);
    expect([again.status, again.id, again.replayed]).toEqual([201, made[0]!.id, true]);
    const other = await shop.pos('POST', '/v1/pools', { ...body, policy: { spenders: 'all' } });
    expect(other.body).toMatchObject({ code: 'reference_reused', id: made[0]!.id });
  });

  test('takes only policies that it knows', async () => {
    const { card: head } = await resident(shop);
    const policies = [{ membersMax: 21 }, { spenders: 'nobody' }, { coolingDays: -1 }, { burn: 'all' }];
    for (const policy of policies) {
      const answer = await shop.pos(
        'POST',
        '/v1/pools',
        { reference: reference(), head, policy },
        { invalid: true },
      );
      expect(answer.code).toBe('validation_failed');
    }
  });
});

describe('the policy', () => {
  test('says who may spend, and can be changed', async () => {
    const { pool, residents } = await household(shop, [50, 50, 50], { spenders: 'listed' });
    const [head, second] = residents as [never, never];
    const listed = await resident(shop);
    await join(shop, pool, listed, { maySpend: true });
    expect((await spend(shop, pool, head, 1)).status).toBe(201);
    expect((await spend(shop, pool, listed, 1)).status).toBe(201);
    expect((await spend(shop, pool, second, 1)).code).toBe('spender_not_allowed');
    const change = (spenders: string) => shop.admin('PUT', `/v1/pools/${pool}/policy`, { spenders });
    expect((await change('head')).body).toMatchObject({ policy: { spenders: 'head' } });
    expect((await spend(shop, pool, listed, 1)).code).toBe('spender_not_allowed');
    expect((await change('all')).status).toBe(200);
    expect((await spend(shop, pool, second, 1)).status).toBe(201);
    expect((await spend(shop, pool, await resident(shop), 1)).code).toBe('spender_not_allowed');
  });

  test('is changed by whoever knows the household: a till cannot let itself spend', async () => {
    const { pool } = await household(shop, [50, 50], { spenders: 'head' });
    expect((await shop.pos('PUT', `/v1/pools/${pool}/policy`, { spenders: 'all' })).status).toBe(403);
    expect((await shop.pos('POST', `/v1/pools/${pool}/dissolve`)).status).toBe(403);
    expect((await shop.care('PUT', `/v1/pools/${pool}/policy`, { spenders: 'all' })).status).toBe(200);
    expect((await shop.care('POST', `/v1/pools/${pool}/dissolve`)).status).toBe(200);
  });

  test('and places are not changed without a word of who did it', async () => {
    const { pool, residents } = await household(shop, [0, 0, 0]);
    const [head, second, third] = residents.map(({ member }) => member);
    expect((await leave(shop, pool, residents[1]!)).status).toBe(200);
    const change = () => shop.admin('PUT', `/v1/pools/${pool}/policy`, { spenders: 'head' });
    const dissolve = () => shop.care('POST', `/v1/pools/${pool}/dissolve`);
    const again = () => leave(shop, pool, residents[1]!);
    for (const call of [again, change, change, dissolve, dissolve])
      expect((await call()).status).toBeLessThan(500);
    const { rows } = await engine.pool.query<{ subject: string; action: string; role: string }>(
      `select l.subject, l.action, k.role from audit_log l join api_key k on k.id = l.actor
       where l.subject = any($1) and l.action not like 'pool.open %' and l.action not like 'pool.join %' order by l.number`,
      [[pool, ...residents.map(({ member }) => member)]],
    );
    expect(rows.map(({ subject, action }) => [subject, action])).toEqual([
      [pool, `pool.leave ${second}`],
      [second, `pool.leave ${pool}`],
      [pool, expect.stringMatching(/^pool\.policy {"before":{"spenders":"all".*"after":{"spenders":"head"/)],
      [pool, `pool.dissolve ${head} ${third}`],
      [head, `pool.dissolve ${pool}`],
      [third, `pool.dissolve ${pool}`],
    ]);
    expect(rows.map(({ role }) => role)).toEqual(['pos', 'pos', 'admin', 'care', 'care', 'care']);
    const ended = await engine.pool.query<{ left_why: string; role: string }>(
      `select p.left_why, k.role from pool_place p join api_key k on k.id = p.left_by
       where p.pool = (select pool from pool_place where member = $1) order by p.place`,
      [parseMemberId(head!)],
    );
    expect(ended.rows).toEqual([
      { left_why: 'dissolved', role: 'care' },
      { left_why: 'left', role: 'pos' },
      { left_why: 'dissolved', role: 'care' },
    ]);
    const joined = await engine.pool.query(
      `select from audit_log where subject = $1 and action = 'pool.join ${pool}'`,
      [third],
    );
    expect(joined.rowCount).toBe(1);
  });

  test('lets the spender’s own points go first, then those that end first', async () => {
    const { pool, residents } = await household(shop, [30, 30, 0], { order: 'own_first' });
    await give(shop, residents[2]!, 30, 'month');
    const answer = await spend(shop, pool, residents[1]!, 70);
    expect(partsOf(answer).map(({ member, points }) => [member, points])).toEqual([
      [residents[1]!.member, 30],
      [residents[2]!.member, 30],
      [residents[0]!.member, 10],
    ]);
  });

  test('lets all give the same, and who has less all', async () => {
    const { pool, residents } = await household(shop, [100, 5, 100, 100], { order: 'equal_shares' });
    await spend(shop, pool, residents[1]!, 75);
    expect(await availableOf(shop, residents)).toEqual([77, 0, 77, 76]);
  });

  test('limits what one member spends in a day', async () => {
    const { pool, residents } = await household(shop, [500, 0], { memberPointsPerDayMax: 100 });
    const [head, child] = residents as [never, never];
    expect((await spend(shop, pool, child, 60)).status).toBe(201);
    const refused = await spend(shop, pool, child, 41);
    expect(refused.body).toMatchObject({
      code: 'pool_limit',
      limitedBy: 'day',
      limit: 100,
      used: 60,
      required: 41,
    });
    // One after the other, and whoever waits too long for a turn is told to come again.
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => {
        const more = { reference: reference() };
        return waitFor('it is answered for good', async () => {
          const answer = await spend(shop, pool, child, 10, more);
          const isOpen = answer.status === 202 || answer.status === 504;
          return isOpen || answer.code === 'reference_in_progress' ? undefined : answer;
        });
      }),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(4);
    expect((await spend(shop, pool, head, 100)).status).toBe(201);
    expect(await availableOf(shop, residents)).toEqual([300, 0]);
  });
});

describe('a currency', () => {
  test('that is not poolable stays with its member', async () => {
    const { pool, residents } = await household(shop, [0, 0]);
    await give(shop, residents[1]!, 10, 'mint');
    const answer = await spend(shop, pool, residents[0]!, 5, { currency: 'coins' });
    expect(answer.body).toMatchObject({ code: 'currency_unknown', errors: [{ pointer: '/currency' }] });
    const quote = await shop.pos('POST', `/v1/pools/${pool}/redemptions/quote`, {
      member: residents[0]!.card,
      currency: 'coins',
    });
    expect(quote.code).toBe('currency_unknown');
    const program = await shop.admin('GET', '/v1/program');
    expect(program.body.currencies).toMatchObject([
      { code: 'points', poolable: true },
      { code: 'miles', poolable: true },
      { code: 'coins', poolable: false },
    ]);
  });

  test('is one of several that a price may be in, all parts or none', async () => {
    const { pool, residents } = await household(shop, [20, 20]);
    await give(shop, residents[1]!, 30, 'air');
    const parts = (points: number, miles: number) => ({
      points: undefined,
      parts: [
        { currency: 'points', points },
        { currency: 'miles', points: miles },
      ],
    });
    const refused = await spend(shop, pool, residents[0]!, 0, parts(40, 31));
    expect(refused.body).toMatchObject({
      code: 'insufficient_points',
      currency: 'miles',
      available: 30,
      required: 31,
    });
    expect(await availableOf(shop, residents)).toEqual([20, 20]);
    const taken = await spend(shop, pool, residents[0]!, 0, parts(30, 30));
    expect(taken.body).toMatchObject({ price: parts(30, 30).parts });
    expect(await availableOf(shop, residents)).toEqual([0, 10]);
    const refund = await shop.care('POST', `/v1/pools/${pool}/redemptions/${taken.id}/refunds`, {
      reference: reference(),
    });
    expect(refund.body).toMatchObject({ status: 'refunded', price: parts(30, 30).parts });
    expect(await availableOf(shop, residents)).toEqual([20, 20]);
    expect((await figuresOf(shop, residents, 'miles')).map(({ available }) => available)).toEqual([0, 30]);
  });
});
