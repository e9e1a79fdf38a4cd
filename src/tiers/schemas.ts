/** PURE. Bodies and replies of the calls about tiers. */
import { z } from 'zod';
import { currencyField, movementFields, textOf } from '#src/wallet/fields.ts';

const nameField = z.string().min(1).max(64);
const dayField = z.iso.date();

/** What may be said of a tier by hand; matches and challenges have a call of their own. */
export const grantOrigins = ['granted', 'gifted', 'lifetime', 'alliance'] as const;

export const grantSchema = z
  .strictObject({
    reference: movementFields.reference,
    tier: nameField,
    reason: textOf(500).meta({ description: 'Kept encrypted; never part of journal or ledger.' }),
    until: dayField.optional().meta({ description: 'The last day; absent: for ever.' }),
    origin: z.enum(grantOrigins).default('granted'),
  })
  .meta({ id: 'TierGrant', description: 'A tier that a member has whatever it has earned.' });
export type GrantBody = z.output<typeof grantSchema>;

export const matchSchema = z
  .strictObject({
    reference: movementFields.reference,
    offer: nameField.meta({ description: 'The name of the match in the program file.' }),
    tier: nameField.meta({ description: "The other program's tier." }),
    evidence: z.strictObject({
      /** A membership number, the id of a document that was seen. */
      document: textOf(200).meta({ description: 'What was seen; kept encrypted.' }),
      origin: z.enum(['earned', 'matched', 'gifted', 'lifetime', 'trial', 'granted']).default('earned'),
      date: dayField.optional(),
    }),
  })
  .meta({
    id: 'TierMatch',
    description: 'A tier of another program that is matched by an offer of this one.',
  });
export type MatchBody = z.output<typeof matchSchema>;

export const endGrantSchema = z
  .strictObject({ reference: movementFields.reference, reason: textOf(500) })
  .meta({ id: 'TierGrantEnd' });
export type EndGrantBody = z.output<typeof endGrantSchema>;

export const protectionSchema = z
  .strictObject({
    reference: movementFields.reference,
    ladder: nameField.optional().meta({ description: 'Absent: the first.' }),
    reason: textOf(500),
    through: z
      .union([dayField, z.literal('for_ever')])
      .nullable()
      .meta({ description: 'The last day on which nothing goes down, or `for_ever`; null ends it.' }),
  })
  .meta({ id: 'TierProtection' });
export type ProtectionBody = z.output<typeof protectionSchema>;

const measureReply = z.union([z.string(), z.object({ points: currencyField })]);
const goalReply = z.object({
  measure: measureReply,
  atLeast: z.int(),
  counted: z.int(),
  missing: z.int().meta({ description: 'So much more is needed; 0 where it is met.' }),
});
const progressReply = z.object({
  tier: z.string(),
  isMet: z.boolean(),
  goals: z.array(goalReply),
  by: dayField.optional().meta({ description: 'The last day that counts; absent: no end.' }),
});

const changeReply = z.object({
  from: z.string(),
  to: z.string(),
  since: dayField,
  until: dayField.optional(),
  origin: z.string(),
  reason: z.record(z.string(), z.unknown()),
  effectiveAt: z.iso
    .datetime()
    .meta({ description: 'Receipts that occurred from then on are judged by it.' }),
  recordedAt: z.iso.datetime(),
});

const standingReply = z.object({
  ladder: z.string(),
  tier: z.string(),
  since: dayField,
  until: dayField.optional().meta({ description: 'The last day of its validity; absent: for ever.' }),
  holdsThrough: dayField.optional().meta({ description: 'With grace.' }),
  origin: z.string().meta({ description: '`earned`, or where a tier that was given comes from.' }),
  how: z.string().optional(),
  grant: z.string().optional(),
  progress: z.object({
    next: progressReply.optional().meta({ description: 'Absent on the top.' }),
    keep: progressReply.optional().meta({ description: 'Absent where nothing has to be done to stay.' }),
  }),
  grants: z.array(
    z.object({
      id: z.string(),
      reference: z.string().optional().meta({ description: 'Of the call that gave it.' }),
      tier: z.string(),
      origin: z.string(),
      reason: z.string().optional().meta({ description: 'For the roles admin and care.' }),
      from: dayField,
      until: dayField.optional(),
      challenge: z.object({ through: dayField, metOn: dayField.optional() }).optional(),
    }),
  ),
  alliances: z
    .record(z.string(), z.string())
    .meta({ description: 'What the tier is today in alliances that the program is in.' }),
  protectedThrough: z.union([dayField, z.literal('for_ever')]).optional(),
  history: z.array(changeReply).meta({ description: 'The newest first, a hundred at most.' }),
});

export const tierReply = z
  .object({
    object: z.literal('memberTier'),
    mode: z.enum(['live', 'test']),
    member: z.string(),
    tier: z.string().nullable().meta({ description: 'On the first ladder; null in programs without one.' }),
    ladders: z.array(standingReply),
  })
  .meta({ id: 'MemberTier' });

export const previewQuery = z.strictObject({
  after: z
    .string()
    .regex(/^mem_[0-9a-z]{8,11}$/, 'is the nextCursor of an earlier page')
    .optional(),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(100)
    .meta({ description: 'Members who would move.' }),
});

const sourceLengthMax = 256 * 1024;
export const previewSchema = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .max(sourceLengthMax)
      .meta({ description: 'A program file whose ladders are tried, YAML or JSON.' }),
  })
  .meta({ id: 'TierPreviewRequest' });

export const previewReply = z
  .object({
    object: z.literal('tierPreview'),
    mode: z.enum(['live', 'test']),
    day: dayField,
    role: z.string().meta({
      description:
        'The database role that it ran as: `loyalty_reader`, which can write nothing, where the service may become it.',
    }),
    members: z.int().meta({ description: 'Who was looked at for this page.' }),
    moves: z.array(z.object({ ladder: z.string(), from: z.string(), to: z.string(), members: z.int() })),
    data: z.array(
      z.object({
        member: z.string(),
        ladder: z.string(),
        from: z.string(),
        to: z.string(),
        since: dayField,
        until: dayField.optional(),
        origin: z.string(),
        reason: z.record(z.string(), z.unknown()),
      }),
    ),
    nextCursor: z.string().nullable(),
  })
  .meta({ id: 'TierPreview' });

export const runReply = z
  .object({
    object: z.literal('tierRun'),
    mode: z.enum(['live', 'test']),
    id: z.string(),
    day: dayField,
    programVersion: z.int(),
    occasion: z.enum(['night', 'version', 'demand']),
    status: z.enum(['running', 'done', 'overtaken']),
    members: z.int(),
    changes: z.int(),
    warnings: z.int(),
    moves: z.array(z.object({ ladder: z.string(), from: z.string(), to: z.string(), members: z.int() })),
    startedAt: z.iso.datetime(),
    endedAt: z.iso.datetime().optional(),
  })
  .meta({ id: 'TierRun' });

export const runListReply = z
  .object({ object: z.literal('list'), data: z.array(runReply) })
  .meta({ id: 'TierRuns' });
