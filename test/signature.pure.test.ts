/** The signature of partners' calls: the published vectors, and that nothing of a call can be changed under it. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Claim, isTimely, signedHeaders, toleranceSeconds, verify } from '#src/partners/signature.ts';

const keyId = 'key_0mvector000000000000000';
const secret = 'ls_7Qm0yJc2vZb4nT1xKpW9sDfGhL3rA6uE8oIiYtRqXwM';

interface Vector {
  readonly stamp: { readonly timestamp: string; readonly nonce: string };
  readonly request: { readonly method: string; readonly target: string; readonly body: string };
  readonly signature: string;
}

/** Those of the guide: computed there by another program. */
const vectors: readonly Vector[] = [
  {
    stamp: { timestamp: '1795399200', nonce: 'n0nce-000000000001' },
    request: {
      method: 'POST',
      target: '/v1/partner/members/validate',
      body: '{"account":"FF123456","name":"LI/XIAOMING MR"}',
    },
    signature: 'e62737ac8f0b5eff7281b0dc47fa4e5f18d9bab7e9e13a31879d25765287a7ff',
  },
  {
    stamp: { timestamp: '1795399200', nonce: 'n0nce-000000000002' },
    request: {
      method: 'GET',
      target: '/v1/partner/operations?kind=accrual&reference=flight%2FCA981%2F2026-11-22',
      body: '',
    },
    signature: '4a5efe07d67c4c390e62de5c0729d8b131664508527d93c2a7df5fe47feece3f',
  },
  {
    stamp: { timestamp: '1795399201', nonce: 'n0nce-000000000003' },
    request: {
      method: 'POST',
      target: '/v1/partner/accruals',
      body: '{"reference":"flight/CA981/2026-11-22","account":"FF123456","name":"李小明","points":1500,"occurredAt":"2026-11-22T10:15:00+08:00"}',
    },
    signature: 'dbf46be4ce597f0f6f11b18b783be1c9e1337638ed9eb6985dc32065feda210d',
  },
];

const only = (id: string) => (id === keyId ? [secret] : undefined);
const isClaim = (result: Claim | string): result is Claim => typeof result !== 'string';

describe('published vectors', () => {
  test.each(vectors)('$request.method $request.target', ({ stamp, request, signature }) => {
    const headers = signedHeaders(keyId, secret, request, stamp);
    expect(headers['loyalty-signature']).toBe(`v1=${signature}`);
    expect(isClaim(verify(headers, request, only, Number(stamp.timestamp) * 1_000))).toBe(true);
  });

  test('stand in the guide as they stand here', () => {
    const guide = readFileSync(new URL('../src/http/docs/partner.md', import.meta.url), 'utf8');
    for (const { stamp, request, signature } of vectors)
      for (const text of [stamp.nonce, request.target, request.body, signature])
        expect(guide).toContain(text);
    expect(guide).toContain(secret);
  });
});

const [{ stamp, request }] = vectors as readonly [Vector];
const now = Number(stamp.timestamp) * 1_000;
const headers = signedHeaders(keyId, secret, request, stamp);

describe('a signed call', () => {
  test('is refused when one byte of its body, path or method is another', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('method' as const, 'target' as const, 'body' as const),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (part, at, by) => {
          const bytes = Buffer.from(request[part]);
          const place = at % bytes.length;
          bytes[place] = bytes[place]! ^ by;
          const changed = { ...request, [part]: part === 'body' ? bytes : bytes.toString('latin1') };
          expect(verify(headers, changed, only, now)).toBe('mismatch');
        },
      ),
    );
  });

  test('is refused when a byte is added to or taken from its body', () => {
    for (const body of [`${request.body} `, request.body.slice(0, -1), ''])
      expect(verify(headers, { ...request, body }, only, now)).toBe('mismatch');
  });

  test('is refused under another key, another nonce, another time', () => {
    const other = (change: Record<string, string>) => verify({ ...headers, ...change }, request, only, now);
    expect(other({ 'loyalty-key': 'key_other' })).toBe('key_unknown');
    expect(other({ 'loyalty-nonce': 'n0nce-000000000009' })).toBe('mismatch');
    expect(other({ 'loyalty-timestamp': String(Number(stamp.timestamp) + 1) })).toBe('mismatch');
    expect(other({ 'loyalty-timestamp': `0${stamp.timestamp}` })).toBe('mismatch');
  });

  test.each([
    ['a header is missing', { 'loyalty-nonce': undefined }, 'headers_missing'],
    ['the signature has another version', { 'loyalty-signature': 'v2=00' }, 'headers_malformed'],
    ['the signature is short', { 'loyalty-signature': 'v1=00' }, 'headers_malformed'],
    ['the time is no number', { 'loyalty-timestamp': '1e9' }, 'headers_malformed'],
    ['the nonce is short', { 'loyalty-nonce': 'abc' }, 'headers_malformed'],
    [
      'a header came twice',
      { 'loyalty-nonce': 'n0nce-000000000001, n0nce-000000000001' },
      'headers_malformed',
    ],
  ])('is refused when %s', (_, change, fault) => {
    expect(verify({ ...headers, ...change }, request, only, now)).toBe(fault);
  });

  test('holds for 300 seconds either way', () => {
    const at = (seconds: number) => isTimely({ timestamp: 1_000_000 }, (1_000_000 + seconds) * 1_000);
    expect([at(-toleranceSeconds), at(0), at(toleranceSeconds)]).toEqual([true, true, true]);
    expect([at(-toleranceSeconds - 1), at(toleranceSeconds + 1)]).toEqual([false, false]);
    expect(verify(headers, request, only, now + 301_000)).toBe('stale');
  });

  test('is good under either of two live secrets, and under neither of two others', () => {
    const under = (...secrets: string[]) => verify(headers, request, () => secrets, now);
    expect(isClaim(under('ls_new', secret))).toBe(true);
    expect(isClaim(under(secret, 'ls_old'))).toBe(true);
    expect(under('ls_new', 'ls_old')).toBe('mismatch');
    expect(under()).toBe('mismatch');
  });
});
