/** Many callers at once, on two API processes: each promise holds whatever the order. */
import { afterAll, describe, expect, test } from 'vitest';
import type { Answer } from './harness.ts';
import { reference, uuidV7, waitFor } from './harness.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ apis: 2, upkeep: true });
afterAll(() => engine.end());
const shop = await engine.shop();
const post = (turn: number, path: string, body: unknown, key = shop.tokens.pos): Promise<Answer> =>
  engine.apis[turn % engine.apis.length]!.http('POST', path, body, { key });

/** How often each status or code was answered. */
function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const answer of answers) {
    const word = answer.code || String(answer.status);
    counts[word] = (counts[word] ?? 0) + 1;
  }
  return counts;
}

const times = <T>(count: number, make: (turn: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, turn) => make(turn)));

async function redeemed(points: number): Promise<{ member: string; redemption: Answer }> {
  const member = await shop.enrol();
  await shop.accrue(member, points);
  const redemption = await post(0, '/v1/redemptions', { member, reference: reference(), points });
  expect(redemption.status).toBe(201);
  return { member, redemption };
}

async function held(points: number): Promise<{ member: string; hold: Answer }> {
  const member = await shop.enrol();
  await shop.accrue(member, points);
  const hold = await post(0, '/v1/holds', { member, reference: reference(), points });
  expect(hold.status).toBe(201);
  return { member, hold };
}

test('of 200 redemptions at once on a wallet that pays for 7, exactly 7 succeed', async () => {
  const member = await shop.enrol('crowd');
  await shop.accrue(member, 75);
  const answers = await times(200, (turn) =>
    post(turn, '/v1/redemptions', { member, reference: reference(), points: 10 }),
  );
  expect(tally(answers)).toEqual({ '201': 7, insufficient_points: 193 });
  expect(await shop.balances(member)).toEqual({ available: 5, pending: 0, held: 0, debt: 0 });
  const refused = answers.find((answer) => answer.status === 409);
  expect(refused?.body).toMatchObject({ available: 5, required: 10, currency: 'points', applied: 'no' });
});

describe.each([
  ['a reference of the caller’s own making', () => reference()],
  ['a self-dated reference, which skips the look-up in the books', () => uuidV7()],
])('%s', (_, makeReference) => {
  test('sent 50 times at once has one effect and 50 equal answers', async () => {
    const member = await shop.enrol();
    await shop.accrue(member, 1_000);
    const body = { member, reference: makeReference(), points: 10 };
    const answers = await times(50, (turn) => post(turn, '/v1/redemptions', body));
    expect(tally(answers)).toEqual({ '201': 50 });
    for (const answer of answers) expect(answer.body).toEqual(answers[0]!.body);
    expect(answers.filter((answer) => !answer.replayed)).toHaveLength(1);
    expect((await shop.balances(member)).available).toBe(990);
  });

  test('sent 50 times at once as a receipt earns once', async () => {
    const member = await shop.enrol();
    const body = shop.receipt(member, 30, { reference: makeReference(), durability: 'ledger' });
    const answers = await times(50, (turn) => post(turn, '/v1/accruals', body));
    expect(tally(answers)).toEqual({ '201': 50 });
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(1);
    expect((await shop.balances(member)).available).toBe(30);
  });

  test('sent at once with two different amounts is applied for one of them only', async () => {
    const member = await shop.enrol();
    const [named, occurredAt] = [makeReference(), shop.time()];
    const answers = await times(20, (turn) =>
      post(
        turn,
        '/v1/accruals',
        shop.receipt(member, turn % 2 === 0 ? 3 : 5, { reference: named, occurredAt }),
      ),
    );
    const counts = tally(answers);
    expect(counts).toEqual({ '201': 10, reference_reused: 10 });
    const kept = answers.find((answer) => answer.status === 201)!;
    const other = answers.find((answer) => answer.status === 422)!;
    expect(other.body).toMatchObject({ id: kept.id, pointer: '/purchase/lines/0/amount' });
    expect([3, 5]).toContain((await shop.balances(member)).available);
  });
});

test('one reference for two members in two shards ends with one effect', async () => {
  const members = [await shop.enrol('card'), await shop.enrol('rekeyed')];
  for (let round = 0; round < 5; round += 1) {
    const named = reference();
    const occurredAt = shop.time();
    await times(2, (turn) =>
      post(turn, '/v1/accruals', shop.receipt(members[turn]!, 10, { reference: named, occurredAt })),
    );
  }
  await waitFor(
    'what was acknowledged twice is taken back',
    async () => {
      const [first, second] = await Promise.all(members.map((member) => shop.balances(member)));
      return first!.available - first!.debt + second!.available - second!.debt === 50;
    },
    15_000,
  );
});

