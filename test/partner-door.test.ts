/** Calls that somebody else made, changed or copied, and what no rate or file allows: refused, nothing moved, a line in the audit log. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseExchangeId } from '#src/partners/exchange/types.ts';
import { createNonces } from '#src/partners/nonces.ts';
import { operationTarget, partnerCalls } from '#src/partners/protocol/calls.ts';
import { signedHeaders } from '#src/partners/signature.ts';
import { createLogger } from '#src/platform/telemetry.ts';
import { type Answer, reference, startEngine, waitFor } from './harness.ts';
import { ally } from './house/alliance.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { commandOf } from './house/command.ts';
import { freshNonce, linked, openPartner, seconds, type Tampering } from './house/partner.ts';
import { fileText, handIn, secondOver } from './house/reconciling.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const shop = await engine.shop();
const partner = await openPartner(engine, shop);
const member = await shop.enrol('li');
const account = await linked(shop, partner, member, 'FF-1');
const { path } = partnerCalls.accrue;

const accrual = () => ({ reference: reference('flight'), account, points: 100, occurredAt: shop.time() });

async function linesOf(word: string): Promise<number> {
  const found = await engine.pool.query<{ count: number }>(
    'select count(*)::int as count from audit_log where program = $1 and actor = $2 and action = $3',
    [shop.program.number, partner.keyId, `partner.refused ${word}`],
  );
  return found.rows[0]!.count;
}

const until = await secondOver();
const file = (sequence: number, from: number, until: number) =>
  fileText({ sender: partner.name, sequence, from, until, movements: [] });
const first = file(1, until - 86_400, until - 1);
const refused = (tampering: Tampering) => () => partner.call('POST', path, accrual(), tampering);
const far = async () => {
  const who = await ally(engine.app, shop, { minimum: 10 });
  return { who, flyer: await who.member(100) };
};
const flight = reference('flight');
let made: Awaited<ReturnType<typeof far>>;
beforeAll(async () => {
  made = await far();
  expect((await partner.accrue({ reference: flight, account, points: 1 })).status).toBe(201);
  await engine.drained();
  await clearAll(engine.pool, clearingOf(engine.app));
  expect((await handIn(engine.http, shop, first)).status).toBe(201);
});
afterAll(() => made.who.far.close());
const exchange = (more: object, path = '/v1/exchanges') => {
  const { who, flyer } = made;
  const body = { member: flyer, partner: who.name, direction: 'out', points: 80, ...more };
  return shop.checkout('POST', path, body, { invalid: true });
};
const byQuote = (quote: string) => shop.checkout('POST', '/v1/exchanges', { quote, reference: reference() });
async function expiredQuote(): Promise<Answer> {
  const { id } = await exchange({}, '/v1/exchanges/quote');
  await engine.pool.query('update exchange set quote_expires_at = 1 where exchange = $1', [
    parseExchangeId(id),
  ]);
  return byQuote(id);
}
async function copy(): Promise<Answer> {
  const stamp = { timestamp: seconds(), nonce: freshNonce() };
  const target = operationTarget('accrual', flight);
  expect((await partner.call('GET', target, undefined, { stamp })).status).toBe(200);
  return partner.call('GET', target, undefined, { stamp });
}

/** What must not change: the books, what is held, what the partner here has, and the lines. */
async function standing() {
  await engine.drained();
  const { rows } = await engine.pool.query<{ entries: number; exchanges: number; files: number }>(
    `select (select count(*) from entry)::int as entries, (select count(*) from hold)::int as holds,
       (select count(*) from exchange where state <> 'quoted')::int as exchanges, (select count(*) from partner_link)::int as links,
       (select count(*) from reconciliation)::int as files`,
  );
  return { ...rows[0], sends: made.who.far.sends.size };
}
async function newestLines(): Promise<string[]> {
  const { rows } = await engine.pool.query<{ line: string }>(
    `select action || ' | ' || subject as line from audit_log where program = $1 and action like '%refused%' order by number`,
    [shop.program.number],
  );
  return rows.map(({ line }) => line);
}

