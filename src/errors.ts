/**
 * The one table of refusals. A code decides its HTTP status, its title and whether the operation may have been applied;
 * nothing else in the code base chooses a status for a refusal. Wallet scripts answer with the same words.
 */

export type Applied = 'no' | 'unknown';

interface ErrorRow {
  readonly status: number;
  readonly title: string;
  /** Seconds for the Retry-After header, where repeating the same call later is the cure. */
  readonly retryAfterSeconds?: number;
  readonly applied?: Applied;
}

const table = {
  body_malformed: { status: 400, title: 'The body is not well-formed JSON in UTF-8' },
  validation_failed: { status: 400, title: 'The request does not fit the schema' },
  currency_unknown: { status: 400, title: 'The program has no such currency' },
  money_currency_not_accepted: { status: 400, title: 'The program does not accept this money currency' },
  occurred_at_in_future: { status: 400, title: 'occurredAt lies in the future' },
  occurred_at_too_old: { status: 400, title: 'occurredAt is further back than this key may go' },
  key_missing: { status: 401, title: 'No key was sent' },
  key_unknown: { status: 401, title: 'The key is unknown, revoked or expired' },
  signature_invalid: { status: 401, title: 'The signature does not match' },
  role_not_allowed: { status: 403, title: 'The role of this key may not do this' },
  store_not_allowed: { status: 403, title: 'This key may not act for that store' },
  limit_exceeded: { status: 403, title: 'The movement is over the limit of this key' },
  not_found: { status: 404, title: 'Not found' },
  member_not_found: { status: 404, title: 'No such member' },
  method_not_allowed: { status: 405, title: 'The resource does not know this method' },
  insufficient_points: { status: 409, title: 'Not enough points' },
  member_not_active: { status: 409, title: 'The member is not active' },
  member_merging: { status: 409, title: 'The member is being merged', retryAfterSeconds: 1 },
  spending_frozen: { status: 409, title: 'Spending of this member is frozen' },
  member_exists: { status: 409, title: 'The member exists with other details' },
  identifier_taken: { status: 409, title: 'The identifier belongs to another member' },
  member_not_linked: { status: 409, title: 'The member has not linked the account with this partner' },
  link_code_invalid: { status: 409, title: 'The one-time code is wrong, used or too old' },
  original_not_found: { status: 409, title: 'The original movement is not known' },
  hold_already_resolved: { status: 409, title: 'The hold is already resolved' },
  hold_expired: { status: 409, title: 'The hold has expired' },
  refund_exceeds_redemption: { status: 409, title: 'More would be refunded than was redeemed' },
  reversal_exceeds_accrual: { status: 409, title: 'More would be taken back than was accrued' },
  reversal_exceeds_original: { status: 409, title: 'More would be taken back than is left of the original' },
  reference_in_progress: { status: 409, title: 'The reference is being worked on', retryAfterSeconds: 1 },
  redemption_limit: { status: 409, title: 'The redemption rules do not allow so many points' },
  value_mismatch: { status: 409, title: 'The value does not match the points' },
  quote_expired: { status: 409, title: 'The quote has expired' },
  order_too_large: { status: 409, title: 'The order has more movements than are judged together' },
  cap_reached: { status: 409, title: 'A cap is reached' },
  budget_exhausted: { status: 409, title: 'The budget is used up' },
  balance_limit: { status: 409, title: 'A limit of the wallet is reached' },
  match_refused: { status: 409, title: 'The offer does not match this tier for this member' },
  tier_limit: { status: 409, title: 'A member has a bounded number of given tiers' },
  member_in_pool: { status: 409, title: 'The member is in a pool already' },
  pool_dissolved: { status: 409, title: 'The pool was dissolved' },
  pool_limit: { status: 409, title: 'A limit of the pool is reached' },
  spender_not_allowed: { status: 409, title: 'The pool does not let this member spend' },
  exchange_limit: { status: 409, title: 'The rate does not allow an exchange of so many points' },
  exchange_not_allowed: { status: 409, title: 'The contract does not allow this exchange now' },
  exchange_refused: { status: 409, title: 'The exchange was refused' },
  exchange_not_cancellable: { status: 409, title: 'The exchange cannot be cancelled any more' },
  settlement_open: { status: 409, title: 'The month cannot be settled yet' },
  settlement_status: { status: 409, title: 'The statement does not allow this as it stands' },
  file_out_of_sequence: { status: 409, title: 'The file is not the next one of this partner' },
  dispute_not_open: { status: 409, title: 'The dispute is not in a state for this' },
  clock_not_movable: { status: 409, title: 'The clock of this program cannot be moved so' },
  operation_archived: { status: 410, title: 'The operation was moved to the archive' },
  body_too_large: { status: 413, title: 'The body is too large' },
  media_type_unsupported: { status: 415, title: 'The body must be application/json in UTF-8' },
  file_refused: { status: 422, title: 'The file is damaged or does not have the form' },
  reference_reused: { status: 422, title: 'The reference was used for a different request' },
  attempts_exceeded: { status: 429, title: 'Too many tries', retryAfterSeconds: 600 },
  rate_limited: { status: 429, title: 'Too many requests', retryAfterSeconds: 1 },
  internal: { status: 500, title: 'Something broke on our side', applied: 'unknown' },
  shard_recovering: { status: 503, title: 'A part of the members is recovering', retryAfterSeconds: 1 },
  journal_full: { status: 503, title: 'The journal is full', retryAfterSeconds: 5 },
  not_ready: { status: 503, title: 'The service is not ready', retryAfterSeconds: 1 },
  clock_skew: { status: 503, title: 'The clock of this server is off', retryAfterSeconds: 5 },
  outcome_unknown: {
    status: 504,
    title: 'The outcome is unknown: repeat with the same reference',
    applied: 'unknown',
    retryAfterSeconds: 1,
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof table;
export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table;

/** A fault in the input: a JSON pointer into the body (or `query:name`, `path:name`, `header:name`) and what is wrong. */
export interface Fault {
  readonly pointer: string;
  readonly detail: string;
}

/** Members of a problem document beyond RFC 9457's own, such as `available` and `required`. */
export type ProblemFields = Readonly<Record<string, unknown>>;

/** A refusal on its way to the caller. Thrown at the edge or from a domain; rendered in one place. */
export class Problem extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly fields: ProblemFields;

  constructor(code: ErrorCode, detail?: string, fields: ProblemFields = {}, options?: ErrorOptions) {
    super(`${code}: ${detail ?? table[code].title}`, options);
    this.name = 'Problem';
    this.code = code;
    this.detail = detail ?? table[code].title;
    this.fields = fields;
  }

  get status(): number {
    return errorTable[this.code].status;
  }
}

/** One refusal with the faults of the input, in the order in which they stand in the body. */
export function validationProblem(errors: readonly Fault[]): Problem {
  const first = errors[0];
  return new Problem('validation_failed', first ? `${first.pointer}: ${first.detail}` : undefined, {
    errors,
  });
}
