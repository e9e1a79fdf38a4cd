/**
 * Everything that can be wrong with a request: each its problem document with a pointer to the fault, never a 500, never a
 * partial change, and the next request works.
 */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Answer, noteCode, reference, startEngine } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const member = await shop.enrol('anna');
await shop.accrue(member, 100, { durability: 'ledger' });
await engine.drained();
const before = await everything();

/** What must not change: the balance, and how much the books hold. */
async function everything(): Promise<unknown> {
  await engine.drained();
  const counts = await engine.pool.query(
    'select (select count(*)::int from operation) as operations, (select count(*)::int from member) as members, (select count(*)::int from identifier) as identifiers',
  );
  return { ...(await shop.balances(member)), ...counts.rows[0] };
}

afterEach(async () => {
  expect(await everything()).toEqual(before);
  const next = await shop.pos('POST', '/v1/accruals/quote', {
    purchase: { currency: 'EUR', lines: [{ line: 1, amount: 100 }] },
  });
  expect(next.body.awards).toMatchObject([{ points: 1 }]);
});

const accrual = (change: object): Record<string, unknown> => ({ ...shop.receipt(member, 10), ...change });
const line = (change: object): object => ({
  purchase: { currency: 'EUR', lines: [{ line: 1, amount: 100, ...change }] },
});
const post = (path: string, body: unknown, headers = {}): Promise<Answer> =>
  shop.pos('POST', path, body, { invalid: true, headers });

function expectFault(answer: Answer, pointer: string): void {
  expect(answer.body).toMatchObject({ status: 400, code: 'validation_failed', applied: 'no' });
  expect((answer.body.errors as { pointer: string }[]).map((each) => each.pointer)).toContain(pointer);
}

