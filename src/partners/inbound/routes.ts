/**
 * The partner's side of the API: the calls of the protocol, signed (`door.ts`). Whatever they refuse leaves a line in the audit
 * log: a partner who tries what it may not is somebody to talk to.
 */
import { type ErrorCode, Problem } from '#src/errors.ts';
import { type Call, type Reply, type Role, type Route, route } from '#src/http/route.ts';
import { partnerCalls } from '#src/partners/protocol/calls.ts';
import { createRefusals, type Refusals } from '#src/partners/refusals.ts';
import type { Telemetry } from '#src/platform/telemetry.ts';
import { inquire } from './inquiry.ts';
import { accrue, type MovementContext, redeem } from './movements.ts';
import { reverse } from './reversals.ts';
import { validate } from './validation.ts';

export interface PartnerRouteContext extends MovementContext {
  readonly telemetry: Pick<Telemetry, 'log' | 'metrics'>;
}

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

/** Runs a call, and notes it where it is refused. What is broken on our side is no refusal. */
function noting<Body, Query>(
  refusals: Refusals,
  name: string,
  handle: (call: Call<Body, Query>) => Promise<Reply>,
): (call: Call<Body, Query>) => Promise<Reply> {
  return async (call) => {
    try {
      return await handle(call);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) {
        const { keyId, program } = call.caller;
        await refusals.note({ program: program.number, keyId, word: error.code, call: name });
      }
      throw error;
    }
  };
}

function movementRoutes(context: PartnerRouteContext, refusals: Refusals): Route[] {
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
      handle: noting(refusals, `POST ${giving.path}`, (call) => accrue(context, call)),
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
      handle: noting(refusals, `POST ${taking.path}`, (call) => redeem(context, call)),
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
      handle: noting(refusals, `POST ${reversing.path}`, (call) => reverse(context, call)),
    }),
  ];
}

/** The calls of partners. */
export function partnerRoutes(context: PartnerRouteContext): Route[] {
  const { log, metrics } = context.telemetry;
  const refusals = createRefusals(context.pool, log, metrics.partnerRefusals);
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
      handle: noting(refusals, `POST ${validating.path}`, (call) => validate(context, call)),
    }),
    ...movementRoutes(context, refusals),
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
      handle: noting(refusals, `GET ${inquiring.path}`, (call) => inquire(context, call)),
    }),
  ];
}