const calls = 'POST /v1/exchanges';
const quotes = `${calls}/quote`;
const refusals: [what: string, provoke: () => Promise<Answer>, status: number, line: string][] = [
  [
    'a forged signature',
    refused({ key: { keyId: partner.keyId, secret: 'ls_guessed' } }),
    401,
    `partner.refused signature_mismatch | POST ${path}`,
  ],
  [
    'a stale signature',
    refused({ stamp: { timestamp: seconds(-302), nonce: freshNonce() } }),
    401,
    `partner.refused signature_stale | POST ${path}`,
  ],
  ['a replayed signature', copy, 401, 'partner.refused signature_replayed | GET /v1/partner/operations'],
  [
    'a re-targeted signature',
    refused({ sent: { target: partnerCalls.redeem.path } }),
    401,
    `partner.refused signature_mismatch | POST ${partnerCalls.redeem.path}`,
  ],
  [
    'a body changed by a byte',
    refused({ change: (text) => text.replace('"points":100', '"points":900') }),
    401,
    `partner.refused signature_mismatch | POST ${path}`,
  ],
  [
    'a wrong step',
    () => exchange({ points: 81, reference: reference() }),
    409,
    `exchange.refused exchange_limit exchange_step | ${calls}`,
  ],
  [
    'a wrong step of a quote',
    () => exchange({ points: 81 }, '/v1/exchanges/quote'),
    409,
    `exchange.refused exchange_limit exchange_step | ${quotes}`,
  ],
  [
    'an amount under the minimum',
    () => exchange({ points: 8, reference: reference() }),
    409,
    `exchange.refused exchange_limit exchange_minimum | ${calls}`,
  ],
  ['an expired quote', expiredQuote, 409, `exchange.refused quote_expired | ${calls}`],
  [
    'a quote that nobody made',
    () => byQuote(`exc_${'0'.repeat(32)}`),
    409,
    `exchange.refused quote_expired | ${calls}`,
  ],
  [
    'an unknown member',
    () => exchange({ member: 'nobody', reference: reference() }),
    404,
    `exchange.refused member_not_found | ${calls}`,
  ],
  [
    'a member who is not linked',
    () => exchange({ member, reference: reference() }),
    409,
    `exchange.refused member_not_linked | ${calls}`,
  ],
  [
    'points that are none',
    () => exchange({ points: 0, reference: reference() }),
    400,
    `exchange.refused validation_failed | ${calls}`,
  ],
  [
    'a key that may not exchange',
    () => shop.finance('POST', '/v1/exchanges', { quote: 'exc_1', reference: reference() }),
    403,
    `exchange.refused role_not_allowed | ${calls}`,
  ],
  [
    'a link to a partner that is none',
    () => shop.checkout('POST', `/v1/members/${member}/link-codes`, { partner: 'nobody' }),
    404,
    'link.refused not_found | POST /v1/members/:member/link-codes',
  ],
  [
    'a file with a broken trailer',
    () => handIn(engine.http, shop, file(2, until - 1, until).slice(0, -40)),
    422,
    'reconciliation.refused trailer_missing | line ',
  ],
  [
    'a file with an old sequence',
    () => handIn(engine.http, shop, first),
    409,
    'reconciliation.refused sequence_repeat | file 1',
  ],
];

// First: of one key a process writes sixty lines a minute, and the copies below are a hundred.
test.each(refusals)(
  'whatever is refused moves nothing and leaves one line that says what: %s',
  async (_, provoke, status, line) => {
    const [before, lines] = [await standing(), await newestLines()];
    const answer = await provoke();
    expect(answer.body).toMatchObject({ status, applied: 'no', code: expect.any(String) });
    expect(await standing()).toEqual(before);
    const added = (await newestLines()).slice(lines.length);
    expect(added).toEqual([expect.stringContaining(line)]);
  },
);

