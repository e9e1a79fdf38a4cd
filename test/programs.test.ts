/** Several programs in one installation, live or test, that never see each other. */
import { afterAll, describe, expect, test } from 'vitest';
import { bookDue } from '#src/jobs/due.ts';
import { type Answer, amountRule, inDays, reference, startEngine } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const [ours, theirs] = [await engine.shop(), await engine.shop()];
const dayMs = 86_400_000;

/** A problem without what differs between any two requests. */
function plain(answer: Answer): unknown {
  const { requestId: _, ...rest } = answer.body;
  return { status: answer.status, ...rest };
}

describe('programs never see each other', () => {
  test('the same names and references mean different members and movements', async () => {
    const identifiers = [{ type: 'card', value: reference('card') }];
    const member = 'same-name';
    const named = reference();
    for (const shop of [ours, theirs]) {
      expect((await shop.pos('POST', '/v1/members', { member, identifiers })).status).toBe(201);
      const accrued = await shop.accrue(member, shop === ours ? 10 : 25, { reference: named });
      expect(accrued.replayed).toBe(false);
    }
    expect([await ours.balances(member), await theirs.balances(member)]).toMatchObject([
      { available: 10 },
      { available: 25 },
    ]);
  });

  test('another program’s things answer exactly what unknown things answer', async () => {
    const member = await theirs.enrol('hidden');
    const { id: number } = await theirs.pos('POST', '/v1/members/lookup', { type: 'id', value: member });
    const accrual = await theirs.accrue(member, 100);
    const hold = await theirs.pos('POST', '/v1/holds', { member, reference: reference(), points: 10 });
    const redemption = await theirs.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 10,
    });
    await engine.drained();
    const unknownHex = '00000000000070008000000000000000';
    const pairs: [string, string, unknown?][] = [
      [`GET /v1/members/${number}`, 'GET /v1/members/mem_0zzzzzzz'],
      [`GET /v1/members/${number}/balances`, 'GET /v1/members/mem_0zzzzzzz/balances'],
      [`GET /v1/members/${number}/statement`, 'GET /v1/members/mem_0zzzzzzz/statement'],
      [`GET /v1/members/${number}/export`, 'GET /v1/members/mem_0zzzzzzz/export'],
      [`GET /v1/holds/${hold.id}`, `GET /v1/holds/hold_${unknownHex}`],
      [`GET /v1/holds?member=${number}`, 'GET /v1/holds?member=mem_0zzzzzzz'],
      [`GET /v1/operations/${accrual.id}`, `GET /v1/operations/acc_${unknownHex}`],
      [`POST /v1/holds/${hold.id}/capture`, `POST /v1/holds/hold_${unknownHex}/capture`, { reference: 'r' }],
      [
        `POST /v1/redemptions/${redemption.id}/refunds`,
        `POST /v1/redemptions/red_${unknownHex}/refunds`,
        { reference: 'r' },
      ],
      [
        `POST /v1/accruals/${accrual.id}/reversals`,
        `POST /v1/accruals/acc_${unknownHex}/reversals`,
        { reference: 'r', occurredAt: ours.time() },
      ],
      [
        `POST /v1/members/${number}/suspend`,
        'POST /v1/members/mem_0zzzzzzz/suspend',
        { reference: 'r', reason: 'x' },
      ],
    ];
    for (const [foreign, unknown, body] of pairs) {
      const ask = (call: string) => ours.admin(...(call.split(' ') as [string, string]), body);
      const [first, second] = [await ask(foreign), await ask(unknown)];
      expect(first.status, foreign).toBeGreaterThanOrEqual(404);
      expect(plain(first), foreign).toEqual(plain(second));
    }
    for (const path of ['/v1/accruals', '/v1/redemptions']) {
      const body = (name: string) =>
        path === '/v1/accruals' ? ours.receipt(name, 1) : { member: name, reference: reference(), points: 1 };
      expect(plain(await ours.pos('POST', path, body(number)))).toEqual(
        plain(await ours.pos('POST', path, body('mem_0zzzzzzz'))),
      );
    }
    expect(await theirs.balances(member)).toEqual({ available: 80, pending: 0, held: 10, debt: 0 });
  });

  test('a transfer or a merge across programs finds nobody', async () => {
    const [mine, foreign] = [await ours.enrol(), await theirs.enrol()];
    const { id } = await theirs.pos('POST', '/v1/members/lookup', { type: 'id', value: foreign });
    await ours.accrue(mine, 10);
    const transfer = await ours.admin('POST', '/v1/transfers', {
      from: mine,
      to: id,
      reference: reference(),
      points: 5,
    });
    expect(transfer.code).toBe('member_not_found');
    const merge = await ours.admin('POST', `/v1/members/${mine}/merge`, {
      reference: reference(),
      reason: 'x',
      into: id,
    });
    expect(merge.code).toBe('member_not_found');
    expect((await ours.balances(mine)).available).toBe(10);
  });
});

