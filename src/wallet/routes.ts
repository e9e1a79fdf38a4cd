import { z } from 'zod';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { type Route, route } from '#src/http/route.ts';
import type { Soon } from '#src/values.ts';
import { type AdjustmentContext, adjust, adjustmentReply, adjustmentSchema } from './adjustments.ts';
import { balancesView } from './balances.ts';
import { extend, extensionReply, extensionSchema } from './extensions.ts';
import type { MemberFacts } from './lookup.ts';

export interface WalletRoutesContext extends AdjustmentContext {
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

const lot = z.object({ points: z.int(), expiresOn: z.string().nullable() });

export const balancesReply = z
  .object({
    object: z.literal('balances'),
    member: z.string(),
    mode: z.enum(['live', 'test']),
    timeZone: z.string(),
    balances: z.record(
      z.string(),
      z.object({
        available: z.int(),
        pending: z.int(),
        held: z.int(),
        debt: z.int(),
        lots: z.array(lot),
        pendingLots: z.array(
          z.object({ points: z.int(), availableOn: z.string(), expiresOn: z.string().nullable() }),
        ),
      }),
    ),
    ledger: z.object({ position: z.string() }),
  })
  .meta({ id: 'Balances' });

/** Balances and adjustments. */
export function walletRoutes(context: WalletRoutesContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/members/:member/balances',
      operationId: 'getBalances',
      summary: 'What a member has, by currency and lot',
      tag: 'wallet',
      roles: ['pos', 'checkout', 'care', 'finance', 'admin'],
      replies: { 200: balancesReply },
      errors: ['member_not_found', 'shard_recovering'],
      async handle({ caller, params }) {
        const { program } = caller;
        const named = await context.resolvePathMember(program, params.member!);
        const member = named?.mergedInto ?? named?.member;
        const reading =
          member !== undefined && (await context.operations.wallet.read(member, programNow(program)));
        if (!reading) throw new Problem('member_not_found');
        return { status: 200, body: balancesView(program, reading, member) };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/adjustments',
      operationId: 'adjust',
      summary: "Correct a member's points, with a reason",
      tag: 'wallet',
      roles: ['care', 'admin'],
      body: adjustmentSchema,
      replies: { 201: adjustmentReply, 202: adjustmentReply },
      errors: [
        'member_not_found',
        'member_not_active',
        'member_merging',
        'spending_frozen',
        'insufficient_points',
        'limit_exceeded',
        'currency_unknown',
        'reference_reused',
        'reference_in_progress',
        'balance_limit',
        'shard_recovering',
        'journal_full',
      ],
      handle: (call) => adjust(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/members/:member/extensions',
      operationId: 'extendPoints',
      summary: 'Let points of a member end later, with a reason',
      tag: 'wallet',
      roles: ['care', 'admin'],
      body: extensionSchema,
      replies: { 201: extensionReply, 202: extensionReply },
      errors: [
        'member_not_found',
        'member_not_active',
        'member_merging',
        'currency_unknown',
        'reference_reused',
        'reference_in_progress',
        'shard_recovering',
        'journal_full',
      ],
      handle: (call) => extend(context, call),
    }),
  ];
}
