/** The calls about pools. */
import type { ErrorCode } from '#src/errors.ts';
import { type Role, type Route, route } from '#src/http/route.ts';
import { redemptionQuoteReply } from '#src/redemption/schemas.ts';
import { createCollector } from './collecting.ts';
import type { PoolsContext } from './context.ts';
import { holdOfPool, settleHold, showHold } from './holds.ts';
import {
  changePolicy,
  dissolvePool,
  joinPool,
  leavePool,
  openPool,
  showPool,
  showPoolOfMember,
} from './pools.ts';
import { quotePool, redeemOfPool, showRedemption } from './redemptions.ts';
import { refundOfPool } from './refunds.ts';
import {
  joinSchema,
  openSchema,
  policyBodySchema,
  poolCaptureSchema,
  poolHoldReply,
  poolHoldSchema,
  poolQuoteSchema,
  poolRedemptionReply,
  poolRedemptionSchema,
  poolRefundReply,
  poolRefundSchema,
  poolReleaseSchema,
  poolReply,
} from './schemas.ts';
import type { PoolSpending } from './spending.ts';
import { createTurns } from './turns.ts';

const tills: readonly Role[] = ['pos', 'checkout', 'admin'];
const readers: readonly Role[] = [...tills, 'care', 'finance'];
const desk: readonly Role[] = [...tills, 'care'];
/** Whoever sees the household's head, or has spoken with it. A till sees a card, and could let itself spend. */
const counsel: readonly Role[] = ['care', 'checkout', 'admin'];

const joiningErrors: readonly ErrorCode[] = [
  'member_not_found',
  'member_not_active',
  'member_merging',
  'member_in_pool',
  'pool_limit',
  'shard_recovering',
];

function placeRoutes(context: PoolsContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/pools',
      operationId: 'openPool',
      summary: 'Open a pool: members who may spend one another’s points',
      tag: 'pools',
      roles: desk,
      body: openSchema,
      replies: { 201: poolReply },
      errors: [...joiningErrors, 'reference_reused', 'reference_in_progress'],
      handle: (call) => openPool(context, call),
    }),
    route({
      method: 'GET',
      path: '/v1/pools/:pool',
      operationId: 'getPool',
      summary: 'A pool: its members, what each has and what all have together',
      tag: 'pools',
      roles: readers,
      replies: { 200: poolReply },
      errors: ['not_found', 'shard_recovering'],
      handle: (call) => showPool(context, call),
    }),
    route({
      method: 'GET',
      path: '/v1/members/:member/pool',
      operationId: 'getPoolOfMember',
      summary: 'The pool that a member is in',
      tag: 'pools',
      roles: readers,
      replies: { 200: poolReply },
      errors: ['member_not_found', 'not_found', 'shard_recovering'],
      handle: (call) => showPoolOfMember(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/pools/:pool/members',
      operationId: 'joinPool',
      summary: 'Let a member join who shows a card',
      tag: 'pools',
      roles: desk,
      body: joinSchema,
      replies: { 200: poolReply, 201: poolReply },
      errors: [...joiningErrors, 'not_found', 'pool_dissolved'],
      handle: (call) => joinPool(context, call),
    }),
    ...endingRoutes(context),
  ];
}

function endingRoutes(context: PoolsContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/pools/:pool/members/:member/leave',
      operationId: 'leavePool',
      summary: 'Leave a pool: the points stay with their member',
      tag: 'pools',
      roles: desk,
      replies: { 200: poolReply },
      errors: ['member_not_found', 'not_found', 'shard_recovering'],
      handle: (call) => leavePool(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/pools/:pool/dissolve',
      operationId: 'dissolvePool',
      summary: 'Dissolve a pool: all members leave it',
      tag: 'pools',
      roles: counsel,
      replies: { 200: poolReply },
      errors: ['not_found', 'shard_recovering'],
      handle: (call) => dissolvePool(context, call),
    }),
    route({
      method: 'PUT',
      path: '/v1/pools/:pool/policy',
      operationId: 'changePoolPolicy',
      summary: 'Change what a pool allows, for all that follows',
      tag: 'pools',
      roles: counsel,
      body: policyBodySchema,
      replies: { 200: poolReply },
      errors: ['not_found', 'pool_dissolved', 'shard_recovering'],
      handle: (call) => changePolicy(context, call),
    }),
  ];
}