describe('a field of a receipt', () => {
  test.each<[string, object, string]>([
    ['an unknown field', { colour: 'red' }, '/colour'],
    ['an unknown field inside', line({ weight: 3 }), '/purchase/lines/0/weight'],
    ['a negative amount', line({ amount: -1 }), '/purchase/lines/0/amount'],
    ['a fractional amount', line({ amount: 1.5 }), '/purchase/lines/0/amount'],
    ['an amount beyond what can be counted', line({ amount: 2 ** 53 }), '/purchase/lines/0/amount'],
    ['an amount as text', line({ amount: '100' }), '/purchase/lines/0/amount'],
    ['an amount that is null', line({ amount: null }), '/purchase/lines/0/amount'],
    ['a missing amount', line({ amount: undefined }), '/purchase/lines/0/amount'],
    ['a quantity as a number', line({ quantity: 1.5 }), '/purchase/lines/0/quantity'],
    ['a negative quantity', line({ quantity: '-1' }), '/purchase/lines/0/quantity'],
    ['money in lower case', { purchase: { currency: 'eur', lines: [] } }, '/purchase/currency'],
    ['lines that are no list', { purchase: { currency: 'EUR', lines: {} } }, '/purchase/lines'],
    ['a purchase without lines', { purchase: { currency: 'EUR' } }, '/purchase/lines'],
    [
      '1,001 lines',
      {
        purchase: {
          currency: 'EUR',
          lines: Array.from({ length: 1_001 }, (_, i) => ({ line: i, amount: 1 })),
        },
      },
      '/purchase/lines',
    ],
    ['a reference of 129 characters', { reference: 'x'.repeat(129) }, '/reference'],
    ['an empty reference', { reference: '' }, '/reference'],
    ['a reference that is a number', { reference: 5 }, '/reference'],
    ['a reference with a control character', { reference: 'a\u0007b' }, '/reference'],
    ['a reference with a NUL', { reference: 'a\u0000b' }, '/reference'],
    ['a reference with half a surrogate pair', { reference: 'a\ud800b' }, '/reference'],
    [
      'an order of 65 characters',
      { purchase: { currency: 'EUR', lines: [], order: 'x'.repeat(65) } },
      '/purchase/order',
    ],
    ['a time without offset', { occurredAt: '2026-01-01T10:00:00' }, '/occurredAt'],
    ['a time that does not exist', { occurredAt: '2026-02-30T10:00:00Z' }, '/occurredAt'],
    ['a time as a number', { occurredAt: 1_767_225_600_000 }, '/occurredAt'],
    ['a missing time', { occurredAt: undefined }, '/occurredAt'],
    ['a durability that does not exist', { durability: 'best' }, '/durability'],
    [
      '21 pairs of metadata',
      { metadata: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, 'v'])) },
      '/metadata',
    ],
    ['metadata that is no text', { metadata: { k: 1 } }, '/metadata/k'],
    ['a member that is a number', { member: 5 }, '/member'],
    ['a member without a name', { member: '  ' }, '/member'],
    [
      'a member with an unknown field',
      { member: { type: 'card', value: '1', country: 'DE' } },
      '/member/country',
    ],
    ['a missing member', { member: undefined }, '/member'],
    ['a grant of 0 points', { purchase: undefined, grant: { points: 0, product: 'x' } }, '/grant/points'],
    [
      'a grant of fractional points',
      { purchase: undefined, grant: { points: 0.5, product: 'x' } },
      '/grant/points',
    ],
    ['a field named __proto__', JSON.parse('{"__proto__":{"x":1}}') as object, '/__proto__'],
  ])('%s', async (_, change, pointer) => {
    const body = Object.hasOwn(change, '__proto__')
      ? JSON.stringify(accrual({})).replace('{', '{"__proto__":{"x":1},')
      : accrual(change);
    expectFault(await post('/v1/accruals', body), pointer);
  });

  test('every fault of a body is named at once', async () => {
    const answer = await post('/v1/accruals', {
      member: 5,
      reference: '',
      occurredAt: 'x',
      purchase: { currency: 'E', lines: [{}] },
    });
    const pointers = (answer.body.errors as { pointer: string }[]).map((each) => each.pointer);
    expect(pointers.toSorted()).toEqual(
      [
        '/member',
        '/occurredAt',
        '/purchase/currency',
        '/purchase/lines/0/amount',
        '/purchase/lines/0/line',
        '/reference',
      ].toSorted(),
    );
  });

  test('a pointer escapes what RFC 6901 says', async () => {
    expectFault(await post('/v1/accruals', accrual({ 'a/b~c': 1 })), '/a~1b~0c');
  });
});

describe('a field of other movements', () => {
  const base = { member, points: 1 };
  test.each<[string, string, object, string]>([
    ['zero points', '/v1/redemptions', { ...base, points: 0 }, '/points'],
    ['negative points', '/v1/redemptions', { ...base, points: -5 }, '/points'],
    ['fractional points', '/v1/redemptions', { ...base, points: 0.5 }, '/points'],
    ['points beyond what can be counted', '/v1/redemptions', { ...base, points: 2 ** 53 }, '/points'],
    ['points as text', '/v1/holds', { ...base, points: '5' }, '/points'],
    ['a hold of no time', '/v1/holds', { ...base, expiresInSeconds: 0 }, '/expiresInSeconds'],
    ['a hold of eight days', '/v1/holds', { ...base, expiresInSeconds: 8 * 86_400 }, '/expiresInSeconds'],
    ['parts beside points', '/v1/holds', { ...base, parts: [{ currency: 'points', points: 1 }] }, '/parts'],
    ['parts of nothing', '/v1/redemptions', { member, parts: [] }, '/parts'],
    ['a currency that cannot be one', '/v1/redemptions', { ...base, currency: 'No!' }, '/currency'],
    ['a value without its currency', '/v1/redemptions', { ...base, value: { amount: 5 } }, '/value/currency'],
    [
      'a return in an unheard way',
      '/v1/returns',
      { occurredAt: '2026-01-01T10:00:00Z', order: 'o', points: 'some' },
      '/points',
    ],
  ])('%s', async (_, path, body, pointer) => {
    expectFault(await post(path, { reference: reference(), ...body }), pointer);
  });

  test('an adjustment of zero, or without a reason', async () => {
    const adjust = (body: object) =>
      shop.care(
        'POST',
        '/v1/adjustments',
        { member, reference: reference(), reason: 'x', points: 1, ...body },
        { invalid: true },
      );
    expectFault(await adjust({ points: 0 }), '/points');
    expectFault(await adjust({ reason: '' }), '/reason');
    expectFault(await adjust({ funder: 'nobody' }), '/funder');
    expect((await adjust({ currency: 'stars' })).code).toBe('currency_unknown');
  });
});

