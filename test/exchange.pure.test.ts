/** How patient the engine is with a partner, without one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createBreaker } from '#src/partners/exchange/breaker.ts';
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
