// When a call is worth repeating, and how long to wait first. Every repeat carries the same reference, so the API
// answers it with the first result if the first attempt did get through.

const waitStartMs = 200;
const waitMaxMs = 5_000;
const transientStatuses: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

/** Whether an answer says "not now" or "perhaps" rather than yes or no. */
export function isTransient(status: number, code?: string): boolean {
  return transientStatuses.has(status) || code === 'reference_in_progress';
}

/** Reads a Retry-After header, seconds or a date, in milliseconds from now. */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,6}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/**
 * The wait before the next attempt: never shorter than what the server asked for, else doubling up to 5 s. The
 * jitter (`random` from 0 to 1) keeps many callers from coming back in the same moment.
 */
export function retryWaitMs(attempt: number, askedMs: number | undefined, random: number): number {
  const doubled = Math.min(waitMaxMs, waitStartMs * 2 ** Math.min(attempt - 1, 10));
  if (askedMs === undefined) return Math.round(doubled * (0.5 + random / 2));
  return Math.round(askedMs + random * Math.min(1_000, doubled));
}
