/** HTTP Message Signatures by the RFC's own examples, and what is refused of them. */
import { describe, expect, test } from 'vitest';
import {
  claimedText,
  contentDigest,
  isDigestOf,
  messageClaimOf,
  messageHeaders,
  messageMac,
  signedText,
} from '#src/partners/message-signature.ts';
import { signedHeaders, verify } from '#src/partners/signature.ts';

/** RFC 9421, appendix B.2: the request of all examples. */
const body = '{"hello": "world"}';
const sha512 =
  'sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:';
const request = { method: 'POST', target: '/foo?param=Value&Pet=dog', body };
const headers = {
  host: 'example.com',
  date: 'Tue, 20 Apr 2021 02:07:55 GMT',
  'content-type': 'application/json',
  'content-digest': sha512,
  'content-length': '18',
};

describe('the vectors of RFC 9421', () => {
  test('B.2.5: a request signed with hmac-sha256', () => {
    const secret = Buffer.from(
      'uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==',
      'base64',
    );
    const parameters = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"';
    const base = signedText(
      { components: ['date', '@authority', 'content-type'], parameters },
      request,
      headers,
    );
    expect(base).toBe(
      [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@authority": example.com',
        '"content-type": application/json',
        `"@signature-params": ${parameters}`,
      ].join('\n'),
    );
    expect(messageMac(secret, base!).toString('base64')).toBe('pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=');
  });

  test('2.5: what is signed of method, authority, path, digest, length and type', () => {
    const names = ['@method', '@authority', '@path', 'content-digest', 'content-length', 'content-type'];
    const parameters = `(${names.map((name) => `"${name}"`).join(' ')});created=1618884473;keyid="test-key-rsa-pss"`;
    expect(signedText({ components: names, parameters }, request, headers)).toBe(
      [
        '"@method": POST',
        '"@authority": example.com',
        '"@path": /foo',
        `"content-digest": ${sha512}`,
        '"content-length": 18',
        '"content-type": application/json',
        `"@signature-params": ${parameters}`,
      ].join('\n'),
    );
  });

  test('2.2: the query with its mark, and a mark alone where there is none', () => {
    const query = (target: string) =>
      signedText({ components: ['@query'], parameters: '("@query")' }, { ...request, target }, {});
    expect(query('/path?param=value&foo=bar&baz=bat%2Dman')).toBe(
      '"@query": ?param=value&foo=bar&baz=bat%2Dman\n"@signature-params": ("@query")',
    );
    expect(query('/path')).toBe('"@query": ?\n"@signature-params": ("@query")');
  });

  test('the digests of the body, and no other', () => {
    expect(contentDigest(body)).toBe('sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:');
    expect(isDigestOf(sha512, body)).toBe(true);
    expect(isDigestOf(`${contentDigest(body)}, ${sha512}`, body)).toBe(true);
    expect(isDigestOf(`unixsum=:AAAA:, ${sha512}`, body)).toBe(true);
    expect(isDigestOf(sha512, `${body} `)).toBe(false);
    expect(isDigestOf(`${contentDigest('x')}, ${sha512}`, body)).toBe(false);
    expect(isDigestOf('unixsum=:AAAA:', body)).toBe(false);
  });
});

const secret = 'ls_a-secret';
const stamp = { timestamp: 1_795_399_200, nonce: 'n0nce-000000000001' };
const nowMs = 1_795_399_200_000;
const secretsOf = (keyId: string) => (keyId === 'pk_1' ? [secret] : undefined);
const signed = messageHeaders('pk_1', secret, request, stamp);

