import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks until the answer is neither undefined nor false, and gives it back; fails with `what` when the time is up. An error
 * counts as "not yet" and is named in the failure. Where asking costs somebody more than a look, `everyMs` says how often.
 */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 10_000,
  everyMs = 10,
): Promise<T> {
  const startedAt = performance.now();
  const deadline = startedAt + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await condition();
      if (answer !== undefined && answer !== false) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain: ${what}`, last === undefined ? {} : { cause: last });
    }
    // What has taken a second may take fifty milliseconds more: most conditions ask PostgreSQL or the API.
    await delay(Math.max(everyMs, Math.min(50, 10 + (performance.now() - startedAt) / 25)));
  }
}