describe('a call is refused, moves nothing and leaves a line when', () => {
  test.each<[string, string, Tampering]>([
    [
      'it is forged, by RFC 9421',
      'mismatch',
      { scheme: 'rfc9421', key: { keyId: partner.keyId, secret: 'ls_guessed' } },
    ],
    [
      'one byte of its body is another, by RFC 9421',
      'mismatch',
      { scheme: 'rfc9421', change: (text: string) => text.replace('"points":100', '"points":900') },
    ],
    [
      'it is sent to another path, by RFC 9421',
      'mismatch',
      { scheme: 'rfc9421', sent: { target: partnerCalls.redeem.path } },
    ],
    [
      'it is 301 seconds old, by RFC 9421',
      'stale',
      { scheme: 'rfc9421', stamp: { timestamp: seconds(-302), nonce: freshNonce() } },
    ],
    ['it is forged', 'mismatch', { key: { keyId: partner.keyId, secret: 'ls_guessed' } }],
    [
      'one byte of its body is another',
      'mismatch',
      { change: (text: string) => text.replace('"points":100', '"points":900') },
    ],
    ['it is sent to another path', 'mismatch', { sent: { target: partnerCalls.redeem.path } }],
    ['something is added to its path', 'mismatch', { sent: { target: `${path}?x=1` } }],
    ['it is 301 seconds old', 'stale', { stamp: { timestamp: seconds(-302), nonce: freshNonce() } }],
    ['it comes from the future', 'stale', { stamp: { timestamp: seconds(400), nonce: freshNonce() } }],
  ])('%s', async (_, reason, tampering) => {
    const before = [await shop.balances(member), await linesOf(`signature_${reason}`)] as const;
    const answer = await partner.call('POST', path, accrual(), tampering);
    expect(answer.body).toMatchObject({ status: 401, code: 'signature_invalid', reason, applied: 'no' });
    expect(answer.headers.get('www-authenticate')).toContain('Loyalty-Signature');
    await engine.drained();
    expect(await shop.balances(member)).toEqual(before[0]);
    expect(await linesOf(`signature_${reason}`)).toBe(before[1] + 1);
  });

  test.each([
    ['it does not fit the protocol', { colour: 'red' }, 'validation_failed', 400],
    ['its points are none', { points: 0 }, 'validation_failed', 400],
  ])('%s', async (_, change, word, status) => {
    const before = await linesOf(word);
    const answer = await partner.call('POST', path, { ...accrual(), ...change });
    expect([answer.status, answer.code]).toEqual([status, word]);
    expect(await linesOf(word)).toBe(before + 1);
  });

  test('its body is too large or no JSON, and whatever it may not do leaves one line, not two', async () => {
    const before = [await linesOf('body_too_large'), await linesOf('body_malformed')];
    const [large, broken] = ['x'.repeat(2_000_000), '{"points":'];
    expect((await partner.call('POST', path, large)).code).toBe('body_too_large');
    expect((await partner.call('POST', path, broken)).code).toBe('body_malformed');
    expect([await linesOf('body_too_large'), await linesOf('body_malformed')]).toEqual(
      before.map((lines) => lines + 1),
    );
    const unknown = await linesOf('member_not_found');
    const stranger = { ...accrual(), account: 'mem_zzzzzzzz', name: 'Li' };
    expect((await partner.call('POST', path, stranger)).code).toBe('member_not_found');
    expect(await linesOf('member_not_found')).toBe(unknown + 1);
  });

  test('nobody has signed it, or an unknown key: such lines name no program', async () => {
    const count = async () => {
      const { rows } = await engine.pool.query<{ count: number }>(
        `select count(*)::int as count from audit_log where program = 0 and actor = 'unknown' and action like 'partner.refused signature_%'`,
      );
      return rows[0]!.count;
    };
    const before = await count();
    const key = { keyId: 'pk_nobody', secret: 'ls_guessed' };
    expect((await partner.call('POST', path, accrual(), { key })).body.reason).toBe('key_unknown');
    const headers = { 'loyalty-nonce': 'short' };
    expect((await partner.call('POST', path, accrual(), { headers })).body.reason).toBe('headers_malformed');
    expect(await count()).toBe(before + 2);
  });

  test('it is a copy by either way of signing', async () => {
    const stamp = { timestamp: seconds(), nonce: freshNonce() };
    const body = accrual();
    const first = await partner.call('POST', path, body, { stamp, scheme: 'rfc9421' });
    expect(first.status).toBeLessThan(203);
    for (const scheme of ['rfc9421', 'v1'] as const) {
      const copy = await partner.call('POST', path, body, { stamp, scheme });
      expect(copy.body).toMatchObject({ code: 'signature_invalid', reason: 'replayed' });
    }
  });

  test('it is a copy, also at another API', async () => {
    const other = await engine.anotherApi();
    const before = await linesOf('signature_replayed');
    const stamp = { timestamp: seconds(), nonce: freshNonce() };
    const body = accrual();
    expect((await partner.call('POST', path, body, { stamp })).status).toBeLessThan(203);
    const copy = await partner.call('POST', path, body, { stamp });
    expect(copy.body).toMatchObject({ code: 'signature_invalid', reason: 'replayed' });
    const text = JSON.stringify(body);
    const headers = signedHeaders(
      partner.keyId,
      partner.secret,
      { method: 'POST', target: path, body: text },
      stamp,
    );
    const elsewhere = await other.http('POST', path, text, { headers, invalid: true });
    expect(elsewhere.body).toMatchObject({ code: 'signature_invalid', reason: 'replayed' });
    expect(await linesOf('signature_replayed')).toBe(before + 2);
  });

  test('a hundred copies come at once: one of them is let in', async () => {
    const stamp = { timestamp: seconds(), nonce: freshNonce() };
    const body = accrual();
    const before = await shop.balances(member);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => partner.call('POST', path, body, { stamp })),
    );
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1);
    expect(answers.filter(({ body: { reason } }) => reason === 'replayed')).toHaveLength(99);
    await engine.drained();
    expect((await shop.balances(member)).available).toBe(before.available + 100);
  });

  test('headers are missing, or the key is nobody’s, a till’s or revoked', async () => {
    const bare = await engine.http('POST', path, accrual());
    expect(bare.body).toMatchObject({ code: 'signature_invalid', reason: 'headers_missing' });
    const bearer = await engine.http('POST', path, accrual(), { key: shop.tokens.admin });
    expect(bearer.body).toMatchObject({ code: 'signature_invalid', reason: 'headers_missing' });
    const till = await shop.admin('POST', '/v1/keys', { client: 'till', role: 'pos' });
    for (const keyId of ['key_nobody', till.id]) {
      const answer = await partner.call('POST', path, accrual(), { key: { keyId, secret: partner.secret } });
      expect(answer.body).toMatchObject({ code: 'signature_invalid', reason: 'key_unknown' });
    }
    const second = await shop.admin('POST', '/v1/keys', { client: partner.name, role: 'partner' });
    const key = { keyId: second.id, secret: String(second.body.secret) };
    await waitFor(
      'the second key signs',
      async () => (await partner.call('POST', path, accrual(), { key })).status < 300,
    );
    await shop.admin('DELETE', `/v1/keys/${second.id}`);
    await waitFor(
      'the revoked key does not',
      async () => (await partner.call('POST', path, accrual(), { key })).body.reason === 'key_unknown',
      1_000,
    );
  });
});

