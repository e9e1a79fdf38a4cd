/**
 * Budgets of a program: never passed by a point however many tills give at once, whatever dies, given again after returns. The
 * audit at the end recomputes from the operations what every budget gave.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { keys } from '#src/wallet/keys.ts';
import { amountRule, reference, startEngine, waitFor } from './harness.ts';
import { auditOf } from './house/books.ts';
import { issuedBy, membersEverywhere, standingOf } from './house/budgets.ts';

const shardCount = 4;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const other = await engine.anotherApi();
const { app, pool, redis } = engine;

type WhenFull = 'trim' | 'refuse';

/** A shop whose one rule gives a point a unit under a budget. */
async function shopWith(points: number, whenFull: WhenFull, more: Record<string, unknown> = {}) {
  const shop = await engine.shop({
    definition: {
      rules: [amountRule('spend', 'points', [1, 100], { budget: 'campaign' })],
      budgets: [{ name: 'campaign', points, whenFull, ...more }],
    },
  });
  return { shop, members: await membersEverywhere(app, shop, shardCount) };
}
type Shopping = Awaited<ReturnType<typeof shopWith>>;

/** A receipt, repeated with its reference until it is answered for good. */
async function give({ shop }: Shopping, member: string, points: number, http = engine.http) {
  const receipt = shop.receipt(member, points);
  const answer = await waitFor('the receipt is taken', async () => {
    const tried = await http('POST', '/v1/accruals', receipt, { key: shop.tokens.pos });
    return tried.status < 500 ? tried : undefined;
  });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  const awards = answer.body.awards as { points: number }[];
  return { points: awards.reduce((sum, award) => sum + award.points, 0), id: answer.id };
}

/** Receipts of all members from both APIs, so many at once; answers the points that they were given. */
function giveMany(shopping: Shopping, count: number, pointsOf: (i: number) => number) {
  const { members } = shopping;
  return Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const http = i % 2 === 0 ? engine.http : other.http;
      return {
        asked: pointsOf(i),
        ...(await give(shopping, members[i % members.length]!, pointsOf(i), http)),
      };
    }),
  );
}

/** What the API says of the shop's budgets. */
async function listed({ shop }: Shopping) {
  const { status, body } = await engine.http('GET', '/v1/program/budgets', undefined, {
    key: shop.tokens.admin,
  });
  expect(status, JSON.stringify(body)).toBe(200);
  return body.data;
}

const sum = (rows: readonly { points: number }[]) => rows.reduce((all, { points }) => all + points, 0);

describe('a budget that trims', () => {
  test('is given to the last point and not one more, from two APIs and all shards at once', async () => {
    const shopping = await shopWith(5_003, 'trim');
    const given = await giveMany(shopping, 240, (i) => 20 + (i % 17));
    const wanted = given.reduce((all, { asked }) => all + asked, 0);
    expect(wanted).toBeGreaterThan(5_003);
    expect(sum(given)).toBeLessThanOrEqual(5_003);
    await engine.drained();
    // What an idle shard still held when the others were short comes to whoever asks a second later.
    let total = sum(given);
    await waitFor('the budget is used up', async () => {
      total += sum(await giveMany(shopping, 4, () => 50));
      return total === 5_003;
    });
    expect((await give(shopping, shopping.members[0]!, 10)).points).toBe(0);
    await engine.drained();
    expect(await standingOf(app, shopping.shop, 1)).toMatchObject({ given: 5_003, leased: 0 });
    expect(await listed(shopping)).toMatchObject([
      { points: 5_003, given: 5_003, held: 0, left: 0, usedBy: ['spend'] },
    ]);
    expect(await issuedBy(app, shopping.shop)).toBe(5_003);
    await engine.audit();
  });

  test('says in the explanation what it has cut, and a repeat answers the same', async () => {
    const shopping = await shopWith(25, 'trim');
    const { shop, members } = shopping;
    const receipt = shop.receipt(members[0]!, 40);
    const first = await shop.pos('POST', '/v1/accruals', receipt);
    expect(first.body.awards).toMatchObject([{ points: 25 }]);
    const repeat = await shop.pos('POST', '/v1/accruals', receipt);
    expect([repeat.id, repeat.body.awards]).toEqual([first.id, first.body.awards]);
    const { body } = await shop.care('GET', `/v1/operations/${first.id}`);
    expect(JSON.stringify(body)).toContain('the budget campaign is used up: 15 points are left out');
  });
});

