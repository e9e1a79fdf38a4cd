/** How patient the engine is with a partner, without one. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createBreaker } from '#src/partners/exchange/breaker.ts';
import { isNotConnected } from '#src/partners/exchange/calling.ts';
import { retryAfterMs, usualPatience } from '#src/partners/exchange/policy.ts';

const bounds = { failuresMax: 3, openMs: 100, openMsMax: 400, timeoutMs: 50 };

describe('a partner that fails', () => {
  test('is left alone after so many failures in a row, and tried by one call alone', () => {
    const breaker = createBreaker(bounds);
    for (let i = 0; i < 2; i += 1) breaker.failed(0, 1);
    expect(breaker.waitMs(0)).toBe(0);
    breaker.failed(0, 1);
    expect([breaker.isOpen, breaker.waitMs(0), breaker.waitMs(99)]).toEqual([true, 100, 1]);
    expect(breaker.waitMs(100)).toBe(0);
    expect(breaker.waitMs(100)).toBe(50);
  });

  test('is left alone for longer each time it fails again, up to a bound, and not at all once it answers', () => {
    const breaker = createBreaker(bounds);
    for (let i = 0; i < 3; i += 1) breaker.failed(0, 1);
    const waits: number[] = [];
    let now = 0;
    for (let i = 0; i < 5; i += 1) {
      const waitMs = breaker.waitMs(now);
      waits.push(waitMs);
      now += waitMs;
      breaker.failed(now, 1);
    }
    expect(waits).toEqual([100, 200, 400, 400, 400]);
    breaker.answered();
    expect([breaker.isOpen, breaker.waitMs(now)]).toEqual([false, 0]);
  });

  test('that answers in between is not left alone', () => {
    const breaker = createBreaker(bounds);
    for (let i = 0; i < 10; i += 1) {
      breaker.failed(0, 1);
      breaker.failed(0, 1);
      breaker.answered();
    }
    expect(breaker.isOpen).toBe(false);
  });
});

test('repeats come later each time, never all in one moment, and never later than the most', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (tries, chance) => {
        const waitMs = retryAfterMs(usualPatience, tries, chance);
        expect(waitMs).toBeGreaterThanOrEqual(usualPatience.retryMs / 2);
        expect(waitMs).toBeLessThanOrEqual(usualPatience.retryMsMax);
        expect(waitMs).toBeGreaterThanOrEqual(retryAfterMs(usualPatience, tries, 0));
      },
    ),
  );
});

describe('a call that failed', () => {
  const failed = (cause: object) => Object.assign(new TypeError('fetch failed'), { cause });
  const error = (code: string, syscall?: string) => Object.assign(new Error(code), { code, syscall });
  test.each([
    'ECONNREFUSED',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EHOSTDOWN',
    'ENETDOWN',
    'ETIMEDOUT',
    'EADDRNOTAVAIL',
  ])(
    'by %s has sent nothing where it could not connect, and may have where a connection was made',
    (code) => {
      expect(isNotConnected(failed(error(code, 'connect')))).toBe(true);
      expect(isNotConnected(failed(error(code, 'read')))).toBe(false);
      expect(isNotConnected(failed(error(code, 'write')))).toBe(false);
    },
  );

  test('has sent nothing where no address was found, or none of several answered', () => {
    expect(isNotConnected(failed(error('ENOTFOUND', 'getaddrinfo')))).toBe(true);
    expect(isNotConnected(failed(error('UND_ERR_CONNECT_TIMEOUT')))).toBe(true);
    const both = (...of: Error[]) => failed(new AggregateError(of, 'all failed'));
    expect(isNotConnected(both(error('ECONNREFUSED', 'connect'), error('EHOSTUNREACH', 'connect')))).toBe(
      true,
    );
    expect(isNotConnected(both(error('ECONNREFUSED', 'connect'), error('ECONNRESET', 'read')))).toBe(false);
  });

  test('by anything else may have been heard', () => {
    const others = [
      failed(error('ECONNRESET', 'read')),
      failed(error('UND_ERR_SOCKET')),
      new Error('odd'),
      undefined,
    ];
    expect(others.map(isNotConnected)).toEqual([false, false, false, false]);
  });

  test('to a port where nobody listens, by a name that nobody has, has sent nothing', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    for (const url of [`http://127.0.0.1:${port}`, 'http://nobody.invalid']) {
      const reason = await fetch(url).catch((fault: unknown) => fault);
      expect(isNotConnected(reason), url).toBe(true);
    }
  });
});
