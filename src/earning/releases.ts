/**
 * Releases: points of an accrual that wait for an event count from now on, through the end that their rule gives by the day
 * on which they were earned. What was taken back meanwhile is not released, and after the last day of waiting there is
 * nothing left to release.
 */
import { DateTime } from 'luxon';
import { z } from 'zod';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { type EpochMs, memberId, operationId } from '#src/values.ts';
import { balancesAfter, lastValidDay } from '#src/wallet/balances.ts';
import { movesIn } from '#src/wallet/extensions.ts';
import {
  balancesSchema,
  checkOriginalStore,
  durabilityOf,
  fault,
  ledgerSchema,
  movementFields,
  referenceField,
  referenceOf,
  textOf,
} from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { findOriginal } from '#src/wallet/originals.ts';
import { movementReply, perform } from '#src/wallet/perform.ts';
import type { EarningContext } from './accruals.ts';
import { isWaiting, partsOf } from './award-parts.ts';
import type { Program } from './program.ts';
import { memberOfAccrual } from './reversals.ts';
import { expiryOfGiver } from './rules/compile.ts';
import type { JudgedMember } from './rules/types.ts';
import { type OriginalState, untouched, versionOfAccrual } from './undoing.ts';

export const unlockSchema = z
  .strictObject({
    ...movementFields,
    originalReference: referenceField.optional(),
    rule: textOf(32).optional().meta({ description: 'Only what this rule gave; absent: all that waits.' }),
  })
  .meta({ id: 'UnlockRequest' });
type UnlockBody = z.output<typeof unlockSchema>;

export const unlockReply = z
  .object({
    object: z.literal('unlock'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.literal('unlocked'),
    member: z.string(),
    accrual: z.string(),
    points: z.array(z.object({ currency: z.string(), points: z.int(), expiresOn: z.iso.date().nullable() })),
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Unlock' });

/** [part of the accrual from 1, end]: what waits for an event, as its rules date it. */
function termsOf(
  program: Program,
  accrual: Recorded,
  member: JudgedMember,
  rule: string | undefined,
): [part: number, expiresAt: EpochMs][] {
  const { definition } = versionOfAccrual(program, accrual);
  const dayOf = (at: EpochMs) => DateTime.fromMillis(at, { zone: program.timeZone }).toISODate() ?? '';
  const days = { occurred: dayOf(accrual.occurredAt), posted: dayOf(accrual.at) };
  return partsOf(accrual).flatMap(({ part, award }): [number, EpochMs][] => {
    if (part === undefined || !isWaiting(award) || (rule !== undefined && award.rule !== rule)) return [];
    return [[part, expiryOfGiver(definition, award.rule)(days, member)]];
  });
}

function view(program: Program, recorded: Recorded, accrual: Recorded): Record<string, unknown> {
  return {
    object: 'unlock',
    id: operationId('unlock', recorded.operation),
    mode: program.mode,
    status: 'unlocked',
    member: memberId(recorded.member),
    accrual: operationId('accrual', accrual.operation),
    points: movesIn(recorded.effect.legs).map(({ into }) => ({
      currency: program.currencyByNumber.get(into[1])?.code ?? String(into[1]),
      points: into[2],
      expiresOn: into[5] === 0 ? null : lastValidDay(into[5], program.timeZone),
    })),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** `POST /v1/accruals/:id/releases` */
export async function unlock(context: EarningContext, call: Call<UnlockBody>): Promise<Reply> {
  const { caller, body, params } = call;
  const { program } = caller;
  const reference = referenceOf(call, body);
  const accrual = await findOriginal(context.operations, caller, params.id!, body.originalReference, [
    'accrual',
  ]);
  if (!accrual) throw new Problem('original_not_found');
  checkOriginalStore(caller, accrual);
  const durability = durabilityOf(body, 'ledger');
  const canonical = { accrual: accrual.operation, reference, rule: body.rule };
  let state: OriginalState = untouched;
  const moved = await perform(context.operations, {
    caller,
    script: 'redate',
    kind: 'unlock',
    reference,
    named: canonical,
    body: canonical,
    metadata: body.metadata,
    durability,
    waitMs: call.waitMs,
    member: () => context.operations.lookup.member(program.number, accrual.member),
    staleOperation(details) {
      state = { version: Number(details.version), note: String(details.note) };
    },
    async decide(facts) {
      const member = await memberOfAccrual(context, program, accrual, facts);
      const terms = termsOf(program, accrual, member, body.rule);
      if (terms.length === 0)
        throw fault(body.rule === undefined ? '/' : '/rule', 'no points wait for an event');
      const { version, note } = state;
      const isMoved = facts.member !== accrual.member;
      return {
        origins: [accrual.operation],
        order: accrual.order,
        input: { unlock: accrual.operation, version, terms, moved: isMoved },
        keep: { undone: [[accrual.operation, note, []]], terms },
      };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded, accrual));
}
