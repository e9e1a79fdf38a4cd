/**
 * PURE. Leaves a partner alone that has failed several times in a row: calls are refused here until a while has passed, then one
 * call alone may try. Of one process; others find out by themselves.
 *
 *   closed ──failures──► open ──time──► trying ──answered──► closed
 *                          ▲──────────────┘ failed: longer
 */
import type { Patience } from './policy.ts';

export interface Breaker {
  /** 0 where a call may be made now; otherwise how long to wait. Whoever is let through while it tries is alone. */
  waitMs(nowMs: number): number;
  answered(): void;
  failed(nowMs: number, chance: number): void;
  readonly isOpen: boolean;
}

type Bounds = Pick<Patience, 'failuresMax' | 'openMs' | 'openMsMax' | 'timeoutMs'>;

export function createBreaker({ failuresMax, openMs, openMsMax, timeoutMs }: Bounds): Breaker {
  let failures = 0;
  let openings = 0;
  let opensAgainAt = 0;
  return {
    get isOpen() {
      return openings > 0;
    },
    waitMs(nowMs) {
      if (openings === 0) return 0;
      if (nowMs < opensAgainAt) return opensAgainAt - nowMs;
      // The one that tries has as long as a call may take; the others wait for what it finds.
      opensAgainAt = nowMs + timeoutMs;
      return 0;
    },
    answered() {
      failures = 0;
      openings = 0;
    },
    failed(nowMs, chance) {
      failures += 1;
      if (openings === 0 && failures < failuresMax) return;
      const lasts = Math.min(openMsMax, openMs * 2 ** Math.min(20, openings));
      openings += 1;
      opensAgainAt = nowMs + lasts / 2 + (lasts / 2) * chance;
    },
  };
}
