/** PURE. What the words of scripts and the errors of Redis are to a caller. */
import { Problem } from '#src/errors.ts';
import type { EpochMs } from '#src/values.ts';
import { clockSkewMsMax, deadlineMs } from './limits.ts';

/** Answers with which a node of a cluster says that it has not carried a command out: another one would have to. */
const redirection = /^(MOVED|ASK|CLUSTERDOWN|READONLY|TRYAGAIN) /;

/** Whether a node of a cluster has refused a command because the slot is not its own at the moment. */
export function isRedirection(error: unknown): boolean {
  return error instanceof Error && redirection.test(error.message);
}

/** Turns an error of Redis into what it says about the points. */
export function problemOfError(error: unknown, broke: boolean): Problem {
  const message = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (message.startsWith('NOSCRIPT') || message.startsWith('LOADING') || isRedirection(error)) {
    return broke
      ? new Problem('outcome_unknown', undefined, {}, options)
      : new Problem('shard_recovering', undefined, {}, options);
  }
  if (message.startsWith('OOM')) return new Problem('journal_full', undefined, {}, options);
  return new Problem('outcome_unknown', undefined, {}, options);
}

/** Answers of a script that concern the whole call or the shard, not the member. */
export function shardProblem(word: string): Problem {
  switch (word) {
    case 'clock_skew':
      return new Problem('clock_skew');
    case 'journal_full':
      return new Problem('journal_full');
    case 'expired':
      return new Problem('not_ready', 'the call took too long to reach the wallet; nothing was applied');
    default:
      return new Problem('shard_recovering');
  }
}

/**
 * Why an item may not go into a call that begins at `now`; undefined where it may. The script compares `now` with the clock of
 * Redis, but not the times that the item was judged by: a clock that was a day ahead then, and has been put right since,
 * would take the member a day ahead for good.
 */
export function barred(
  { lookedUpAt, judgedAt }: { readonly lookedUpAt: EpochMs; readonly judgedAt: EpochMs },
  now: EpochMs,
  learnedAt: EpochMs,
): 'expired' | 'clock_skew' | 'fenced' | undefined {
  if (now - Math.min(lookedUpAt, judgedAt) > deadlineMs) return 'expired';
  if (judgedAt - now > clockSkewMsMax) return 'clock_skew';
  return lookedUpAt > learnedAt ? undefined : 'fenced';
}

/** The problem that a script's refusal is to the caller; `currencyCode` names the currency of its details. */
export function refusalProblem(
  outcome: { readonly code: string; readonly details: Readonly<Record<string, unknown>> },
  currencyCode: (number: number) => string,
): Problem {
  const { currency, ...details } = outcome.details;
  const fields = typeof currency === 'number' ? { ...details, currency: currencyCode(currency) } : details;
  switch (outcome.code) {
    case 'insufficient_points':
    case 'spending_frozen':
    case 'member_not_active':
    case 'member_merging':
    case 'hold_expired':
    case 'refund_exceeds_redemption':
    case 'reversal_exceeds_accrual':
    case 'balance_limit':
      return new Problem(outcome.code, undefined, fields);
    case 'capture_exceeds_hold':
      return new Problem('validation_failed', 'more points than the hold has', {
        errors: [{ pointer: '/points', detail: 'more points than the hold has' }],
      });
    default:
      return new Problem('internal', `the wallet refused with ${outcome.code}`);
  }
}
