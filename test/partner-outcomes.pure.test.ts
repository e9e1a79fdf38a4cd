/** What an answer to a movement means to its caller: a word that says nothing of the points is never taken for a refusal. */
import { expect, test } from 'vitest';
import { outcomeOf, type refusalWords } from '#src/partners/protocol/outcomes.ts';

const problem = (status: number, code: string, more: object = {}) =>
  outcomeOf(status, { type: 'about:blank', title: code, status, code, ...more });

/** Each word with the statuses it may come with. */
const statuses: Readonly<Record<keyof typeof refusalWords, number>> = {
  member_not_found: 404,
  member_not_active: 409,
  member_not_linked: 409,
  link_code_invalid: 409,
  currency_unknown: 422,
  insufficient_points: 409,
  spending_frozen: 409,
  limit_exceeded: 403,
  occurred_at_in_future: 422,
  occurred_at_too_old: 422,
  original_not_found: 404,
  reversal_exceeds_original: 409,
  reference_reused: 422,
  validation_failed: 422,
};

test('every word of refusal refuses, but the one that says that something stands under the reference', () => {
  for (const [code, status] of Object.entries(statuses)) {
    const outcome = code === 'reference_reused' ? 'stands' : 'refused';
    expect(problem(status, code), code).toEqual({ outcome, code });
    expect(problem(status, code, { applied: 'unknown' }), code).toEqual({ outcome: 'unknown', code });
  }
});

test('what has left the books of the callee was there, under whichever word', () => {
  expect(problem(410, 'operation_archived')).toEqual({ outcome: 'stands', code: 'operation_archived' });
  expect(problem(410, 'gone').outcome).toBe('stands');
  expect(outcomeOf(410, '<html>').outcome).toBe('unknown');
});

test('what comes before the reference was looked at has not been done, and a fault says nothing', () => {
  for (const [status, code] of [
    [401, 'signature_invalid'],
    [403, 'role_not_allowed'],
    [429, 'attempts_exceeded'],
    [503, 'not_ready'],
    [409, 'reference_in_progress'],
    [409, 'member_merging'],
  ] as const)
    expect(problem(status, code), code).toEqual({ outcome: 'not_done', code });
  for (const [status, code] of [
    [404, 'not_found'],
    [500, 'internal'],
    [418, 'validation'],
  ] as const)
    expect(problem(status, code), code).toEqual({ outcome: 'unknown', code });
});