test('a nonce stays used when all processes are new', async () => {
  const log = createLogger('silent', 'test');
  const use = { key: partner.keyId, nonce: freshNonce(), untilMs: Date.now() + 300_000 };
  expect(await createNonces(engine.pool, log).use(use)).toBe(true);
  expect(await createNonces(engine.pool, log).use(use)).toBe(false);
});

test('nonces whose time is over are removed, and no others', async () => {
  const log = createLogger('silent', 'test');
  const old = { key: 'key_old', nonce: freshNonce(), untilMs: Date.now() - 3_600_000 };
  const young = { key: 'key_old', nonce: freshNonce(), untilMs: Date.now() };
  await createNonces(engine.pool, log).use(old);
  await createNonces(engine.pool, log).use(young);
  const left = async () =>
    (
      await engine.pool.query<{ nonce: string }>(`select nonce from partner_nonce where key = 'key_old'`)
    ).rows.map(({ nonce }) => nonce);
  await waitFor('the old nonce is gone', async () => !(await left()).includes(old.nonce));
  expect(await left()).toContain(young.nonce);
});

test('a call that is sent again is signed anew, and answered as the first was', async () => {
  const body = accrual();
  const first = await partner.call('POST', path, body);
  const again = await partner.call('POST', path, body);
  expect(again.replayed).toBe(true);
  expect(again.body.id).toBe(first.body.id);
});