test('a program says who it is and who you are in it', async () => {
  const shop = await engine.shop({ mode: 'test', timeZone: 'Asia/Tokyo' });
  const answer = await shop.finance('GET', '/v1/program');
  expect(answer.body).toMatchObject({
    object: 'program',
    mode: 'test',
    timeZone: 'Asia/Tokyo',
    version: 1,
    currencies: [{ code: 'points', spendable: true, main: true }],
    client: 'finance',
    role: 'finance',
    stores: null,
  });
});

describe('the test clock', () => {
  const definition = {
    rules: [amountRule('spend', 'points', [1, 100], { expiry: inDays(10) })],
  };

  test('moves bounds, scripts, holds and what is due together, for its program alone', async () => {
    const [moved, still] = [
      await engine.shop({ mode: 'test', definition }),
      await engine.shop({ mode: 'test', definition }),
    ];
    const members = [await moved.enrol(), await still.enrol()] as const;
    await moved.accrue(members[0], 100);
    await still.accrue(members[1], 100);
    const hold = await moved.pos('POST', '/v1/holds', {
      member: members[0],
      reference: reference(),
      points: 40,
    });
    await moved.advance(3_600);
    expect((await moved.pos('GET', `/v1/holds/${hold.id}`)).body.status).toBe('expired');
    await moved.advance(11 * 86_400);
    expect((await moved.balances(members[0])).available).toBe(0);
    expect((await still.balances(members[1])).available).toBe(100);
    const receipt = moved.receipt(members[0], 5);
    expect(Date.parse(String(receipt.occurredAt))).toBeGreaterThan(Date.now() + 11 * dayMs);
    expect((await moved.pos('POST', '/v1/accruals', receipt)).status).toBe(201);
    const future = still.receipt(members[1], 5, { occurredAt: receipt.occurredAt });
    expect((await still.pos('POST', '/v1/accruals', future)).code).toBe('occurred_at_in_future');
    await engine.drained();
    await bookDue(engine.app);
    await engine.drained();
    const due = await engine.pool.query<{ kind: string }>(
      `select o.kind from operation o where o.program = $1 and kind = 'expiry'`,
      [moved.program.number],
    );
    expect(due.rowCount).toBeGreaterThan(0);
  });

  test('only goes forward, and not beyond a century', async () => {
    const shop = await engine.shop({ mode: 'test' });
    const set = (now: string) => shop.admin('PUT', '/v1/test-clock', { now });
    expect((await set(shop.time(3_600_000))).status).toBe(200);
    expect((await set(shop.time(-60_000))).code).toBe('clock_not_movable');
    expect((await set('2999-01-01T00:00:00Z')).code).toBe('clock_not_movable');
    expect((await shop.admin('GET', '/v1/test-clock')).body).toMatchObject({
      object: 'testClock',
      mode: 'test',
    });
  });

  test('of a live program does not move', async () => {
    expect((await ours.admin('PUT', '/v1/test-clock', { now: ours.time(3_600_000) })).code).toBe(
      'clock_not_movable',
    );
    expect((await ours.admin('POST', '/v1/test-clock/advance', { seconds: 60 })).code).toBe(
      'clock_not_movable',
    );
  });

  test('moved at one API it holds at another', async () => {
    const other = await engine.anotherApi();
    const shop = await engine.shop({ mode: 'test', definition });
    const member = await shop.enrol();
    await shop.accrue(member, 100);
    await shop.advance(12 * 86_400);
    const there = await other.http('GET', `/v1/members/${member}/balances`, undefined, {
      key: shop.tokens.pos,
    });
    expect(there.at('balances.points.available')).toBe(0);
  });
});