describe('a body', () => {
  const good = () => JSON.stringify(accrual({}));
  test.each<[string, () => string | Uint8Array, string, number]>([
    ['that is empty', () => '', 'body_malformed', 400],
    ['that is no JSON', () => '{"member":', 'body_malformed', 400],
    ['with something behind it', () => `${good()}x`, 'body_malformed', 400],
    ['that is a number', () => '5', 'validation_failed', 400],
    ['that is a list', () => '[]', 'validation_failed', 400],
    ['that is null', () => 'null', 'validation_failed', 400],
    ['in Latin-1', () => Buffer.from(`{"member":"Jos\u00e9"}`, 'latin1'), 'body_malformed', 400],
    ['in UTF-16', () => Buffer.from(good(), 'utf16le'), 'body_malformed', 400],
    ['with a byte order mark', () => `\ufeff${good()}`, 'body_malformed', 400],
    ['with a raw control character', () => good().replace('till/', 'till\u0001'), 'body_malformed', 400],
    ['nested 10,000 levels deep', () => '['.repeat(10_000) + ']'.repeat(10_000), 'body_malformed', 400],
    [
      'nested 33 levels deep inside metadata',
      () =>
        JSON.stringify(accrual({ metadata: 0 })).replace(
          '"metadata":0',
          `"metadata":${'{"a":'.repeat(33)}1${'}'.repeat(33)}`,
        ),
      'body_malformed',
      400,
    ],
    ['of 129 KiB', () => JSON.stringify(accrual({ more: 'x'.repeat(129 * 1024) })), 'body_too_large', 413],
    ['of 9 MiB', () => JSON.stringify({ more: 'x'.repeat(9 * 1024 * 1024) }), 'body_too_large', 413],
  ])('%s', async (_, body, code, status) => {
    const answer = await post('/v1/accruals', body());
    expect([answer.status, answer.code]).toEqual([status, code]);
  });

  test('a bulk call takes 8 MiB and no more', async () => {
    const body = JSON.stringify({ items: [{ more: 'x'.repeat(9 * 1024 * 1024) }] });
    expect((await post('/v1/accruals/bulk', body)).code).toBe('body_too_large');
  });

  test.each([
    ['text/plain', {}],
    ['application/json; charset=latin1', {}],
    ['application/x-www-form-urlencoded', {}],
    ['application/json', { 'content-encoding': 'gzip' }],
  ])('of type %s %o is 415', async (type, more) => {
    const answer = await post('/v1/accruals', good(), { 'content-type': type, ...more });
    expect([answer.status, answer.code]).toEqual([415, 'media_type_unsupported']);
  });
});

