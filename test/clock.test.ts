/** An API whose own clock is wrong says so; it never judges a caller's times by it. */
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { createKey } from '#src/http/keys.ts';
import { startEngine, waitFor } from './harness.ts';

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

test('a clock that is right refuses what lies in the future', async () => {
  const member = await shop.enrol();
  const answer = await shop.pos('POST', '/v1/accruals', {
    ...shop.receipt(member, 10),
    occurredAt: shop.time(dayMs),
  });
  expect([answer.status, answer.code]).toEqual([400, 'occurred_at_in_future']);
});
