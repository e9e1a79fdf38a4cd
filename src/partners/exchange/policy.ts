/** PURE. How patient the engine is with a partner. */

export interface Patience {
  /** An answer that takes longer is none. */
  readonly timeoutMs: number;
  /** Before the first repeat; doubled with each, up to the most. */
  readonly retryMs: number;
  readonly retryMsMax: number;
  /** So often something in doubt is inquired and sent again before a person has to look. */
  readonly doubtsMax: number;
  /** So often in a row a step may fail before a person has to look; more often where the fault says that it will pass. */
  readonly faultsMax: number;
  readonly waitsMax: number;
  /** A partner that has certainly done nothing for so long is not asked any more: the points go back. */
  readonly giveUpMs: number;
  /** A partner that says `pending` for so long is looked at by a person. */
  readonly pendingMsMax: number;
  /** When the partner is asked once more about what it has refused. The second lies behind the life of a signature. */
  readonly checksMs: readonly number[];
  /** A partner that does not answer, so long after, what it is asked once more is not asked any more: a person does. */
  readonly checkMsMax: number;
  /** An exchange is stuck when nothing has become of it for so long. */
  readonly stuckMs: number;
  /** Calls that fail one after the other before the partner is left alone, and for how long. */
  readonly failuresMax: number;
  readonly openMs: number;
  readonly openMsMax: number;
}

const minute = 60_000;

export const usualPatience: Patience = {
  timeoutMs: 10_000,
  retryMs: 500,
  retryMsMax: 5 * minute,
  doubtsMax: 60,
  // At most five minutes apart: some three hours, and some two days.
  faultsMax: 60,
  waitsMax: 900,
  giveUpMs: 24 * 60 * minute,
  pendingMsMax: 3 * 24 * 60 * minute,
  checksMs: [10_000, 7 * minute, 24 * 60 * minute],
  checkMsMax: 4 * 24 * 60 * minute,
  stuckMs: 15 * minute,
  failuresMax: 5,
  openMs: 2_000,
  // Exchanges that wait for a partner go on so soon after it is back.
  openMsMax: 15_000,
};

/** How long a turn on an exchange may take before somebody else takes it up. */
export function leaseMs({ timeoutMs }: Patience): number {
  return timeoutMs + 3_000;
}

/** When to try again after so many tries; `chance` is from 0 to 1, so that not all come back in one moment. */
export function retryAfterMs(
  { retryMs, retryMsMax }: Pick<Patience, 'retryMs' | 'retryMsMax'>,
  tries: number,
  chance: number,
): number {
  const whole = Math.min(retryMsMax, retryMs * 2 ** Math.min(30, Math.max(0, tries - 1)));
  return Math.round(whole / 2 + (whole / 2) * chance);
}