describe('a header, a path or a query', () => {
  test.each([
    ['a wait of 11 seconds', { Prefer: 'wait=11' }, 'header:Prefer'],
    ['a wait that is no number', { Prefer: 'wait=soon' }, 'header:Prefer'],
    ['a key of 129 characters', { 'Idempotency-Key': 'x'.repeat(129) }, 'header:Idempotency-Key'],
    ['a key with blanks', { 'Idempotency-Key': 'a b' }, 'header:Idempotency-Key'],
  ])('%s', async (_, headers, pointer) => {
    expectFault(await post('/v1/accruals', accrual({}), headers), pointer);
  });

  test.each([
    ['a limit of 0', `/v1/holds?member=${member}&limit=0`, 'query:limit'],
    ['a limit of 201', `/v1/holds?member=${member}&limit=201`, 'query:limit'],
    ['an unknown parameter', `/v1/holds?member=${member}&colour=red`, 'query:colour'],
    ['a parameter twice', `/v1/holds?member=${member}&member=x`, 'query:member'],
    ['a missing parameter', '/v1/holds', 'query:member'],
    ['a control character in a query', '/v1/holds?member=a%00b', 'query:member'],
    ['a control character in a path', '/v1/members/a%00b/balances', 'path:member'],
    ['a path that is not UTF-8', '/v1/members/%ZZ/balances', 'path'],
    ['a cursor of somebody’s own making', `/v1/holds?member=${member}&cursor=abc`, 'query:cursor'],
    ['a query of 5,000 characters', `/v1/holds?member=${'x'.repeat(5_000)}`, 'query:'],
  ])('%s', async (_, path, pointer) => {
    expectFault(await shop.pos('GET', path, undefined, { invalid: true }), pointer);
  });

  test('an unknown path is 404, a known one with another method 405 with those it has', async () => {
    expect((await shop.pos('GET', '/v1/nothing')).code).toBe('not_found');
    const answer = await shop.pos('DELETE', '/v1/accruals');
    expect([answer.status, answer.code, answer.headers.get('allow')]).toEqual([
      405,
      'method_not_allowed',
      'POST',
    ]);
  });
});

describe('on the wire', () => {
  /** Sends bytes as they are and reads until the server closes; answers the status lines and codes. */
  function raw(...pieces: string[]): Promise<{ statuses: number[]; codes: string[] }> {
    const { hostname, port } = new URL(engine.url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      let text = '';
      socket.setTimeout(10_000, () => socket.destroy(new Error(`no end after: ${text}`)));
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', reject);
      socket.on('close', () => {
        const codes = [...text.matchAll(/"code":"([a-z_]+)"/g)].map((match) => match[1]!);
        for (const code of codes) noteCode(code);
        resolve({
          statuses: [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1])),
          codes,
        });
      });
      for (const piece of pieces) socket.write(piece, 'latin1');
      socket.end();
    });
  }
  const head = (length: number) =>
    `POST /v1/accruals HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shop.tokens.pos}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

  test('a body that ends early changes nothing and is answered, if at all, as malformed', async () => {
    const body = JSON.stringify(accrual({}));
    const { statuses } = await raw(head(body.length + 10), body);
    expect(statuses.filter((status) => status !== 400)).toEqual([]);
  });

  test('what is not HTTP is answered with 400 and the connection ends', async () => {
    expect(await raw('GET\r\n\r\n')).toEqual({ statuses: [400], codes: ['body_malformed'] });
  });

  test('headers beyond 16 KiB are refused', async () => {
    const { statuses, codes } = await raw(
      `GET /v1/program HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
    );
    expect([statuses, codes]).toEqual([[400], ['validation_failed']]);
  });

  test('after a refused body the next request on the same connection is served', async () => {
    const bad = '{"member":5}';
    const close = `GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    expect((await raw(head(bad.length) + bad + close)).statuses).toEqual([400, 200]);
  });
});

test('an expectation that nobody knows is ignored, and the answer is the ordinary one', async () => {
  const url = new URL(`${engine.url}/v1/nowhere`);
  const answer = await new Promise<{ status: number | undefined; type: string | undefined }>(
    (resolve, reject) => {
      const sent = httpRequest(url, { headers: { Expect: '200-ok' }, timeout: 5_000 }, (reply) => {
        reply.resume();
        resolve({ status: reply.statusCode, type: reply.headers['content-type'] });
      });
      sent.on('error', reject);
      sent.end();
    },
  );
  expect(answer).toEqual({ status: 404, type: 'application/problem+json' });
});
