/** Everybody in a household at once, on two API processes: no point is spent twice, none is lost, and nobody spends what is not there. */
import { afterAll, expect, test } from 'vitest';
import { type Answer, reference, waitFor } from './harness.ts';
import {
  availableOf,
  figuresOf,
  give,
  type Household,
  household,
  householdFile,
  join,
  leave,
  partsOf,
  type Resident,
} from './house/household.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ apis: 2, upkeep: true });
afterAll(() => engine.end());
const shop = await engine.shop({ definition: householdFile });

const post = (turn: number, path: string, body: unknown): Promise<Answer> =>
  engine.apis[turn % engine.apis.length]!.http('POST', path, body, { key: shop.tokens.admin });

/** Repeats a call under its reference for as long as it is told to come back. */
function answered(turn: number, path: string, body: object): Promise<Answer> {
  return waitFor(
    'a call is answered for good',
    async () => {
      const answer = await post(turn, path, body);
      return answer.status === 202 ||
        ['reference_in_progress', 'outcome_unknown', 'not_ready'].includes(answer.code)
        ? undefined
        : answer;
    },
    60_000,
  );
}

const spend = (turn: number, { pool }: Household, { card }: Resident, points: number): Promise<Answer> =>
  answered(turn, `/v1/pools/${pool}/redemptions`, { member: card, reference: reference(), points });
const redeem = (turn: number, { member }: Resident, points: number): Promise<Answer> =>
  answered(turn, '/v1/redemptions', { member, reference: reference(), points });

function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code, status } of answers) counts[code || status] = (counts[code || status] ?? 0) + 1;
  return counts;
}

/** Nothing is held any more; what everybody has. */
async function leftOf(residents: readonly Resident[]): Promise<number> {
  await waitFor(
    'nothing is held for a redemption any more',
    async () => (await figuresOf(shop, residents)).every(({ held }) => held === 0),
    60_000,
  );
  const figures = await figuresOf(shop, residents);
  expect(figures.every(({ available, debt }) => available >= 0 && debt === 0)).toBe(true);
  return figures.reduce((sum, { available }) => sum + available, 0);
}

const times = <T>(count: number, make: (turn: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, turn) => make(turn)));

test.each(['soonest_expiry', 'own_first', 'equal_shares'])(
  'of forty redemptions by all members at once (%s), as many succeed as the points of all pay for',
  async (order) => {
    const house = await household(shop, [33, 33, 33, 33, 33], { order });
    const answers = await times(40, (turn) => spend(turn, house, house.residents[turn % 5]!, 16));
    // 165 points pay for ten: whoever is refused saw less than sixteen left.
    expect(tally(answers)).toEqual({ '201': 10, insufficient_points: 30 });
    for (const answer of answers) {
      if (answer.status === 201)
        expect(partsOf(answer).reduce((sum, { points }) => sum + points, 0)).toBe(16);
      else expect(Number(answer.body.available)).toBeLessThan(16);
    }
    expect(await leftOf(house.residents)).toBe(5);
  },
  120_000,
);

test('members who spend their own points meanwhile never go below nothing, and every point is spent once', async () => {
  const house = await household(shop, [100, 100, 100, 100]);
  const [together, alone] = await Promise.all([
    times(24, (turn) => spend(turn, house, house.residents[turn % 4]!, 25)),
    times(40, (turn) => redeem(turn, house.residents[turn % 4]!, 9)),
  ]);
  const [shared, own] = [tally(together)['201'] ?? 0, tally(alone)['201'] ?? 0];
  expect(await leftOf(house.residents)).toBe(400 - shared * 25 - own * 9);
  const { rows } = await engine.stores.pool.query<{ points: number }>(
    `select sum(e.points)::int as points from entry e join operation o using (operation) where e.account = 'redemption' and o.program = $1
       and o.member in (select member from pool_place where pool = (select pool from pool_place where member = $2))`,
    [shop.program.number, Number.parseInt(house.residents[0]!.member.slice(4), 36)],
  );
  expect(rows[0]!.points).toBe(shared * 25 + own * 9);
}, 120_000);

test('whoever leaves in the middle of spending has what is left, and nothing of it is taken afterwards', async () => {
  for (let round = 0; round < 3; round += 1) {
    const house = await household(shop, [0, 200, 200, 200]);
    const [head, ...others] = house.residents as [Resident, ...Resident[]];
    for (const other of others) await give(shop, other, 50, 'month');
    const spending = times(30, (turn) => spend(turn, house, head, 20));
    const gone = await Promise.all(
      others.slice(0, 2).map(async (other) => {
        expect((await leave(shop, house.pool, other)).status).toBe(200);
        return other;
      }),
    );
    const late = await spend(1, house, head, 1_000);
    expect(late.code).toBe('insufficient_points');
    expect(Number(late.body.available)).toBeLessThanOrEqual(250);
    const answers = await spending;
    const spent = (tally(answers)['201'] ?? 0) * 20;
    const byMember = new Map<string, number>();
    for (const part of answers.filter(({ status }) => status === 201).flatMap(partsOf))
      byMember.set(part.member, (byMember.get(part.member) ?? 0) + part.points);
    expect(await leftOf(house.residents)).toBe(750 - spent);
    const left = await availableOf(shop, gone);
    expect(left).toEqual(gone.map(({ member }) => 250 - (byMember.get(member) ?? 0)));
    // Their points are their own again.
    const own = await Promise.all(gone.map((one, i) => redeem(i, one, left[i]!)));
    expect(own.every(({ status, code }) => status === 201 || code === 'validation_failed')).toBe(true);
  }
}, 180_000);

test('one reference sent to both processes at once redeems once', async () => {
  const house = await household(shop, [50, 50, 50]);
  const body = { member: house.residents[1]!.card, reference: reference(), points: 120 };
  const answers = await times(20, (turn) => answered(turn, `/v1/pools/${house.pool}/redemptions`, body));
  expect(tally(answers)).toEqual({ '201': 20 });
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(await leftOf(house.residents)).toBe(30);
}, 60_000);

test('twenty members are a pool, and each can pay with the points of all', async () => {
  const house = await household(
    shop,
    Array.from({ length: 20 }, () => 3),
  );
  const full = await join(shop, house.pool, house.residents[0]!);
  expect(full.status).toBe(200);
  const answers = await times(6, (turn) => spend(turn, house, house.residents[turn]!, 20));
  expect(tally(answers)).toEqual({ '201': 3, insufficient_points: 3 });
  expect(await leftOf(house.residents)).toBe(0);
}, 120_000);