test('two refunds of one redemption at once give the points back once', async () => {
  const { member, redemption } = await redeemed(100);
  const answers = await times(2, (turn) =>
    post(turn, `/v1/redemptions/${redemption.id}/refunds`, { reference: reference() }),
  );
  expect(tally(answers)).toEqual({ '201': 1, refund_exceeds_redemption: 1 });
  expect((await shop.balances(member)).available).toBe(100);
});

test('twenty partial refunds at once never give back more than was redeemed', async () => {
  const { member, redemption } = await redeemed(100);
  const answers = await times(20, (turn) =>
    post(turn, `/v1/redemptions/${redemption.id}/refunds`, { reference: reference(), points: 30 }),
  );
  const refunded = answers.filter((answer) => answer.status === 201).length;
  expect(refunded).toBeLessThanOrEqual(3);
  expect((await shop.balances(member)).available).toBe(refunded * 30);
  for (const answer of answers) {
    if (answer.status !== 201)
      expect(['refund_exceeds_redemption', 'reference_in_progress']).toContain(answer.code);
  }
});

test('capture and release of one hold at once: one of them resolves it, the other is told which', async () => {
  for (let round = 0; round < 6; round += 1) {
    const { member, hold } = await held(100);
    const answers = await times(4, (turn) =>
      post(turn + round, `/v1/holds/${hold.id}/${turn % 2 === 0 ? 'capture' : 'release'}`, {
        reference: reference(),
      }),
    );
    expect(tally(answers)).toEqual({ '200': 1, hold_already_resolved: 3 });
    const resolution = answers.find((answer) => answer.status === 200)!.body.status;
    for (const answer of answers) if (answer.status === 409) expect(answer.body.resolution).toBe(resolution);
    const expected = resolution === 'captured' ? 0 : 100;
    expect(await shop.balances(member)).toEqual({ available: expected, pending: 0, held: 0, debt: 0 });
  }
});

test('a receipt that comes back line by line at once is taken back exactly once', async () => {
  const member = await shop.enrol();
  const lines = [1, 2, 3, 4, 5].map((line) => ({ line, amount: 1_050 }));
  const accrual = await shop.accrue(member, 0, { purchase: { currency: 'EUR', lines } });
  expect((await shop.balances(member)).available).toBe(52);
  const reverse = (line: number, turn: number) =>
    post(turn, `/v1/accruals/${accrual.id}/reversals`, {
      reference: reference(),
      occurredAt: shop.time(),
      lines: [{ line }],
    });
  const answers = await times(10, (turn) => reverse((turn % 5) + 1, turn));
  const again = await Promise.all(
    answers.flatMap((answer, turn) =>
      answer.code === 'reference_in_progress' ? [reverse((turn % 5) + 1, turn)] : [],
    ),
  );
  expect(tally([...answers, ...again])['201']).toBe(5);
  expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
});

test('a member enrolled at one API earns at another in the next moment', async () => {
  for (let round = 0; round < 10; round += 1) {
    const member = reference('newcomer');
    expect((await post(0, '/v1/members', { member })).status).toBe(201);
    const answer = await post(1, '/v1/accruals', shop.receipt(member, 7));
    expect(answer.status).toBe(201);
    expect(answer.at('balances.points.available')).toBe(7);
  }
});

test('fifty receipts at once that enrol the same new member enrol one member', async () => {
  const member = { type: 'card', value: reference('4711') };
  const answers = await times(50, (turn) =>
    post(turn, '/v1/accruals', { ...shop.receipt('', 1), member, enrol: true }),
  );
  expect(tally(answers)).toEqual({ '201': 50 });
  expect(new Set(answers.map((answer) => answer.body.member)).size).toBe(1);
  const found = await post(0, '/v1/members/lookup', member);
  expect(found.at('balances.points.available')).toBe(50);
});

test('transfers back and forth at once neither make nor lose a point', async () => {
  const [anna, ben] = [await shop.enrol('anna'), await shop.enrol('ben')];
  await shop.accrue(anna, 100);
  await shop.accrue(ben, 100);
  const answers = await times(20, (turn) => {
    const [from, to] = turn % 2 === 0 ? [anna, ben] : [ben, anna];
    return post(turn, '/v1/transfers', { from, to, reference: reference(), points: 30 }, shop.tokens.admin);
  });
  for (const answer of answers) expect([201, 202, 409]).toContain(answer.status);
  await waitFor('both together have what they had', async () => {
    const [first, second] = [await shop.balances(anna), await shop.balances(ben)];
    return first.available + second.available === 200;
  });
});