describe('secrets', () => {
  test('two sign while one is replaced, the third ends the first', async () => {
    const made = await shop.admin('POST', '/v1/keys', { client: partner.name, role: 'partner' });
    const { id: keyId } = made;
    const signs = async (secret: unknown) =>
      (await partner.call('POST', path, accrual(), { key: { keyId, secret: String(secret) } })).status < 300;
    const rotate = () => shop.admin('POST', `/v1/keys/${keyId}/secrets`, { overlapSeconds: 3_600 });
    const first = made.body.secret;
    await waitFor('the first signs', () => signs(first));
    const second = (await rotate()).body.secret;
    await waitFor('the second signs', () => signs(second));
    expect(await signs(first)).toBe(true);
    const third = (await rotate()).body.secret;
    await waitFor('the third signs', () => signs(third));
    expect([await signs(first), await signs(second)]).toEqual([false, true]);
    const last = await shop.admin('POST', `/v1/keys/${keyId}/secrets`, { overlapSeconds: 0 });
    await waitFor('the last signs', () => signs(last.body.secret));
    expect([await signs(second), await signs(third)]).toEqual([false, false]);
  });

  test('stand nowhere in the database, and are no tokens', async () => {
    const rows = await engine.pool.query<{ text: string }>(
      `select row_to_json(s)::text as text from partner_secret s union all select row_to_json(k)::text from api_key k
       union all select row_to_json(a)::text from audit_log a`,
    );
    const all = rows.rows.map(({ text }) => text).join('\n');
    expect(all).not.toContain(partner.secret);
    expect(all).not.toContain(Buffer.from(partner.secret).toString('hex'));
    const asToken = await engine.http('GET', '/v1/program', undefined, { key: partner.secret });
    expect(asToken.code).toBe('key_unknown');
  });

  test('are made and replaced from the command line', async () => {
    const keys = commandOf('http/keys-command.ts', {
      ...process.env,
      DATABASE_URL: engine.stores.databaseUrl,
      REDIS_URL: engine.stores.redisUrl,
      IDENTITY_KEY: engine.app.config.identityKey,
    });
    const create = [
      'create',
      '--program',
      shop.program.name,
      '--client',
      partner.name,
      '--role',
      'partner',
      '--json',
    ];
    const made = JSON.parse((await keys(...create)).out) as { id: string; secret: string };
    const signs = async (secret: string) =>
      (await partner.call('POST', path, accrual(), { key: { keyId: made.id, secret } })).status < 300;
    await waitFor('the new key signs', () => signs(made.secret));
    const rotated = await keys(
      'rotate',
      made.id,
      '--program',
      shop.program.name,
      '--overlap-hours',
      '0',
      '--json',
    );
    const { secret } = JSON.parse(rotated.out) as { secret: string };
    await waitFor('the new secret signs', () => signs(secret));
    expect(await signs(made.secret)).toBe(false);
    const nobody = await keys('rotate', 'key_nobody', '--program', shop.program.name);
    expect([nobody.code, nobody.complaint]).toEqual([
      2,
      expect.stringContaining('there is no key key_nobody'),
    ]);
  });

  test('are made for partners alone', async () => {
    const till = await shop.admin('POST', '/v1/keys', { client: 'till', role: 'pos' });
    expect((await shop.admin('POST', `/v1/keys/${till.id}/secrets`, {})).code).toBe('not_found');
  });
});
