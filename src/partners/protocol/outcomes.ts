/**
 * PURE. What an answer, or none, means to the caller of a movement. The one question is whether points have moved there:
 *
 * - `succeeded`, `pending`: as the body says.
 * - `failed`: for good. The callee keeps it under the reference, so no send of it, before or later, moves anything. `code` is the word.
 * - `refused`: this send has moved nothing. `code` is the word. It says nothing about an earlier send that may still arrive.
 * - `stands`: this send has moved nothing, because its reference stands for something else, or for what is so old that the callee
 *   cannot tell of it any more. Whether points have moved under it, an inquiry says, or a person.
 * - `not_done`: this send has moved nothing, but it says nothing about earlier sends of the same reference (a wrong clock, a
 *   revoked key, too many calls, a service that is not ready). Send it again under the same reference.
 * - `unknown`: it may have happened. Inquire, or send it again under the same reference; never guess.
 */
import { z } from 'zod';
import { type MovementReply, movementReply } from './schemas.ts';

export type CallOutcome =
  | { readonly outcome: 'succeeded' | 'pending'; readonly reply: MovementReply }
  | { readonly outcome: 'failed' | 'refused' | 'stands' | 'not_done' | 'unknown'; readonly code: string };

/** Problem documents (RFC 9457) of the protocol have at least these. */
export const problemReply = z.object({
  status: z.int(),
  code: z.string().min(1).max(64),
  title: z.string(),
  detail: z.string().optional(),
  applied: z.enum(['no', 'unknown']).optional(),
});

/** Words that a callee refuses with for good, and what they say. Others may be added: decide by the HTTP status first. */
export const refusalWords = {
  member_not_found: 'no such account, or the name is not that of its member',
  member_not_active: 'the account is suspended or closed',
  member_not_linked: 'the member has not linked this account with the caller, or has unlinked it',
  link_code_invalid: 'the one-time code is wrong, used or too old',
  currency_unknown: 'the callee has no such points',
  insufficient_points: 'the account has fewer points than asked for',
  spending_frozen: 'nothing may be taken from the account until a person has looked at it',
  limit_exceeded: 'more than the contract or the key allows at once or in a day',
  occurred_at_in_future: 'it happened in the future',
  occurred_at_too_old: 'the claim comes later than the contract allows',
  original_not_found: 'what is to be reversed was never done',
  reversal_exceeds_original: 'more would be taken back than is left of the original',
  reference_reused: 'the reference stands for another movement',
  validation_failed: 'the request does not fit the protocol',
} as const;

/** Refusals that come before the callee has looked at the reference, or that end by themselves. */
const notDone = new Set([401, 403, 429, 503]);
const notDoneCodes = new Set(['reference_in_progress', 'member_merging', 'attempts_exceeded']);
const forGood = new Set([400, 404, 409, 413, 415, 422]);
/** 410: the callee has had the reference, and what became of it has left its books. */
const gone = 410;

/** What an HTTP answer to a movement says. `body` is the parsed JSON, undefined where it was none. */
export function outcomeOf(httpStatus: number, body: unknown): CallOutcome {
  if (httpStatus >= 200 && httpStatus < 300) {
    const parsed = movementReply.safeParse(body);
    if (!parsed.success) return { outcome: 'unknown', code: 'reply_malformed' };
    const { status, reason } = parsed.data;
    if (status === 'failed') return { outcome: 'failed', code: reason ?? 'failed' };
    return { outcome: status, reply: parsed.data };
  }
  const problem = problemReply.safeParse(body);
  // A page of a proxy has the status of a refusal and knows nothing of the movement.
  if (!problem.success) return { outcome: 'unknown', code: `http_${httpStatus}` };
  const { code, applied } = problem.data;
  if (applied === 'unknown') return { outcome: 'unknown', code };
  if (code === 'reference_reused' || httpStatus === gone) return { outcome: 'stands', code };
  if (code === 'limit_exceeded') return { outcome: 'refused', code };
  if (notDone.has(httpStatus) || notDoneCodes.has(code)) return { outcome: 'not_done', code };
  if (code === 'not_found' || !forGood.has(httpStatus)) return { outcome: 'unknown', code };
  return { outcome: 'refused', code };
}

/** Whether the callee would not do it: this send has moved nothing, and the same again would move nothing either. */
export function isRefusal(outcome: CallOutcome['outcome']): boolean {
  return outcome === 'failed' || outcome === 'refused' || outcome === 'stands';
}

export type Inquiry =
  | { readonly found: MovementReply }
  /** Never used up to now. A send that is still on its way may use it yet: send again, or void it. */
  | { readonly found: 'nothing' }
  | { readonly found: 'unknown'; readonly code: string };

/** What an HTTP answer to an inquiry says. */
export function inquiryOf(httpStatus: number, body: unknown): Inquiry {
  if (httpStatus === 200) {
    const parsed = movementReply.safeParse(body);
    return parsed.success ? { found: parsed.data } : { found: 'unknown', code: 'reply_malformed' };
  }
  const problem = problemReply.safeParse(body);
  if (!problem.success) return { found: 'unknown', code: `http_${httpStatus}` };
  const { code } = problem.data;
  return httpStatus === 404 && code === 'not_found' ? { found: 'nothing' } : { found: 'unknown', code };
}
