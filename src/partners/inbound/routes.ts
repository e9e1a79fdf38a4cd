/**
 * The partner's side of the API: the calls of the protocol, signed. Whatever is refused of them, also because it does not fit the
 * protocol, leaves a line in the audit log (`door.ts`): a partner who tries what it may not is somebody to talk to.
 */
import type { ErrorCode } from '#src/errors.ts';
import { type Role, type Route, route } from '#src/http/route.ts';
import { partnerCalls } from '#src/partners/protocol/calls.ts';
import { inquire } from './inquiry.ts';
import { accrue, type MovementContext, redeem } from './movements.ts';
import { reverse } from './reversals.ts';
import { validate } from './validation.ts';

const signed: readonly Role[] = ['partner'];

const movementErrors: readonly ErrorCode[] = [
  'signature_invalid',
  'member_not_found',
  'member_not_active',
  'member_merging',
  'currency_unknown',
  'limit_exceeded',
  'occurred_at_in_future',
  'occurred_at_too_old',
  'reference_in_progress',
  'reference_reused',
  'balance_limit',
  'shard_recovering',
  'journal_full',
];

function movementRoutes(context: MovementContext): Route[] {
  const { accrue: giving, redeem: taking, reverse: reversing } = partnerCalls;
  return [
    route({
      method: giving.method,
      path: giving.path,
      operationId: 'partnerAccrue',
      summary: 'A partner gives points to a member',
      tag: 'partners',
      roles: signed,
      body: giving.request,
      replies: { 201: giving.reply, 202: giving.reply },
      errors: [...movementErrors, 'member_not_linked', 'attempts_exceeded'],
      handle: (call) => accrue(context, call),
    }),
    route({
      method: taking.method,
      path: taking.path,
      operationId: 'partnerRedeem',
      summary: 'A partner takes points of a member who has linked the account',
      tag: 'partners',
      roles: signed,
      body: taking.request,
      replies: { 201: taking.reply, 202: taking.reply },
      errors: [...movementErrors, 'member_not_linked', 'insufficient_points', 'spending_frozen'],
      handle: (call) => redeem(context, call),
    }),
    route({
      method: reversing.method,
      path: reversing.path,
      operationId: 'partnerReverse',
      summary: 'A partner takes back all or part of what it gave or took',
      tag: 'partners',
      roles: signed,
      body: reversing.request,
      replies: { 201: reversing.reply, 202: reversing.reply },
      errors: [...movementErrors, 'original_not_found', 'reversal_exceeds_original'],
      handle: (call) => reverse(context, call),
    }),
  ];
}

/** The calls of partners. */
export function partnerRoutes(context: MovementContext): Route[] {
  const { validate: validating, inquire: inquiring } = partnerCalls;
  return [
    route({
      method: validating.method,
      path: validating.path,
      operationId: 'partnerValidate',
      summary: 'Whether an account is that of a named person; with a one-time code it is linked',
      tag: 'partners',
      roles: signed,
      body: validating.request,
      replies: { 200: validating.reply },
      errors: [
        'signature_invalid',
        'member_not_found',
        'member_not_active',
        'member_merging',
        'link_code_invalid',
        'identifier_taken',
        'attempts_exceeded',
      ],
      handle: (call) => validate(context, call),
    }),
    ...movementRoutes(context),
    route({
      method: inquiring.method,
      path: inquiring.path,
      operationId: 'partnerInquire',
      summary: 'What became of a movement of the partner; a 404 is definitive',
      tag: 'partners',
      roles: signed,
      query: inquiring.request,
      replies: { 200: inquiring.reply },
      errors: ['signature_invalid', 'not_found', 'operation_archived', 'shard_recovering'],
      handle: (call) => inquire(context, call),
    }),
  ];
}
