/** PURE. Bodies and replies of the calls about members. */
import { DateTime } from 'luxon';
import { z } from 'zod';
import type { Program } from '#src/earning/program.ts';
import { type Fault, validationProblem } from '#src/errors.ts';
import type { EpochMs } from '#src/values.ts';
import {
  balancesSchema,
  currencyField,
  ledgerSchema,
  movementFields,
  pointsField,
  textOf,
} from '#src/wallet/fields.ts';
import { draftsMax, type EnrolmentDraft } from './enrolment.ts';
import { identifierSchema, memberRefSchema } from './member-ref.ts';
import { attributesPatchSchema, attributesSchema, birthdaySchema } from './profile.ts';

const identifiersMax = 20;
const identifierList = z.array(identifierSchema).max(identifiersMax);

const reason = textOf(500);
const { reference, durability, metadata } = movementFields;

export const enrolmentSchema = z
  .strictObject({
    member: memberRefSchema,
    birthday: birthdaySchema.optional(),
    joinedAt: z.union([z.iso.datetime({ offset: true }), z.iso.date()]).optional(),
    identifiers: identifierList.optional(),
    attributes: attributesSchema.optional(),
  })
  .meta({ id: 'Enrolment' });
export type EnrolmentBody = z.output<typeof enrolmentSchema>;

export const bulkEnrolmentSchema = z
  .strictObject({
    items: z
      .array(z.unknown().meta({ description: 'An Enrolment; one that does not fit is refused alone.' }))
      .min(1)
      .max(draftsMax),
  })
  .meta({ id: 'BulkEnrolment' });

const aheadMsMax = 5 * 60_000;
const joinedEarliest = Date.UTC(1900, 0, 1);

/** A day without a time is its first moment in the program's zone. */
function joinedAtOf(program: Program, text: string, now: EpochMs): EpochMs | Fault {
  const at = text.includes('T')
    ? Date.parse(text)
    : DateTime.fromISO(text, { zone: program.timeZone }).toMillis();
  if (at > now + aheadMsMax) return { pointer: '/joinedAt', detail: 'lies in the future' };
  if (!(at >= joinedEarliest)) return { pointer: '/joinedAt', detail: 'lies before 1900' };
  return at;
}

/** A checked body as a draft. Throws where `joinedAt` is out of bounds. */
export function draftOf(program: Program, body: EnrolmentBody, now: EpochMs): EnrolmentDraft {
  const { joinedAt: text, ...rest } = body;
  const joinedAt = text === undefined ? undefined : joinedAtOf(program, text, now);
  if (typeof joinedAt === 'object') throw validationProblem([joinedAt]);
  return { ...rest, joinedAt };
}

export const memberPatchSchema = z
  .strictObject({
    birthday: birthdaySchema.nullable().optional(),
    attributes: attributesPatchSchema.optional(),
    identifiers: identifierList.optional(),
    unlink: identifierList.optional(),
  })
  .meta({ id: 'MemberPatch', description: 'Null removes a birthday or an attribute; what is absent stays.' });

export const codeActivationSchema = z.strictObject({ code: z.string().min(1).max(64) }).meta({
  id: 'CodeActivation',
  description: 'As the promotion has it in the program file.',
});

export const lifeChangeSchema = z.strictObject({ reference, reason, durability }).meta({ id: 'LifeChange' });
export const mergeSchema = z
  .strictObject({ reference, reason, into: memberRefSchema })
  .meta({ id: 'MemberMerge' });
export const erasureSchema = z
  .strictObject({ reference, reason: reason.optional() })
  .meta({ id: 'MemberErasure', description: 'The reason is read and kept nowhere.' });

export const transferSchema = z
  .strictObject({
    from: memberRefSchema,
    to: memberRefSchema,
    reference,
    currency: currencyField.optional(),
    points: pointsField,
    durability,
    metadata,
  })
  .meta({ id: 'Transfer' });

export const exportQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().min(1).max(100).optional(),
});

const memberFields = {
  object: z.literal('member'),
  id: z.string(),
  mode: z.enum(['live', 'test']),
  status: z.enum(['active', 'suspended', 'closed', 'merging', 'merged']),
  tier: z.string().nullable().meta({ description: "On the program's first ladder; null where it has none." }),
  joinedAt: z.string(),
  birthday: z.string().optional(),
  attributes: z.record(z.string(), z.unknown()).optional(),
  identifiers: z.array(z.looseObject({ type: z.string(), value: z.string().optional() })),
  mergedInto: z.string().optional(),
  erasedAt: z.string().optional(),
};
const sums = { available: z.int(), pending: z.int(), held: z.int(), debt: z.int() };

export const memberSchema = z.looseObject(memberFields).meta({
  id: 'Member',
  description: 'Birthday, attributes and the ends of identifiers are shown to the roles admin and care only.',
});
export const changedMemberSchema = z
  .looseObject({ ...memberFields, ledger: ledgerSchema })
  .meta({ id: 'ChangedMember' });
const activatedCode = {
  object: z.literal('memberCode'),
  code: z.string(),
  activatedAt: z.string(),
  promotions: z.array(z.string()).meta({ description: 'Those in force, or to come, that it activates.' }),
};
export const memberCodeSchema = z
  .looseObject({ ...activatedCode, mode: z.enum(['live', 'test']), member: z.string() })
  .meta({ id: 'MemberCode' });
export const memberCodesSchema = z
  .looseObject({ object: z.literal('list'), data: z.array(z.looseObject(activatedCode)) })
  .meta({ id: 'MemberCodes' });
export const foundMemberSchema = z
  .looseObject({
    ...memberFields,
    member: z.string(),
    timeZone: z.string(),
    balances: z.record(z.string(), z.looseObject(sums)),
    ledger: z.looseObject({ position: z.string() }),
  })
  .meta({ id: 'FoundMember' });
export const bulkMembersSchema = z
  .looseObject({
    object: z.literal('list'),
    data: z.array(
      z.looseObject({
        index: z.int(),
        status: z.int(),
        member: memberSchema.optional(),
        error: z.looseObject({ code: z.string() }).optional(),
      }),
    ),
  })
  .meta({ id: 'BulkMembers' });
export const memberExportSchema = z
  .looseObject({
    object: z.literal('memberExport'),
    mode: z.enum(['live', 'test']),
    exportedAt: z.string(),
    member: z.looseObject({ id: z.string(), status: z.string() }),
    merged: z.array(z.looseObject({ id: z.string() })),
    holds: z.array(z.looseObject({ id: z.string() })),
    pools: z.array(z.looseObject({ id: z.string() })),
    operations: z.array(z.looseObject({ id: z.string(), kind: z.string() })),
    operationsSince: z.iso.datetime().optional().meta({
      description: 'Where older months are archived: what was before this time is not in the export.',
    }),
    nextCursor: z.string().nullable(),
  })
  .meta({ id: 'MemberExport' });
export const completedTransferSchema = z
  .looseObject({
    object: z.literal('transfer'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.enum(['completed', 'pending', 'returned']),
    currency: z.string(),
    points: z.int(),
    from: z.string(),
    to: z.string(),
    balances: balancesSchema,
    ledger: ledgerSchema,
    counterparts: z.array(z.looseObject({ id: z.string(), member: z.string(), ledger: ledgerSchema })),
  })
  .meta({ id: 'CompletedTransfer' });