describe('a quote', () => {
  async function quoted({ shop, members }: Shopping, points: number) {
    const { member, occurredAt, purchase } = shop.receipt(members[0]!, points);
    const { body } = await shop.pos('POST', '/v1/accruals/quote', { member, occurredAt, purchase });
    const awards = body.awards as { points: number }[];
    return { points: sum(awards), story: JSON.stringify(body.explanation) };
  }

  test.each([
    ['trim', 40, 25],
    ['trim', 25, 25],
    ['refuse', 40, 0],
    ['refuse', 20, 20],
  ] as const)(
    'of a budget that has 25 points and would %s says of %i what the accrual gives: %i',
    async (whenFull, asked, expected) => {
      const shopping = await shopWith(25, whenFull);
      const first = await quoted(shopping, asked);
      expect(first.points).toBe(expected);
      expect(first.story.includes(`the budget campaign is used up: ${asked - expected} points`)).toBe(
        expected < asked,
      );
      expect((await give(shopping, shopping.members[0]!, asked)).points).toBe(expected);
      await engine.drained();
      const second = await quoted(shopping, asked);
      expect(second.points).toBe((await give(shopping, shopping.members[0]!, asked)).points);
    },
  );
});

describe('a budget that refuses', () => {
  test('leaves out whole awards that do not fit, and still gives smaller ones', async () => {
    const shopping = await shopWith(100, 'refuse');
    const [member] = shopping.members as [string];
    expect((await give(shopping, member, 70)).points).toBe(70);
    const refused = await give(shopping, member, 31);
    expect(refused.points).toBe(0);
    expect((await give(shopping, member, 30)).points).toBe(30);
    const { body } = await shopping.shop.care('GET', `/v1/operations/${refused.id}`);
    expect(JSON.stringify(body)).toContain('"outcome":"excluded"');
  });

  test('gives whole awards or nothing, never beyond itself, with many at once', async () => {
    const shopping = await shopWith(1_000, 'refuse');
    const given = await giveMany(shopping, 120, (i) => 7 + (i % 13));
    for (const { asked, points } of given) expect([0, asked]).toContain(points);
    expect(sum(given)).toBeLessThanOrEqual(1_000);
    await engine.drained();
    const { given: booked, leased } = await standingOf(app, shopping.shop, 1);
    expect(booked).toBe(sum(given));
    expect(booked + leased).toBeLessThanOrEqual(1_000);
  });
});

describe('a budget of money', () => {
  test('pays for as many whole points as it can', async () => {
    const shop = await engine.shop({
      definition: {
        rules: [amountRule('spend', 'points', [1, 100], { budget: 'campaign' })],
        budgets: [{ name: 'campaign', minorUnits: 100, costPerPoint: '1.5', whenFull: 'trim' }],
      },
    });
    const shopping = { shop, members: [await shop.enrol()] };
    expect((await give(shopping, shopping.members[0]!, 500)).points).toBe(66);
  });
});

describe('what is taken back', () => {
  test('by a reversal or the return of some lines can be given again, once', async () => {
    const shopping = await shopWith(100, 'trim');
    const { shop, members } = shopping;
    const [first, second] = [await give(shopping, members[0]!, 60), await give(shopping, members[1]!, 60)];
    expect([first.points, second.points]).toEqual([60, 40]);
    const back = { reference: reference(), occurredAt: shop.time() };
    const reversed = await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, back);
    expect(reversed.status).toBe(201);
    expect((await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, back)).id).toBe(reversed.id);
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ consumed: 100, givenBack: 60 });
    let again = 0;
    await waitFor('what came back is given again', async () => {
      again += (await give(shopping, members[2]!, 45)).points;
      return again === 60;
    });
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ given: 100 });
    await engine.audit();
  });

  test('comes back only as far as it could be taken, where members owe nothing', async () => {
    const shop = await engine.shop({
      definition: {
        debtAllowed: false,
        rules: [amountRule('spend', 'points', [1, 100], { budget: 'campaign' })],
        budgets: [{ name: 'campaign', points: 100 }],
      },
    });
    const member = await shop.enrol();
    const { id } = await give({ shop, members: [member] }, member, 60);
    const spent = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 45 });
    expect(spent.status).toBe(201);
    const back = { reference: reference(), occurredAt: shop.time() };
    const reversed = await shop.pos('POST', `/v1/accruals/${id}/reversals`, back);
    expect(reversed.body.shortfall).toMatchObject([{ points: 45 }]);
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ consumed: 60, givenBack: 15 });
  });
});

