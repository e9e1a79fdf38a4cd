import { programNow } from '#src/earning/program.ts';
import type { Role, Route } from '#src/http/route.ts';
import { route } from '#src/http/route.ts';
import { checkOccurredAt } from '#src/wallet/fields.ts';
import { accrualReplyOf, accrue, awardView, durabilityOfAccrual } from './accruals.ts';
import { accrueBulk } from './bulk.ts';
import { type QuoteContext, quoteAccrual } from './quotes.ts';
import { unlock, unlockReply, unlockSchema } from './releases.ts';
import { type ReversalContext, reverse } from './reversals.ts';
import {
  accrualReply,
  accrualSchema,
  bulkReply,
  bulkSchema,
  quoteReply,
  quoteSchema,
  reversalReply,
  reversalSchema,
} from './schemas.ts';

const tills: readonly Role[] = ['pos', 'checkout', 'admin'];
const movementErrors = [
  'member_not_found',
  'member_not_active',
  'member_merging',
  'reference_reused',
  'reference_in_progress',
  'occurred_at_in_future',
  'occurred_at_too_old',
  'limit_exceeded',
  'store_not_allowed',
  'currency_unknown',
  'money_currency_not_accepted',
  'balance_limit',
  'shard_recovering',
  'journal_full',
] as const;

const bulkBytesMax = 8 * 1024 * 1024;

/** What follows from an accrual. */
function followUpRoutes(context: ReversalContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/accruals/:id/reversals',
      operationId: 'reverseAccrual',
      summary: 'Take an accrual back, whole or by line; `by-reference` stands for the id',
      tag: 'earning',
      roles: [...tills, 'care'],
      body: reversalSchema,
      replies: { 201: reversalReply, 202: reversalReply },
      errors: [...movementErrors, 'original_not_found', 'reversal_exceeds_accrual', 'order_too_large'],
      handle: (call) => reverse(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/accruals/:id/releases',
      operationId: 'unlockAccrual',
      summary: 'Let points count that wait for an event; `by-reference` stands for the id',
      tag: 'earning',
      roles: [...tills, 'care'],
      body: unlockSchema,
      replies: { 201: unlockReply, 202: unlockReply },
      errors: [
        'member_not_found',
        'member_not_active',
        'member_merging',
        'reference_reused',
        'reference_in_progress',
        'store_not_allowed',
        'original_not_found',
        'shard_recovering',
        'journal_full',
      ],
      handle: (call) => unlock(context, call),
    }),
  ];
}

/** The calls of the earning domain. */
export function earningRoutes(context: QuoteContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/accruals',
      operationId: 'accrue',
      summary: 'Award points for a receipt, flight, activity or grant',
      tag: 'earning',
      roles: tills,
      body: accrualSchema,
      replies: { 201: accrualReply, 202: accrualReply },
      errors: movementErrors,
      async handle(call) {
        const moved = await accrue(context, call, call.body);
        return accrualReplyOf(call.caller.program, moved, durabilityOfAccrual(call.body));
      },
    }),
    route({
      method: 'POST',
      path: '/v1/accruals/quote',
      operationId: 'quoteAccrual',
      summary: 'What a receipt would earn, and why; nothing moves',
      tag: 'earning',
      roles: [...tills, 'care'],
      body: quoteSchema,
      replies: { 200: quoteReply },
      errors: [
        'member_not_found',
        'occurred_at_in_future',
        'occurred_at_too_old',
        'store_not_allowed',
        'currency_unknown',
        'money_currency_not_accepted',
        'balance_limit',
      ],
      async handle({ caller, body }) {
        const { program } = caller;
        const at = body.occurredAt ?? programNow(program);
        checkOccurredAt(caller, at);
        const { awards, explanation } = await quoteAccrual(context, caller, body, at);
        return {
          status: 200,
          body: {
            object: 'accrualQuote',
            mode: program.mode,
            awards: awards.map((award) => awardView(program, award)),
            explanation,
          },
        };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/accruals/bulk',
      operationId: 'accrueBulk',
      summary: 'Up to 1,000 accruals, each answered alone',
      tag: 'earning',
      roles: tills,
      body: bulkSchema,
      bodyBytesMax: bulkBytesMax,
      replies: { 200: bulkReply },
      errors: [],
      handle: (call) => accrueBulk(context, call),
    }),
    ...followUpRoutes(context),
  ];
}
