/** What happens to members between the holding of their points and the decision, or between the plan and the holding. */
import { afterAll, describe, expect, test } from 'vitest';
import { tryStep } from '#src/members/engine.ts';
import { createMembers } from '#src/members/members.ts';
import { releaseOrphans } from '#src/pools/orphans.ts';
import { parseMemberId } from '#src/values.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  leave,
  partsOf,
  type Resident,
  resident,
  spend,
} from './house/household.ts';
import { type Step, stallAt } from './house/stall.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

const planned: Step = { on: 'insert on pool_part' };
const held: Step = { on: 'update on pool_part', when: `new.state = 'held'` };

/** Three with 40 points each; the first spends `points`, and at the step something happens to the others. */
async function meanwhile(
  step: Step,
  points: number,
  happens: (house: Household, others: readonly Resident[]) => Promise<unknown>,
): Promise<{ house: Household; answer: Answer }> {
  const house = await household(shop, [40, 40, 40]);
  const [spender, ...others] = house.residents as [Resident, ...Resident[]];
  const stalls = await stallAt(engine.stores.databaseUrl, [step]);
  const body = { reference: reference() };
  const sent = spend(shop, house.pool, spender, points, body);
  await stalls.at[0]!.reached();
  await happens(house, others);
  await stalls.remove();
  await sent;
  const answer = await waitFor('it is decided', async () => {
    const again = await spend(shop, house.pool, spender, points, body);
    return again.status !== 504 && again.status !== 202 ? again : undefined;
  });
  await waitFor('nothing is held any more', async () => {
    await engine.drained();
    const { rowCount } = await engine.pool.query(`select from hold where status = 'held'`);
    return rowCount === 0;
  });
  return { house, answer };
}

async function life(action: string, { member }: Resident, more: object = {}): Promise<void> {
  const body = { reference: reference(), reason: 'asked for', ...more };
  const answer = await shop.admin('POST', `/v1/members/${member}/${action}`, body);
  if (answer.status !== 200) throw new Error(`${action}: ${answer.status} ${answer.code}`);
}

async function mergesDone(): Promise<void> {
  const { merges } = createMembers(engine.app);
  await waitFor('what reached a merged member has moved', async () => {
    await merges.resume(100);
    await engine.drained();
    const { rowCount } = await engine.pool.query(
      `select from lot l join member m on m.number = l.member where m.status = 'merged' and l.points > 0`,
    );
    return rowCount === 0;
  });
}

describe('while points are held', () => {
  test('whoever leaves takes them along, and others pay instead', async () => {
    const { house, answer } = await meanwhile(held, 70, ({ pool }, [second]) => leave(shop, pool, second!));
    expect(answer.status).toBe(201);
    expect(await availableOf(shop, house.residents)).toEqual([0, 40, 10]);
    expect(partsOf(answer).map(({ points }) => points)).toEqual([40, 30]);
  });

  test('whoever leaves takes them along, and without enough points nobody pays', async () => {
    const { house, answer } = await meanwhile(held, 100, ({ pool }, [second]) => leave(shop, pool, second!));
    expect(answer.body).toMatchObject({ code: 'insufficient_points', available: 80, required: 100 });
    expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
  });

  test('a pool that is dissolved pays nothing', async () => {
    const { house, answer } = await meanwhile(held, 100, ({ pool }) =>
      shop.care('POST', `/v1/pools/${pool}/dissolve`),
    );
    expect(answer.code).toBe('pool_dissolved');
    expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
  });

  test.each(['suspend', 'close'])('a member to whom that happens (%s) pays what is held', async (action) => {
    const { house, answer } = await meanwhile(held, 100, (_, [second]) => life(action, second!));
    expect(answer.status).toBe(201);
    expect(partsOf(answer).map(({ points }) => points)).toEqual([40, 40, 20]);
    const figures = await figuresOf(shop, house.residents);
    expect(figures.map(({ available, held: still }) => [available, still])).toEqual([
      [0, 0],
      [0, 0],
      [20, 0],
    ]);
  });

  test('a member that is merged pays what is held, and the survivor has the rest', async () => {
    const survivor = await resident(shop);
    const { house, answer } = await meanwhile(held, 100, (_, [, third]) =>
      life('merge', third!, { into: survivor.member }),
    );
    expect(answer.status).toBe(201);
    await mergesDone();
    expect(await availableOf(shop, [...house.residents.slice(0, 2), survivor])).toEqual([0, 0, 20]);
  });

  test('a member that is merged gets them back at its survivor where nobody pays', async () => {
    const survivor = await resident(shop);
    const { house, answer } = await meanwhile(held, 100, async ({ pool }, [, third]) => {
      await life('merge', third!, { into: survivor.member });
      await shop.care('POST', `/v1/pools/${pool}/dissolve`);
    });
    expect(answer.code).toBe('pool_dissolved');
    await mergesDone();
    expect(await availableOf(shop, [...house.residents.slice(0, 2), survivor])).toEqual([40, 40, 40]);
  });
});

