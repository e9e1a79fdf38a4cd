import { z } from 'zod';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Role, Route } from '#src/http/route.ts';
import { route } from '#src/http/route.ts';
import type { Soon } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { type HoldContext, hold, listHolds, readHold, settle } from './holds.ts';
import type { PooledReturns } from './pooled.ts';
import { quoteRedemption } from './quotes.ts';
import { redeem, refund } from './redemptions.ts';
import { returnGoods } from './returns.ts';
import {
  captureSchema,
  holdListReply,
  holdReply,
  holdSchema,
  redemptionQuoteReply,
  redemptionQuoteSchema,
  redemptionReply,
  redemptionSchema,
  refundReply,
  refundSchema,
  releaseSchema,
  returnReply,
  returnSchema,
} from './schemas.ts';

export interface RedemptionRoutesContext extends HoldContext {
  readonly pooled: PooledReturns;
  /** A member from a path or query: `mem_…` or the caller's own id. */
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

const tills: readonly Role[] = ['pos', 'checkout', 'admin'];
const movementErrors = [
  'member_not_found',
  'reference_reused',
  'reference_in_progress',
  'limit_exceeded',
  'store_not_allowed',
  'shard_recovering',
  'journal_full',
] as const;
const spendingErrors = [
  ...movementErrors,
  'insufficient_points',
  'spending_frozen',
  'member_not_active',
  'member_merging',
  'currency_unknown',
  'money_currency_not_accepted',
  'redemption_limit',
  'value_mismatch',
  'balance_limit',
] as const;

const holdQuery = z.strictObject({
  member: z.string().min(1).max(128),
  status: z.enum(['held', 'captured', 'released', 'expired']).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
});

function holdRoutes(context: RedemptionRoutesContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/holds',
      operationId: 'holdPoints',
      summary: 'Reserve points until they are captured, released or the hold ends',
      tag: 'redemption',
      roles: tills,
      body: holdSchema,
      replies: { 201: holdReply, 202: holdReply },
      errors: spendingErrors,
      handle: (call) => hold(context, call),
    }),
    route({
      method: 'GET',
      path: '/v1/holds/:id',
      operationId: 'getHold',
      summary: 'A hold and how it was resolved',
      tag: 'redemption',
      roles: [...tills, 'care', 'finance'],
      replies: { 200: holdReply },
      errors: ['not_found', 'operation_archived', 'not_ready'],
      handle: ({ caller, params, waitMs }) => readHold(context, caller, params.id!, waitMs),
    }),
    route({
      method: 'GET',
      path: '/v1/holds',
      operationId: 'listHolds',
      summary: "A member's holds, newest first",
      tag: 'redemption',
      roles: [...tills, 'care', 'finance'],
      query: holdQuery,
      replies: { 200: holdListReply },
      errors: ['member_not_found', 'not_ready'],
      async handle({ caller, query, waitMs }) {
        const facts = await context.resolvePathMember(caller.program, query.member);
        if (!facts) throw new Problem('member_not_found');
        return listHolds(context, caller, facts.member, query, waitMs);
      },
    }),
    ...settleRoutes(context),
  ];
}

function settleRoutes(context: RedemptionRoutesContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/holds/:id/capture',
      operationId: 'captureHold',
      summary: 'Redeem all or part of a hold; the rest goes back',
      tag: 'redemption',
      roles: tills,
      body: captureSchema,
      replies: { 200: holdReply, 202: holdReply },
      errors: [...movementErrors, 'not_found', 'hold_already_resolved', 'hold_expired'],
      handle: (call) => settle(context, call, 'capture'),
    }),
    route({
      method: 'POST',
      path: '/v1/holds/:id/release',
      operationId: 'releaseHold',
      summary: 'Give the points of a hold back',
      tag: 'redemption',
      roles: tills,
      body: releaseSchema,
      replies: { 200: holdReply, 202: holdReply },
      errors: [...movementErrors, 'not_found', 'hold_already_resolved', 'hold_expired'],
      handle: (call) => settle(context, call, 'release'),
    }),
  ];
}

function givingBackRoutes(context: RedemptionRoutesContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/redemptions/:id/refunds',
      operationId: 'refundRedemption',
      summary: 'Give redeemed points back to the lots they came from; `by-reference` stands for the id',
      tag: 'redemption',
      roles: [...tills, 'care'],
      body: refundSchema,
      replies: { 201: refundReply, 202: refundReply },
      errors: [...movementErrors, 'original_not_found', 'refund_exceeds_redemption', 'currency_unknown'],
      handle: (call) => refund(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/returns',
      operationId: 'returnGoods',
      summary: 'Take back what an order earned and give back what it redeemed, in one step',
      tag: 'redemption',
      roles: [...tills, 'care'],
      body: returnSchema,
      replies: { 201: returnReply, 202: returnReply },
      errors: [
        ...movementErrors,
        'original_not_found',
        'reversal_exceeds_accrual',
        'order_too_large',
        'refund_exceeds_redemption',
        'occurred_at_in_future',
        'occurred_at_too_old',
      ],
      handle: (call) => returnGoods(context, call),
    }),
  ];
}

/** The calls of the redemption domain. */
export function redemptionRoutes(context: RedemptionRoutesContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/redemptions/quote',
      operationId: 'quoteRedemption',
      summary: 'What a member could redeem now',
      tag: 'redemption',
      roles: [...tills, 'care'],
      body: redemptionQuoteSchema,
      replies: { 200: redemptionQuoteReply },
      errors: [
        'member_not_found',
        'currency_unknown',
        'money_currency_not_accepted',
        'store_not_allowed',
        'balance_limit',
        'not_ready',
        'shard_recovering',
      ],
      handle: (call) => quoteRedemption(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/redemptions',
      operationId: 'redeem',
      summary: 'Take points at once',
      tag: 'redemption',
      roles: tills,
      body: redemptionSchema,
      replies: { 201: redemptionReply, 202: redemptionReply },
      errors: spendingErrors,
      handle: (call) => redeem(context, call),
    }),
    ...givingBackRoutes(context),
    ...holdRoutes(context),
  ];
}
