/** Adjustments: corrections by customer care, in either direction, with a reason. */
import { z } from 'zod';
import { type Program, partyOf, programNow } from '#src/earning/program.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { type MemberRef, memberRefSchema } from '#src/members/member-ref.ts';
import { memberId, operationId, pointsMax, type Soon } from '#src/values.ts';
import { balancesAfter } from './balances.ts';
import {
  balancesSchema,
  canonicalBody,
  checkPointsLimit,
  currencyField,
  currencyNumber,
  durabilityOf,
  ledgerSchema,
  movementFields,
  referenceOf,
  textOf,
} from './fields.ts';
import type { MemberFacts } from './lookup.ts';
import type { Operations, Recorded } from './operations.ts';
import { movementReply, perform } from './perform.ts';

export const adjustmentSchema = z
  .strictObject({
    member: memberRefSchema,
    ...movementFields,
    currency: currencyField.optional(),
    points: z
      .int()
      .min(-pointsMax)
      .max(pointsMax)
      .refine((points) => points !== 0, 'must not be 0'),
    reason: textOf(256),
    reasonCode: textOf(64).optional(),
    funder: textOf(32).optional(),
    actor: textOf(64).optional(),
  })
  .meta({ id: 'AdjustmentRequest' });
type AdjustmentBody = z.output<typeof adjustmentSchema>;

export const adjustmentReply = z
  .object({
    object: z.literal('adjustment'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.literal('adjusted'),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    reason: z.string(),
    reasonCode: z.string().optional(),
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Adjustment' });

export interface AdjustmentContext {
  readonly operations: Operations;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  const body = recorded.request.body as AdjustmentBody;
  return {
    object: 'adjustment',
    id: operationId('adjustment', recorded.operation),
    mode: program.mode,
    status: 'adjusted',
    member: memberId(recorded.member),
    points: body.points,
    currency: body.currency ?? program.mainCurrency.code,
    reason: body.reason,
    ...(body.reasonCode === undefined ? {} : { reasonCode: body.reasonCode }),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** `POST /v1/adjustments` */
export async function adjust(context: AdjustmentContext, call: Call<AdjustmentBody>): Promise<Reply> {
  const { caller } = call;
  const { program } = caller;
  const { member, durability: asked, metadata, ...rest } = call.body;
  const currency = currencyNumber(caller, rest.currency);
  const party = partyOf(program.definition, rest.funder ?? program.definition.funders[0]!);
  const reference = referenceOf(call, rest);
  const durability = durabilityOf({ durability: asked }, 'ledger');
  const canonical = canonicalBody(caller, rest, reference);
  const upwards = rest.points > 0;
  const moved = await perform(context.operations, {
    caller,
    script: upwards ? 'accrue' : 'spend',
    kind: 'adjustment',
    reference,
    named: { ...canonical, member },
    body: canonical,
    metadata,
    occurredAt: programNow(program),
    durability,
    waitMs: call.waitMs,
    member: () => context.resolveMember(program, member),
    decide() {
      const points = Math.abs(rest.points);
      checkPointsLimit(caller, points);
      return {
        points,
        input: upwards
          ? { awards: [[currency, points, 0, 0, party]], account: 'adjustment' }
          : { parts: [[currency, points]], account: 'adjustment', party },
      };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}