test('points that are held for a redemption whose rows a PostgreSQL has lost go back', async () => {
  const house = await household(shop, [40, 40]);
  const stalls = await stallAt(engine.stores.databaseUrl, [held]);
  const sent = spend(shop, house.pool, house.residents[0]!, 80);
  await stalls.at[0]!.reached();
  await engine.drained();
  expect(await releaseOrphans(engine.app, 0, 10)).toBe(0);
  // What it knows of holds came back from the journals; rows of pools stand in none.
  const lost = engine.pool.query(
    `with gone as (select redemption from pool_redemption where state = 'collecting' for update), parts as (delete from pool_part where redemption in (select redemption from gone))
     delete from pool_redemption where redemption in (select redemption from gone)`,
  );
  await stalls.remove();
  await Promise.all([lost, sent]);
  await engine.drained();
  expect(await releaseOrphans(engine.app, 60_000, 10)).toBe(0);
  const back = await releaseOrphans(engine.app, 0, 10);
  expect(back).toBe(2);
  await engine.drained();
  expect(await availableOf(shop, house.residents)).toEqual([40, 40]);
});

describe('between plan and hold', () => {
  test('whoever spends the own points is passed over, and others pay instead', async () => {
    const { house, answer } = await meanwhile(planned, 70, async (_, [second]) => {
      const body = { member: second!.member, reference: reference(), points: 35 };
      expect((await shop.checkout('POST', '/v1/redemptions', body)).status).toBe(201);
    });
    expect(answer.status).toBe(201);
    expect(await availableOf(shop, house.residents)).toEqual([0, 0, 15]);
    const { rows } = await engine.pool.query<{ state: string; reason: string | null }>(
      `select state, reason from pool_part where redemption = $1 order by part`,
      [answer.id.slice(4)],
    );
    expect(rows.map(({ state, reason }) => [state, reason])).toEqual([
      ['captured', null],
      ['void', 'insufficient_points'],
      ['captured', null],
      ['captured', null],
    ]);
  });

  test('what was refused once is never held by a process that comes later', async () => {
    const { house, answer } = await meanwhile(planned, 70, async (_, [second]) => {
      const body = { member: second!.member, reference: reference(), points: 35 };
      expect((await shop.checkout('POST', '/v1/redemptions', body)).status).toBe(201);
    });
    const second = house.residents[1]!;
    await give(shop, second, 100);
    const late = await tryStep(engine.app.operations, {
      program: engine.app.programs.get(shop.program.number)!,
      member: parseMemberId(second.member)!,
      script: 'hold',
      kind: 'hold',
      reference: `${answer.id.slice(4)}/2`,
      input: { parts: [[1, 30]] },
      request: {},
    });
    expect(late.status === 'performed' && late.recorded.effect.legs).toEqual([]);
    expect(await figuresOf(shop, [second])).toMatchObject([{ available: 100, held: 0 }]);
  });

  test('whoever is closed gives nothing', async () => {
    const { house, answer } = await meanwhile(planned, 100, (_, [second]) => life('close', second!));
    expect(answer.body).toMatchObject({ code: 'insufficient_points', available: 80 });
    expect(await availableOf(shop, house.residents)).toEqual([40, 40, 40]);
  });

  test('points that were taken by the time of the plan are asked for in vain, and nobody pays', async () => {
    const { house, answer } = await meanwhile(planned, 120, async (_, [second]) => {
      const body = { member: second!.member, reference: reference(), points: 1 };
      await shop.checkout('POST', '/v1/redemptions', body);
    });
    expect(answer.body).toMatchObject({ code: 'insufficient_points', available: 119, required: 120 });
    expect(await availableOf(shop, house.residents)).toEqual([40, 39, 40]);
  });
});
