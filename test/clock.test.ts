/** An API whose own clock is wrong says so; it never judges a caller's times by it. */
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { createKey } from '#src/http/keys.ts';
import { newOperation, parseMemberId } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { reference, startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
afterEach(() => {
  vi.restoreAllMocks();
});
const shop = await engine.shop({ definition: { backdateDaysMax: 10 } });

const realNow = Date.now;
const dayMs = 86_400_000;

function shiftClock(byMs: number): void {
  vi.spyOn(Date, 'now').mockImplementation(() => realNow() + byMs);
}

test.each([
  ['a day behind', -dayMs],
  ['a year ahead', 365 * dayMs],
])('%s it answers 503 to a receipt of just now, whose repeat elsewhere is then done', async (_how, byMs) => {
  const member = await shop.enrol();
  const receipt = shop.receipt(member, 10);
  shiftClock(byMs);
  const refused = await shop.pos('POST', '/v1/accruals', receipt);
  vi.restoreAllMocks();
  expect([refused.status, refused.code, refused.body.applied]).toEqual([503, 'clock_skew', 'no']);
  expect((await shop.pos('POST', '/v1/accruals', receipt)).status).toBe(201);
});

test.each([
  ['a year ahead', 365 * dayMs],
  ['a year behind', -365 * dayMs],
])(
  '%s it judges no key that ends: it answers 503, not that the key is unknown or good',
  async (_how, byMs) => {
    const { token } = await createKey(engine.pool, {
      program: shop.program.number,
      client: 'seasonal',
      role: 'pos',
      actor: 'test',
      expiresAt: new Date(realNow() + dayMs),
    });
    const member = await shop.enrol();
    const asked = () => engine.http('GET', `/v1/members/${member}/balances`, undefined, { key: token });
    await waitFor('the key is known', async () => (await asked()).status === 200);
    shiftClock(byMs);
    const refused = await asked();
    vi.restoreAllMocks();
    expect([refused.status, refused.code]).toEqual([503, 'clock_skew']);
    await waitFor('the clock is found right again', async () => (await asked()).status === 200);
  },
);

test('a movement that was judged before the clock was put right is refused: it would take its member a day ahead for good', async () => {
  const member = parseMemberId(
    (await shop.pos('GET', `/v1/members/${await shop.enrol()}/balances`)).body.member as string,
  )!;
  const { wallet } = engine.app.operations;
  const journal = keys.journal(wallet.shardOf(member));
  const records = await engine.redis.xlen(journal);
  const at = Date.now() + dayMs;
  const refused = await wallet
    .execute({
      script: 'accrue',
      kind: 'accrual',
      program: shop.program.number,
      client: 0,
      member,
      operation: newOperation(wallet.shardOf(member), Date.now()),
      origins: [],
      order: '',
      referenceKey: '',
      fingerprint: '',
      occurredAt: at,
      at,
      judgedAt: at,
      lookedUpAt: Date.now(),
      isAwaited: false,
      input: JSON.stringify({ awards: [[1, 5, 0, 0, 0]] }),
      request: '{}',
      factsVersion: undefined,
    })
    .catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'clock_skew' });
  expect(await engine.redis.xlen(journal)).toBe(records);
});

test('a short hold by an API whose clock is seconds behind has not ended when it begins', async () => {
  const member = await shop.enrol();
  const tolerated = 4_000;
  shiftClock(tolerated);
  const accrued = await shop.accrue(member, 10);
  vi.restoreAllMocks();
  const hold = await shop.pos('POST', '/v1/holds', {
    member,
    points: 4,
    expiresInSeconds: 2,
    reference: reference(),
  });
  expect([accrued.status, hold.status]).toEqual([201, 201]);
  expect(hold.at('balances.points.held')).toBe(4);
  // The member's time is that of the accrual.
  expect(Date.parse(String(hold.body.expiresAt))).toBeGreaterThan(realNow() + tolerated - 1_000);
});

test('a clock that is right refuses what lies in the future', async () => {
  const member = await shop.enrol();
  const answer = await shop.pos('POST', '/v1/accruals', {
    ...shop.receipt(member, 10),
    occurredAt: shop.time(dayMs),
  });
  expect([answer.status, answer.code]).toEqual([400, 'occurred_at_in_future']);
});