const askingErrors = [
  'not_found',
  'member_not_found',
  'pool_dissolved',
  'spender_not_allowed',
  'currency_unknown',
  'money_currency_not_accepted',
  'store_not_allowed',
  'shard_recovering',
] as const satisfies readonly ErrorCode[];

const spendingErrors: readonly ErrorCode[] = [
  ...askingErrors,
  'reference_reused',
  'reference_in_progress',
  'limit_exceeded',
  'pool_limit',
  'insufficient_points',
  'spending_frozen',
  'member_not_active',
  'member_merging',
  'redemption_limit',
  'value_mismatch',
  'journal_full',
];

function spendingRoutes(context: PoolSpending): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/pools/:pool/redemptions/quote',
      operationId: 'quotePoolRedemption',
      summary: 'What a member could redeem of the pool now',
      tag: 'pools',
      roles: desk,
      body: poolQuoteSchema,
      replies: { 200: redemptionQuoteReply },
      errors: askingErrors,
      handle: (call) => quotePool(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/pools/:pool/redemptions',
      operationId: 'redeemOfPool',
      summary: 'Take points of the pool at once, all or none',
      tag: 'pools',
      roles: tills,
      body: poolRedemptionSchema,
      replies: { 201: poolRedemptionReply, 202: poolRedemptionReply },
      errors: spendingErrors,
      handle: (call) => redeemOfPool(context, call),
    }),
    route({
      method: 'GET',
      path: '/v1/pools/:pool/redemptions/:redemption',
      operationId: 'getPoolRedemption',
      summary: 'A redemption of a pool, with the part of each member',
      tag: 'pools',
      roles: readers,
      replies: { 200: poolRedemptionReply },
      errors: ['not_found'],
      handle: (call) => showRedemption(context, call),
    }),
  ];
}

function refundRoute(context: PoolSpending): Route {
  return route({
    method: 'POST',
    path: '/v1/pools/:pool/redemptions/:redemption/refunds',
    operationId: 'refundPoolRedemption',
    summary:
      'Give points of a pool’s redemption back to whom they came from; `by-reference` stands for the id',
    tag: 'pools',
    roles: desk,
    body: poolRefundSchema,
    replies: { 201: poolRefundReply },
    errors: [
      'not_found',
      'original_not_found',
      'refund_exceeds_redemption',
      'currency_unknown',
      'reference_reused',
      'reference_in_progress',
      'limit_exceeded',
      'store_not_allowed',
      'shard_recovering',
      'journal_full',
    ],
    handle: (call) => refundOfPool(context, call),
  });
}

function settleRoute(context: PoolSpending, mode: 'capture' | 'release', summary: string): Route {
  return route({
    method: 'POST',
    path: `/v1/pools/:pool/holds/:hold/${mode}`,
    operationId: `${mode}PoolHold`,
    summary,
    tag: 'pools',
    roles: tills,
    body: mode === 'capture' ? poolCaptureSchema : poolReleaseSchema,
    replies: { 200: poolHoldReply, 202: poolHoldReply },
    errors: [
      'not_found',
      'hold_already_resolved',
      'hold_expired',
      'reference_reused',
      'reference_in_progress',
      'shard_recovering',
      'journal_full',
    ],
    handle: (call) => settleHold(context, call, mode),
  });
}

function holdRoutes(context: PoolSpending): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/pools/:pool/holds',
      operationId: 'holdOfPool',
      summary: 'Reserve points of the pool until they are captured, released or the hold ends',
      tag: 'pools',
      roles: tills,
      body: poolHoldSchema,
      replies: { 201: poolHoldReply },
      errors: spendingErrors,
      handle: (call) => holdOfPool(context, call),
    }),
    route({
      method: 'GET',
      path: '/v1/pools/:pool/holds/:hold',
      operationId: 'getPoolHold',
      summary: 'A hold of a pool and how it was resolved',
      tag: 'pools',
      roles: readers,
      replies: { 200: poolHoldReply },
      errors: ['not_found'],
      handle: (call) => showHold(context, call),
    }),
    settleRoute(context, 'capture', 'Redeem all or part of a hold; the rest goes back'),
    settleRoute(context, 'release', 'Give the points of a hold back'),
  ];
}

/** Every call about pools. */
export function poolRoutes(context: PoolsContext): Route[] {
  const collector = createCollector(context);
  const spending = { ...context, collector, turns: createTurns(context.pool, collector) };
  return [
    ...placeRoutes(context),
    ...spendingRoutes(spending),
    refundRoute(spending),
    ...holdRoutes(spending),
  ];
}
