/** What callers are told when the machine under the service is not well, and what the service says of itself. */
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { createEviction } from '#src/jobs/eviction.ts';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import type { MemberNumber } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { type Answer, type Http, reference, startEngine, waitFor } from './harness.ts';
import { forge } from './house/journal.ts';

const shardCount = 4;
const engine = await startEngine({
  shardCount,
  onlyOneRedis: 'stands still for six seconds, in which a cluster would replace it',
});
afterAll(() => engine.end());
const shop = await engine.shop();
const otherApi = await engine.anotherApi();

/** One member of every shard. */
const everywhere = await Promise.all(Array.from({ length: shardCount }, () => shop.enrol('probe')));

afterEach(async () => {
  vi.useRealTimers();
  for (const member of everywhere) {
    await waitFor('every shard is served again', async () => {
      return (await shop.pos('POST', '/v1/accruals', shop.receipt(member, 1))).status === 201;
    });
  }
});

async function serves(http: Http, member: string): Promise<boolean> {
  return (
    (await http('GET', `/v1/members/${member}/balances`, undefined, { key: shop.tokens.pos })).status === 200
  );
}

async function withPoints(points: number): Promise<string> {
  const member = await shop.enrol();
  await shop.accrue(member, points, { durability: 'ledger' });
  return member;
}

describe('503', () => {
  test('a Redis that lost its scripts is fenced: nothing moves until a writer has recovered the shard', async () => {
    const member = await withPoints(10);
    await engine.withoutWriter(async () => {
      await engine.redis.script('FLUSH');
      const answer = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 5));
      expect([answer.status, answer.code]).toEqual([503, 'shard_recovering']);
      expect(answer.headers.get('retry-after')).toBe('1');
    });
    await waitFor('the shard is served again', () => serves(engine.http, member));
    expect((await shop.balances(member)).available).toBe(10);
  });

  test('an emptied Redis comes back from the books: members, lots and what is left to refund', async () => {
    const member = await withPoints(100);
    const redemption = await shop.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 40,
    });
    const held = await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 25 });
    await engine.drained();
    await engine.redis.flushall();
    await waitFor('the shards are served again', () => serves(engine.http, member));
    expect(await shop.balances(member)).toEqual({ available: 35, pending: 0, held: 25, debt: 0 });
    const refund = await shop.pos('POST', `/v1/redemptions/${redemption.id}/refunds`, {
      reference: reference(),
      points: 15,
    });
    expect(refund.status).toBe(201);
    expect((await shop.pos('POST', `/v1/holds/${held.id}/capture`, { reference: reference() })).status).toBe(
      200,
    );
    expect((await shop.balances(member)).available).toBe(50);
    const over = await shop.pos('POST', `/v1/redemptions/${redemption.id}/refunds`, {
      reference: reference(),
      points: 26,
    });
    expect(over.code).toBe('refund_exceeds_redemption');
  });

  test('journals at their limit refuse what is new and still let promises be kept', async () => {
    const full = await engine.anotherApi({ journalLimitBytes: 1 });
    const member = await withPoints(100);
    const held = await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 40 });
    const redemption = await shop.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 10,
    });
    const call = (path: string, body: object) =>
      full.http('POST', path, { reference: reference(), ...body }, { key: shop.tokens.pos });
    await waitFor('it has seen that', async () => {
      const receipt = shop.receipt(await shop.enrol(), 1);
      return (
        (await full.http('POST', '/v1/accruals', receipt, { key: shop.tokens.pos })).code === 'journal_full'
      );
    });
    expect((await call('/v1/redemptions', { member, points: 1 })).code).toBe('journal_full');
    expect((await call(`/v1/redemptions/${redemption.id}/refunds`, {})).status).toBe(201);
    expect((await call(`/v1/holds/${held.id}/capture`, { points: 20 })).status).toBe(200);
    expect((await shop.balances(member)).available).toBe(80);
    expect((await fetch(`${full.url}/readyz`)).status).toBe(503);
  });

  test('a machine whose clock is wrong moves nothing, because it would expire points for good', async () => {
    const member = await withPoints(10);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_000 });
    const answer = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 5));
    expect([answer.status, answer.code]).toEqual([503, 'clock_skew']);
    vi.useRealTimers();
    expect((await shop.balances(member)).available).toBe(10);
  });
});

test('504: a Redis that does not answer leaves the outcome unknown, and the same reference finds it out', async () => {
  const member = await withPoints(10);
  const body = { member, reference: reference(), points: 4 };
  await engine.redis.client('PAUSE', 6_000, 'ALL');
  const answer = await shop.pos('POST', '/v1/redemptions', body);
  expect(answer.body).toMatchObject({ status: 504, code: 'outcome_unknown', applied: 'unknown' });
  const again = await waitFor('Redis answers again', async () => {
    const repeated = await shop.pos('POST', '/v1/redemptions', body);
    return repeated.status === 201 ? repeated : undefined;
  });
  expect(again.body).toMatchObject({ status: 'redeemed', points: 4 });
  expect((await shop.balances(member)).available).toBe(6);
});

test('500: a damaged row is our fault, says nothing about itself, and hurts nobody else', async () => {
  const member = await shop.enrol('damaged');
  const { id } = await shop.admin('POST', '/v1/members/lookup', { type: 'id', value: member });
  const number = Number.parseInt(id.slice(4), 36);
  await engine.pool.query(`update identifier set value_encrypted = '\\x01' where member = $1`, [number]);
  const answer = await shop.admin('GET', `/v1/members/${id}`);
  expect(answer.body).toMatchObject({ status: 500, code: 'internal', detail: 'Something broke on our side' });
  expect((await shop.accrue(member, 1)).status).toBe(201);
});