describe('Redis that is lost', () => {
  const losses: [string, () => Promise<unknown>][] = [
    ['with all that it had', () => redis.flushall()],
    ['with its scripts alone', () => redis.script('FLUSH')],
  ];

  test.each(losses)(
    '%s takes no point out of the budget but those that were given, and gives none twice',
    async (_, lose) => {
      const shopping = await shopWith(2_000, 'trim');
      const before: { points: number }[] = [];
      for (const member of shopping.members) before.push(await give(shopping, member, 1));
      await engine.drained();
      const { leased } = await standingOf(app, shopping.shop, 1);
      expect(leased).toBeGreaterThan(0);
      // A lease that was granted by somebody who died before it was in Redis.
      await pool.query(
        `insert into budget_lease (program, budget, shard, epoch, lease, granted)
       select $1, 1, shard, epoch, 90, 100 from position where shard = 2`,
        [shopping.shop.program.number],
      );
      await lose();
      await waitFor(
        'every shard is open again',
        async () => (await fetch(`${engine.url}/readyz`)).status === 200 && (await closed(shopping)),
        30_000,
      );
      let total = sum(before);
      await waitFor('the rest is given', async () => {
        total += sum(await giveMany(shopping, 8, () => 60));
        return total >= 2_000;
      });
      expect(total).toBe(2_000);
      await engine.drained();
      expect(await standingOf(app, shopping.shop, 1)).toMatchObject({ given: 2_000, leased: 0 });
      await engine.audit();
    },
  );

  test.each(losses)('%s while receipts come never lets more be given than there is', async (_, lose) => {
    const shopping = await shopWith(3_000, 'trim');
    const burst = giveMany(shopping, 160, (i) => 15 + (i % 5));
    await waitFor('some points are given', async () => (await standingOf(app, shopping.shop, 1)).given > 200);
    await lose();
    const given = sum(await burst);
    await waitFor('all that is left is given', async () => {
      await giveMany(shopping, 8, () => 90);
      await engine.drained();
      const { given: booked, leased } = await standingOf(app, shopping.shop, 1);
      expect(booked + leased).toBeLessThanOrEqual(3_000);
      return booked === 3_000;
    });
    // Receipts that only Redis had are lost with it, and so is what they gave: the budget has it again.
    expect(given).toBeGreaterThan(0);
    expect(await issuedBy(app, shopping.shop)).toBe(3_000);
  });

  /** Whether nothing is left open of earlier epochs. */
  async function closed({ shop }: Shopping): Promise<boolean> {
    const { rows } = await pool.query<{ open: number }>(
      'select count(*) as open from budget_lease where program = $1 and closed_at is null',
      [shop.program.number],
    );
    return Number(rows[0]!.open) === 0;
  }
});

