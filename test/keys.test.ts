/** Who may do what: keys, roles, stores, limits. */
import { afterAll, describe, expect, test } from 'vitest';
import { reference, type ShopRole, startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const otherApi = await engine.anotherApi();

describe('401', () => {
  test.each([
    ['no header', undefined, 'key_missing'],
    ['another scheme', 'Basic abc', 'key_missing'],
    ['an unknown key', 'Bearer lk_unknown', 'key_unknown'],
    ['a key of a bare machine', 'Bearer demo-admin', 'key_unknown'],
    ['an empty key', 'Bearer ', 'key_missing'],
    ['a key of 10,000 characters', `Bearer lk_${'x'.repeat(10_000)}`, 'key_unknown'],
  ])('%s', async (_, authorization, code) => {
    const headers = authorization === undefined ? {} : { authorization };
    const answer = await engine.http('GET', '/v1/program', undefined, { headers });
    expect([answer.status, answer.code]).toEqual([401, code]);
    expect(answer.headers.get('www-authenticate')).toContain('Bearer');
  });
});

describe('a key', () => {
  test('is shown once, works at once, and is listed without its secret', async () => {
    const draft = {
      client: 'pop-up store',
      role: 'pos',
      stores: ['s1'],
      limits: { pointsPerMovement: 50, backdateDays: 3 },
    };
    const created = await shop.admin('POST', '/v1/keys', draft);
    expect(created.status).toBe(201);
    const token = String(created.body.token);
    const program = await engine.http('GET', '/v1/program', undefined, { key: token });
    expect(program.body).toMatchObject({ client: 'pop-up store', role: 'pos', stores: ['s1'] });
    const list = await shop.admin('GET', '/v1/keys?limit=200');
    const listed = (list.body.data as { id: string }[]).find((key) => key.id === created.id);
    expect(listed).toMatchObject({
      client: 'pop-up store',
      limits: { pointsPerMovement: 50 },
      revokedAt: null,
    });
    expect(JSON.stringify(list.body)).not.toContain(token);
    const stored = await engine.pool.query(
      "select count(*)::int as count from api_key where position($1 in encode(key_hash, 'escape')) > 0",
      [token],
    );
    expect(stored.rows[0]).toEqual({ count: 0 });
  });

  test('that is revoked stops working everywhere within a second', async () => {
    const created = await shop.admin('POST', '/v1/keys', { client: 'x', role: 'pos' });
    const token = String(created.body.token);
    const works = async (http: typeof engine.http) =>
      (await http('GET', '/v1/program', undefined, { key: token })).status === 200;
    await waitFor(
      'both APIs know the key',
      async () => (await works(engine.http)) && (await works(otherApi.http)),
    );
    expect((await shop.admin('DELETE', `/v1/keys/${created.id}`)).body.revokedAt).not.toBeNull();
    await waitFor(
      'both APIs refuse it',
      async () => !(await works(engine.http)) && !(await works(otherApi.http)),
      1_000,
    );
  });

  test('that was revoked by hand in the database stops working within a second', async () => {
    const token = await shop.key({ client: 'x', role: 'pos' });
    await engine.pool.query(
      `update api_key set revoked_at = now(), changed_at = now() where id = (select max(id) from api_key where program = $1)`,
      [shop.program.number],
    );
    await waitFor(
      'it is refused',
      async () => (await engine.http('GET', '/v1/program', undefined, { key: token })).code === 'key_unknown',
      1_000,
    );
  });

  test('works until it expires', async () => {
    const expiresAt = new Date(Date.now() + 400).toISOString();
    const created = await shop.admin('POST', '/v1/keys', { client: 'x', role: 'pos', expiresAt });
    const token = String(created.body.token);
    const ask = () => engine.http('GET', '/v1/program', undefined, { key: token });
    expect((await ask()).status).toBe(200);
    await waitFor('it has expired', async () => (await ask()).code === 'key_unknown', 2_000);
  });

  test('of another program is not found', async () => {
    const stranger = await engine.shop();
    const created = await stranger.admin('POST', '/v1/keys', { client: 'x', role: 'pos' });
    expect((await shop.admin('DELETE', `/v1/keys/${created.id}`)).code).toBe('not_found');
    expect((await shop.admin('DELETE', '/v1/keys/key_none')).code).toBe('not_found');
    const list = await shop.admin('GET', '/v1/keys?limit=200');
    expect((list.body.data as { id: string }[]).map((key) => key.id)).not.toContain(created.id);
  });

  test('lists have pages', async () => {
    const first = await shop.admin('GET', '/v1/keys?limit=2');
    const second = await shop.admin('GET', `/v1/keys?limit=2&cursor=${String(first.body.nextCursor)}`);
    const ids = [first, second].flatMap((page) => (page.body.data as { id: string }[]).map((key) => key.id));
    expect(new Set(ids).size).toBe(4);
  });
});

describe('roles', () => {
  const till: ShopRole[] = ['pos', 'checkout', 'admin'];
  const admin: ShopRole[] = ['admin'];
  const calls: [string, string, ShopRole[]][] = [
    ['POST', '/v1/members', till],
    ['POST', '/v1/members/bulk', till],
    ['POST', '/v1/members/lookup', [...till, 'care']],
    ['GET', '/v1/members/x', ['care', 'finance', 'admin']],
    ['PATCH', '/v1/members/x', admin],
    ['POST', '/v1/members/x/suspend', admin],
    ['POST', '/v1/members/x/resume', admin],
    ['POST', '/v1/members/x/close', admin],
    ['POST', '/v1/members/x/merge', admin],
    ['POST', '/v1/members/x/erasure', admin],
    ['GET', '/v1/members/x/export', ['care', 'admin']],
    ['GET', '/v1/members/x/balances', [...till, 'care', 'finance']],
    ['GET', '/v1/members/x/statement', [...till, 'care', 'finance']],
    ['POST', '/v1/accruals', till],
    ['POST', '/v1/accruals/bulk', till],
    ['POST', '/v1/accruals/quote', [...till, 'care']],
    ['POST', '/v1/accruals/x/reversals', [...till, 'care']],
    ['POST', '/v1/redemptions', till],
    ['POST', '/v1/redemptions/quote', [...till, 'care']],
    ['POST', '/v1/redemptions/x/refunds', [...till, 'care']],
    ['POST', '/v1/returns', [...till, 'care']],
    ['POST', '/v1/holds', till],
    ['GET', '/v1/holds/x', [...till, 'care', 'finance']],
    ['POST', '/v1/holds/x/capture', till],
    ['POST', '/v1/holds/x/release', till],
    ['POST', '/v1/adjustments', ['care', 'admin']],
    ['POST', '/v1/transfers', admin],
    ['GET', '/v1/operations/x', [...till, 'care', 'finance']],
    ['GET', '/v1/test-clock', admin],
    ['PUT', '/v1/test-clock', admin],
    ['POST', '/v1/test-clock/advance', admin],
    ['POST', '/v1/keys', admin],
    ['GET', '/v1/keys', admin],
    ['DELETE', '/v1/keys/x', admin],
    ['GET', '/v1/program', [...till, 'care', 'finance']],
  ];
  test.each(calls)('%s %s is for exactly its roles', async (method, path, allowed) => {
    const body = method === 'GET' || method === 'DELETE' ? undefined : {};
    for (const role of ['pos', 'checkout', 'care', 'finance', 'admin'] as const) {
      const answer = await shop[role](method, path, body, { invalid: true });
      expect([role, answer.code === 'role_not_allowed'], `${method} ${path}`).toEqual([
        role,
        !allowed.includes(role),
      ]);
    }
  });
});

describe('403', () => {
  test('a key bound to stores acts for those only', async () => {
    const key = await shop.key({ client: 'tills', role: 'pos', stores: ['north', 'south'] });
    const member = await shop.enrol();
    const receipt = (store: string | undefined) => ({
      ...shop.receipt(member, 0),
      purchase: {
        currency: 'EUR',
        lines: [{ line: 1, amount: 500 }],
        ...(store === undefined ? {} : { store }),
      },
    });
    const post = (path: string, body: unknown) => engine.http('POST', path, body, { key });
    expect((await post('/v1/accruals', receipt('north'))).status).toBe(201);
    expect((await post('/v1/accruals', receipt('west'))).code).toBe('store_not_allowed');
    expect((await post('/v1/accruals', receipt(undefined))).code).toBe('store_not_allowed');
    expect((await post('/v1/accruals/quote', receipt('west'))).code).toBe('store_not_allowed');
    const { purchase } = receipt('west');
    const redemption = { member, reference: reference(), points: 1, purchase };
    expect((await post('/v1/redemptions', redemption)).code).toBe('store_not_allowed');
    expect((await post('/v1/holds', redemption)).code).toBe('store_not_allowed');
    expect((await shop.balances(member)).available).toBe(5);
  });

  test('a key’s limit on one movement', async () => {
    const limited = (role: 'pos' | 'care') => shop.key({ client: 'limited', role, pointsPerMovementMax: 50 });
    const [pos, care] = [await limited('pos'), await limited('care')];
    const member = await shop.enrol();
    const over = await engine.http('POST', '/v1/accruals', shop.receipt(member, 51), { key: pos });
    expect(over.body).toMatchObject({ status: 403, code: 'limit_exceeded', limit: 50, required: 51 });
    expect((await engine.http('POST', '/v1/accruals', shop.receipt(member, 50), { key: pos })).status).toBe(
      201,
    );
    const adjust = (points: number) =>
      engine.http(
        'POST',
        '/v1/adjustments',
        { member, reference: reference(), points, reason: 'x' },
        { key: care },
      );
    expect((await adjust(-51)).code).toBe('limit_exceeded');
    expect((await adjust(-50)).status).toBe(201);
    const redemption = { member, reference: reference(), points: 51 };
    expect((await engine.http('POST', '/v1/redemptions', redemption, { key: pos })).code).toBe(
      'limit_exceeded',
    );
  });

  test('a key’s limit on a day', async () => {
    const key = await shop.key({ client: 'daily', role: 'care', pointsPerDayMax: 100 });
    const member = await shop.enrol();
    const adjust = (points: number) =>
      engine.http(
        'POST',
        '/v1/adjustments',
        { member, reference: reference(), points, reason: 'x' },
        { key },
      );
    expect((await adjust(60)).status).toBe(201);
    expect((await adjust(41)).code).toBe('limit_exceeded');
    expect((await adjust(40)).status).toBe(201);
    expect((await adjust(1)).code).toBe('limit_exceeded');
    expect((await shop.balances(member)).available).toBe(100);
  });

  test('a key’s limit on back-dating', async () => {
    const key = await shop.key({ client: 'tills', role: 'pos', backdateDaysMax: 3 });
    const member = await shop.enrol();
    const daysAgo = (days: number) => shop.receipt(member, 1, { occurredAt: shop.time(-days * 86_400_000) });
    const old = await engine.http('POST', '/v1/accruals', daysAgo(4), { key });
    expect(old.body).toMatchObject({
      status: 400,
      code: 'occurred_at_too_old',
      errors: [{ pointer: '/occurredAt' }],
    });
    expect((await engine.http('POST', '/v1/accruals', daysAgo(2), { key })).status).toBe(201);
  });
});