describe('a call', () => {
  test('that is signed by either scheme is let in, and the claim names key, time and nonce', () => {
    for (const scheme of ['v1', 'rfc9421'] as const) {
      const own = signedHeaders('pk_1', secret, request, stamp, scheme);
      const claim = verify(own, request, secretsOf, nowMs);
      expect(claim).toMatchObject({ keyId: 'pk_1', timestamp: 1_795_399_200 });
      expect((claim as { stamp: { nonce: string } }).stamp.nonce).toBe(stamp.nonce);
    }
    const asking = { method: 'GET', target: '/v1/partner/operations?kind=accrual&reference=x', body: '' };
    const bare = messageHeaders('pk_1', secret, asking, stamp);
    expect(Object.keys(bare).toSorted()).toEqual(['signature', 'signature-input']);
    expect(verify(bare, asking, secretsOf, nowMs)).toMatchObject({ keyId: 'pk_1' });
  });

  test.each<[string, object, object]>([
    ['another method', { method: 'PUT' }, {}],
    ['another path', { target: '/bar?param=Value&Pet=dog' }, {}],
    ['another query', { target: '/foo?param=Value&Pet=cat' }, {}],
    ['another body', { body: '{"hello": "World"}' }, {}],
    ['another body with a digest of its own', { body: 'x' }, { 'content-digest': contentDigest('x') }],
    ['no digest', {}, { 'content-digest': undefined }],
  ])('with %s is not the one that was signed', (_, other, change) => {
    expect(verify({ ...signed, ...change }, { ...request, ...other }, secretsOf, nowMs)).toBe('mismatch');
  });

  test('that does not cover what it has to is not signed, whatever its signature', () => {
    const covering = (names: readonly string[]) => {
      const listed = names.map((name) => `"${name}"`).join(' ');
      const parameters = `(${listed});created=${stamp.timestamp};nonce="${stamp.nonce}";keyid="pk_1"`;
      const given = { ...headers, 'content-digest': contentDigest(body) };
      const base = signedText({ components: names, parameters }, request, given)!;
      const signature = `a=:${messageMac(secret, base).toString('base64')}:`;
      return verify({ ...given, 'signature-input': `a=${parameters}`, signature }, request, secretsOf, nowMs);
    };
    expect(covering(['@method', '@request-target', 'content-digest', 'date'])).toMatchObject({
      keyId: 'pk_1',
    });
    expect(covering(['@method', '@path', '@query'])).toBe('mismatch');
    expect(covering(['@method', '@path', 'content-digest'])).toBe('mismatch');
    expect(covering(['@path', '@query', 'content-digest'])).toBe('mismatch');
    expect(covering([])).toBe('mismatch');
  });

  test.each([
    ['it is not of one signature', (input: string) => `${input}, b=("date");created=1`],
    ['a component has parameters', (input: string) => input.replace('"@path"', '"@path";req')],
    ['a component is named twice', (input: string) => input.replace('"@path"', '"@path" "@path"')],
    ['the nonce is missing', (input: string) => input.replace(/;nonce="[^"]*"/, '')],
    ['the time is missing', (input: string) => input.replace(/;created=\d+/, '')],
    ['the key is missing', (input: string) => input.replace(/;keyid="[^"]*"/, '')],
    ['the algorithm is another', (input: string) => input.replace('hmac-sha256', 'ed25519')],
    ['the time is given twice', (input: string) => `${input};created=1`],
  ])('is malformed where %s', (_, change) => {
    const changed = { ...signed, 'signature-input': change(signed['signature-input']!) };
    expect(messageClaimOf(signed)).toBeDefined();
    expect(verify(changed, request, secretsOf, nowMs)).toBe('headers_malformed');
  });

  test('that its caller lets end has ended by then, and what is covered has to be there', () => {
    const input = signed['signature-input']!;
    const ending = { ...signed, 'signature-input': `${input};expires=${stamp.timestamp + 10}` };
    expect(verify(ending, request, secretsOf, nowMs + 11_000)).toBe('stale');
    expect(verify(ending, request, secretsOf, nowMs)).toBe('mismatch');
    const claim = messageClaimOf(signed)!;
    const missing = { ...claim, components: [...claim.components, 'date'] };
    expect(claimedText(missing, request, signed)).toBeUndefined();
  });
});
