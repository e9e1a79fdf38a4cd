/** What a caller does about each code, for the page of problems. The compiler sees to it that none is missing. */
import type { ErrorCode } from '#src/errors.ts';

const sameAgain = 'Wait for `Retry-After` seconds and repeat with the same reference.';

export const problemAdvice: Readonly<Record<ErrorCode, string>> = {
  body_malformed:
    'Send one JSON value in UTF-8 without a byte order mark, nested at most 32 levels deep. A broken connection can also cut a body short: then repeat it.',
  validation_failed:
    'Every fault stands in `errors`: `pointer` is a JSON pointer into the body, or `query:`, `path:` or `header:` and a name; `detail` says what is wrong. Unknown fields are faults.',
  currency_unknown: '`GET /v1/program` lists the currencies of the program.',
  money_currency_not_accepted: 'The program takes receipts only in certain ISO 4217 currencies.',
  occurred_at_in_future:
    '`occurredAt` may be five minutes ahead at most. Check the clock of the till and the offset in the time.',
  occurred_at_too_old:
    'Key and program bound how far back a movement may lie. Ask the operator for a key that may go further back.',
  key_missing: 'Send `Authorization: Bearer KEY`.',
  key_unknown: 'The key is wrong, revoked or expired. Stop and tell a person; repeating does not help.',
  signature_invalid:
    '`reason` says why: `headers_missing`, `headers_malformed`, `key_unknown`, `stale`, `mismatch` or `replayed`. Sign every send anew, over the bytes as they are sent; [partners](/docs/partner) have the vectors.',
  role_not_allowed: 'The detail names the roles that may. Use another key.',
  store_not_allowed: 'The key is bound to certain stores, and `purchase.store` is none of them.',
  limit_exceeded: 'The movement is larger than the key may make at once or in a day.',
  not_found:
    'There is no such path or no such thing. Of a reference it is a definite answer: it was never used.',
  member_not_found:
    'Unknown, or of another program; the answers are identical. Enrol the member, or send `enrol: true` with a receipt.',
  method_not_allowed: 'The header `Allow` lists the methods of this path.',
  insufficient_points:
    '`available` is what there is, `required` what was asked for. The refusal is remembered for about 20 minutes: a new attempt takes a new reference.',
  member_not_active: 'The member is suspended, closed or merged into another one.',
  member_merging: sameAgain,
  spending_frozen:
    'The audit or a recovery found something to look at; the member may earn but not spend until a person has. Tell the operator.',
  member_exists: 'The id is taken by a member with other details.',
  identifier_taken: 'The card, number or address belongs to another member.',
  member_not_linked: 'Link the accounts with a one-time code of the member first.',
  link_code_invalid:
    'A code is for one member and one partner, counts once and for 15 minutes. Ask the member for a new one.',
  original_not_found:
    'What this follows up was never done under that id or reference. For a receipt that may still arrive send `voidIfMissing: true`.',
  hold_already_resolved:
    '`resolution` says how, `redemption` names what a capture made. It is not resolved twice.',
  hold_expired: 'The hold ended by itself and gave its points back. Hold again with a new reference.',
  refund_exceeds_redemption: 'Less than that is left of the redemption to be refunded.',
  reversal_exceeds_accrual: 'Less than that is left of the accrual to be taken back.',
  reversal_exceeds_original: '`left` is what can still be taken back of it.',
  reference_in_progress: sameAgain,
  order_too_large:
    'What comes back is judged with all that the member did in the order, up to 200 movements. A receipt number that starts again is no order: leave `purchase.order` out.',
  redemption_limit:
    '`limitedBy` names the limit: `minimum`, `step`, `maximum`, `share`, `payment`, `receipt` or `rule`. `minimum`, `step` and `maximum` are those of this receipt. Ask for a new quote.',
  value_mismatch:
    '`value` is what the points are worth now: a rate or a rule has changed since the quote. Ask the customer again.',
  quote_expired: 'Ask for a new quote.',
  cap_reached:
    'So much is given or exchanged in a period, and the member has had it; of an exchange `left` is what would still be let through, `value` what stands against `bound`, and `until` is when the next period begins.',
  budget_exhausted: 'The budget of the promotion is used up.',
  balance_limit: 'A wallet holds a bounded number of points, lots and open holds.',
  match_refused:
    'The detail says why: the evidence, the time of membership or an earlier match. `notBefore` is the first day on which it can be asked for again.',
  tier_limit:
    'Fifty at a time. End one that is not needed any more: those that ended make room by themselves.',
  member_in_pool: 'A member is in one pool at a time: leave the other one first.',
  pool_dissolved: 'Its members have their own points as before. Open another pool.',
  pool_limit:
    '`limitedBy` names the limit: `members`, `cooling` (the member left a pool and may join again from `mayJoinAt` on) or `day` (what one member may spend of the pool in a day).',
  exchange_limit:
    '`limit` names the bound of the rate: `exchange_minimum`, `exchange_step`, `exchange_maximum`, `nothing_received` or `uncountable` (it comes to more than 2^53-1); `bound` is its number and `value` what stands against it.',
  exchange_not_allowed:
    '`reasons` names each limit against abuse that was reached, with its `bound`, the `value` that stands against it, and `until` where time alone cures it.',
  spender_not_allowed:
    'The member is not in the pool, or the policy of the pool lets only others spend: `GET /v1/pools/:pool` shows both.',
  exchange_refused:
    '`reason` is the word of the partner or the wallet, or `partner_unavailable` where the partner could not be reached for a day. The points are where they were: a new attempt takes a new reference.',
  exchange_not_cancellable:
    'It was sent to the partner, or is over. `GET /v1/exchanges/:id` shows how it stands; what the partner refuses goes back by itself.',
  settlement_open:
    'The detail says why: the month has not ended in the zone of the program, an earlier one is open, or clearing is behind the books (repeat in a minute).',
  settlement_status:
    'A statement is issued once, disputed within the days of its contract, and then paid or netted as far as it is not in dispute; `early` where the partner has agreed to do without these days. `GET /v1/settlements/:settlement` shows its steps.',
  file_out_of_sequence:
    '`reason` is `gap` or `repeat`, and `expected` the number of the next file; or `period_gap` or `period_repeat`, and `expectedFrom` when its period begins; or `begun` where `first` names a first file and there was one. Nothing was kept. Of a repeat, `reconciliation` is what came of the file then.',
  dispute_not_open:
    'An open dispute is answered or settled, an answered one settled; a line is disputed once, and not where a later file has matched it.',
  clock_not_movable: 'Only the clock of a test program moves, and only forward.',
  operation_archived:
    'What the reference or id stands for was done at about `madeAt`, and its month is in the archive: it is not done again, and nothing follows from it any more. The operator can bring the month back.',
  body_too_large: 'The detail says how many bytes are allowed: 128 KiB for most calls, 8 MiB for bulk calls.',
  media_type_unsupported: 'Send `Content-Type: application/json` in UTF-8, not compressed.',
  file_refused:
    '`line` says where, counted with the header, and `reason` why. Nothing was kept: send a whole file under the same number.',
  reference_reused:
    'The reference belongs to another request: `pointer` is the first field that differs, `id` the operation that used it. Do not repeat; look at how references are built.',
  attempts_exceeded:
    'Wait an hour since the first try. Each account has five tries in it, and a partner a thousand over all.',
  rate_limited: sameAgain,
  internal: 'Repeat with the same reference a few times, then report the `requestId`.',
  shard_recovering: sameAgain,
  journal_full: `The ledger writer is behind. ${sameAgain}`,
  not_ready: sameAgain,
  clock_skew: `The operator must repair the time of a server. ${sameAgain}`,
  outcome_unknown: 'It may have been done. Repeat with the same reference until there is another answer.',
};