describe('a lease', () => {
  test('that was granted and never put into Redis is put there by the next who is short', async () => {
    const shopping = await shopWith(500, 'trim');
    const { shop, members } = shopping;
    for (let shard = 0; shard < shardCount; shard += 1) {
      await pool.query(
        `insert into budget_lease (program, budget, shard, epoch, lease, granted) select $1, 1, shard, epoch, 1, 125 from position where shard = $2`,
        [shop.program.number, shard],
      );
    }
    const given = await Promise.all(members.map((member) => give(shopping, member, 125)));
    expect(given.map(({ points }) => points)).toEqual([125, 125, 125, 125]);
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ given: 500, leased: 0 });
  });

  test('of an idle shard is called in when another one is short', async () => {
    const shopping = await shopWith(64_000, 'refuse');
    const { shop, members } = shopping;
    for (const member of members) expect((await give(shopping, member, 1)).points).toBe(1);
    await engine.drained();
    expect((await standingOf(app, shop, 1)).leased).toBeGreaterThan(4_000);
    const all = await give(shopping, members[0]!, 64_000 - members.length);
    expect(all.points).toBe(64_000 - members.length);
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ given: 64_000, leased: 0 });
  });

  test('that was granted by somebody who died is given by others once nothing else is left', async () => {
    const shopping = await shopWith(300, 'trim');
    const { shop, members } = shopping;
    await pool.query('insert into budget (program, budget) values ($1, 1)', [shop.program.number]);
    await pool.query(
      `insert into budget_lease (program, budget, shard, epoch, lease, granted) select $1, 1, shard, epoch, 1, 200 from position where shard = 3`,
      [shop.program.number],
    );
    const first = members.find((_, shard) => shard !== 3)!;
    let all = 0;
    await waitFor('all of it is given', async () => {
      all += (await give(shopping, first, 300)).points;
      return all === 300;
    });
    await engine.drained();
    expect(await standingOf(app, shop, 1)).toMatchObject({ given: 300, leased: 0 });
  });

  test('is not in Redis where nothing is budgeted', async () => {
    const shop = await engine.shop();
    await shop.accrue(await shop.enrol(), 10);
    for (let shard = 0; shard < shardCount; shard += 1)
      expect(await redis.exists(keys.budget(shard, shop.program.number, 1))).toBe(0);
  });
});

describe('the audit', () => {
  test('finds a budget of which the books say something else than its operations, and an overdrawn lease', async () => {
    const shopping = await shopWith(1_000, 'trim');
    const { shop, members } = shopping;
    await give(shopping, members[0]!, 10);
    await engine.drained();
    await engine.audit();
    const found = async () =>
      (await auditOf(engine.stores)).findings.map(({ check, where, detail }) => [
        check,
        where.program,
        detail,
      ]);
    const of = [shop.program.number];
    await pool.query('update budget_shard set consumed = consumed - 3 where program = $1', of);
    const detail = 'gave 7 from the budget and back 0, its operations say 10 and 0, its leases 10';
    expect(await found()).toEqual([['budgets', shop.program.number, detail]]);
    await pool.query('update budget_shard set consumed = consumed + 3 where program = $1', of);
    await pool.query('update budget_lease set granted = 9 where program = $1', of);
    expect(await found()).toEqual([['budgets', shop.program.number, 'the lease gave 10 of 9 points']]);
    await pool.query('update budget_lease set granted = 31 where program = $1', of);
  });
});

describe('a budget that is spread over the day', () => {
  test('gives by noon half of the share of the day, the rest until midnight, and the next share on the next day', async () => {
    const dayMs = 86_400_000;
    const first = Math.floor(Date.now() / dayMs) * dayMs + 2 * dayMs;
    const date = (days: number) => new Date(first + days * dayMs).toISOString().slice(0, 10);
    const shop = await engine.shop({
      mode: 'test',
      definition: {
        rules: [
          amountRule('spend', 'points', [1, 100], {
            budget: 'campaign',
            during: { from: date(0), through: date(3) },
          }),
        ],
        budgets: [{ name: 'campaign', points: 8_000, whenFull: 'trim', pacing: 'day' }],
      },
    });
    const shopping = { shop, members: [await shop.enrol()] };
    const upTo = async (at: number) => {
      await shop.setClock(at);
      let all = 0;
      await waitFor('the share is used up', async () => {
        const { points } = await give(shopping, shopping.members[0]!, 5_000);
        all += points;
        return points === 0;
      });
      return all;
    };
    const noon = await upTo(first + dayMs / 2);
    expect(noon).toBeGreaterThanOrEqual(1_000);
    // Some seconds of the clock go by while the test runs.
    expect(noon).toBeLessThan(1_020);
    await engine.drained();
    // Of what is left, the share of this hour is used up but for what the clock has brought since.
    const [standing] = (await listed(shopping)) as { given: number; left: number; leftNow: number }[];
    expect(standing!.given).toBe(noon);
    expect(standing!.left).toBeGreaterThan(6_900);
    expect(standing!.leftNow).toBeLessThan(20);
    const evening = await upTo(first + dayMs - 60_000);
    expect(noon + evening).toBeGreaterThan(1_990);
    expect(noon + evening).toBeLessThanOrEqual(2_000);
    const next = await upTo(first + dayMs + dayMs / 2);
    expect(next).toBeGreaterThanOrEqual(1_000);
    expect(next).toBeLessThan(1_020);
  });
});