test('a record that cannot be booked goes into quarantine under its number: its member’s spending is frozen, nobody else stops', async () => {
  const [member, neighbour] = [await withPoints(50), await withPoints(50)];
  const { id } = await shop.pos('POST', '/v1/members/lookup', { type: 'id', value: member });
  const number = Number.parseInt(id.slice(4), 36);
  const shard = number % shardCount;
  await forge(engine.redis, shard, number as MemberNumber, '{"legs":[["wallet",1,');
  await engine.drained();
  const { rows } = await engine.pool.query('select member, reason from quarantine');
  expect(rows).toMatchObject([{ member: number, reason: expect.stringContaining('cannot be read') }]);
  expect(await freezeQuarantined(engine.app)).toBe(1);
  const spend = (who: string, path: string): Promise<Answer> =>
    shop.pos('POST', path, { member: who, reference: reference(), points: 1 });
  expect((await spend(member, '/v1/redemptions')).code).toBe('spending_frozen');
  expect((await spend(member, '/v1/holds')).code).toBe('spending_frozen');
  expect((await shop.pos('POST', '/v1/accruals', shop.receipt(member, 5))).status).toBe(201);
  expect((await spend(neighbour, '/v1/redemptions')).status).toBe(201);
});

test('members that nobody asked for leave Redis and come back as they were', async () => {
  const member = await withPoints(30);
  await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 10 });
  await engine.drained();
  expect(await createEviction(engine.app, 0)()).toBeGreaterThan(0);
  const hot = await Promise.all([0, 1, 2, 3].map((shard) => engine.redis.keys(keys.memberPattern(shard))));
  expect(hot.flat()).toEqual([]);
  expect(await shop.balances(member)).toEqual({ available: 20, pending: 0, held: 10, debt: 0 });
});

describe('what the service says of itself', () => {
  test('/readyz says why not, /healthz that it lives', async () => {
    const ready = await fetch(`${otherApi.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ready', reasons: [] }]);
    await engine.withoutWriter(async () => {
      await engine.redis.config('SET', 'appendfsync', 'everysec');
      const reasons = await waitFor('it is not ready', async () => {
        const answer = await fetch(`${otherApi.url}/readyz`);
        return answer.status === 503
          ? ((await answer.json()) as { reasons: { reason: string; detail: string }[] })
          : undefined;
      });
      expect(reasons.reasons).toContainEqual({
        reason: 'redis_unsafe',
        detail: expect.stringContaining('appendfsync'),
      });
      await engine.redis.config('SET', 'appendfsync', 'always');
    });
    expect((await fetch(`${otherApi.url}/healthz`)).status).toBe(200);
    await waitFor('it is ready again', async () => (await fetch(`${otherApi.url}/readyz`)).status === 200);
  });

  test('/readyz/partly stays ready while only some shards wait for a person', async () => {
    const both = async () =>
      Promise.all(['', '/partly'].map(async (path) => (await fetch(`${otherApi.url}/readyz${path}`)).status));
    const behind = (shards: number) =>
      engine.pool.query(
        `insert into shard_state (shard, state, reason) select n, 'ledger_behind', 'said by a test' from generate_series(0, $1::int - 1) n
         on conflict do nothing`,
        [shards],
      );
    await engine.withoutWriter(async () => {
      try {
        await behind(1);
        await waitFor('some are not served', async () => (await both()).join() === '503,200');
        await behind(shardCount);
        await waitFor('none is served', async () => (await both()).join() === '503,503');
      } finally {
        await engine.pool.query('delete from shard_state');
      }
    });
    await waitFor('all are served', async () => (await both()).join() === '200,200');
  });

  test('/metrics counts requests by route and status, with names and units as Prometheus wants them', async () => {
    await shop.pos('GET', '/v1/members/nobody/balances');
    const text = await (await fetch(`${engine.url}/metrics`)).text();
    expect(text).toMatch(
      /loyalty_http_request_duration_seconds_count\{[^}]*route="\/v1\/members\/:member\/balances"[^}]*\} \d/,
    );
    for (const name of text.matchAll(/^# TYPE (loyalty_\S+) (\w+)$/gm)) {
      if (name[2] === 'counter') expect(name[1]).toMatch(/_total$/);
      expect(name[1]).toMatch(/^[a-z][a-z0-9_]*$/);
    }
  });

  test('/openapi.json is the document that the replies of this suite are held against', async () => {
    const document = (await (await fetch(`${engine.url}/openapi.json`)).json()) as {
      openapi: string;
      paths: object;
    };
    expect(document.openapi).toBe('3.1.0');
    const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(calls.toSorted()).toEqual([...engine.contract.calls].toSorted());
  });

  test('/docs and its guides come from local files alone', async () => {
    const found = new Set<string>();
    const open = ['/docs'];
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      if (found.has(path)) continue;
      found.add(path);
      const answer = await fetch(engine.url + path);
      expect([path, answer.status]).toEqual([path, 200]);
      if (!(answer.headers.get('content-type') ?? '').startsWith('text/html')) continue;
      const text = await answer.text();
      expect(text).not.toMatch(/(?:src|href)="https?:/);
      for (const link of text.matchAll(/(?:src|href)="(\/[^"#]+)/g)) open.push(link[1]!);
    }
    for (const guide of ['till', 'checkout', 'partner', 'operator']) {
      expect(
        [...found].some((path) => path.endsWith(guide)),
        guide,
      ).toBe(true);
    }
  });
});
