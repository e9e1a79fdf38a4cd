/** What calls about reconciliations and disputes accept and answer. */
import { z } from 'zod';
import { textOf } from '#src/wallet/fields.ts';
import { differences } from './comparing.ts';
import { disputeOutcomes, disputeStatuses, parseDisputeId } from './disputes.ts';
import { sequenceMax } from './format.ts';
import { makers, movementKinds, movementStatuses } from './movement.ts';
import { parseReconciliationId } from './reports.ts';

const idOf = (parse: (text: string) => number | undefined, what: string) =>
  z
    .string()
    .refine((text) => parse(text) !== undefined, `is not the id of ${what}`)
    .transform((text) => parse(text)!)
    .meta({ type: 'string' });

export const fileQuery = z.strictObject({
  first: z.coerce.number().int().min(1).max(sequenceMax).optional().meta({
    description:
      "The number of the partner's first file, where the series was begun elsewhere: what was booked before its period is not compared.",
  }),
});

const limitField = z.coerce.number().int().min(1).max(200).default(50);
const modeField = z.enum(['live', 'test']);

export const reconciliationsQuery = z.strictObject({
  after: idOf(parseReconciliationId, 'a reconciliation').optional(),
  limit: limitField,
});

const counts = z.object(Object.fromEntries(differences.map((each) => [each, z.int().min(0)])));
export const reconciliationReply = z
  .object({
    object: z.literal('reconciliation'),
    id: z.string(),
    mode: modeField,
    partner: z.string(),
    source: z.enum(['file', 'tree']),
    sequence: z.int().optional().meta({ description: "The number of the partner's file." }),
    from: z.iso.datetime(),
    until: z.iso.datetime().meta({ description: 'The period ends before it.' }),
    digest: z.string(),
    lines: z.int().meta({ description: "The partner's movements that were compared." }),
    matched: z.int(),
    matchedLate: z.int().meta({
      description: 'Lines of files before that only one side had then, and that this one has matched.',
    }),
    differences: counts,
    madeAt: z.iso.datetime(),
    madeBy: z.string(),
  })
  .meta({ id: 'Reconciliation' });
export const reconciliationListReply = z
  .object({
    object: z.literal('list'),
    data: z.array(reconciliationReply),
    nextCursor: z.string().nullable(),
  })
  .meta({ id: 'ReconciliationList' });

const side = z
  .object({
    points: z.int(),
    currency: z.string(),
    occurredAt: z.iso.datetime(),
    status: z.enum(movementStatuses),
  })
  .nullable();
const lineReply = z
  .object({
    number: z.int(),
    difference: z.enum(differences),
    line: z.int().nullable().meta({ description: "Of the partner's file, counted with its header." }),
    madeBy: z.enum(makers).meta({ description: 'Who called: `us`, or `them`, the partner.' }),
    kind: z.enum(movementKinds),
    reference: z.string(),
    theirs: side,
    ours: side,
    matchedBy: z.string().nullable().meta({
      description: 'The reconciliation of a later file that has matched what was missing.',
    }),
  })
  .meta({ id: 'ReconciliationLine' });
export const linesQuery = z.strictObject({
  after: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .meta({ description: 'The number of the last line that you have.' }),
  difference: z.enum(differences).optional(),
  limit: limitField,
});
export const linesReply = z
  .object({ object: z.literal('list'), data: z.array(lineReply), nextCursor: z.string().nullable() })
  .meta({ id: 'ReconciliationLineList' });

const reasonField = textOf(500).meta({ description: 'Why, for whoever asks later.' });
export const disputeRequest = z
  .strictObject({
    reconciliation: idOf(parseReconciliationId, 'a reconciliation'),
    line: z.int().min(1).meta({ description: 'The `number` of the line.' }),
    reason: reasonField,
  })
  .meta({ id: 'DisputeRequest' });
export const answerRequest = z.strictObject({ reason: reasonField }).meta({ id: 'DisputeAnswerRequest' });
export const settleRequest = z
  .strictObject({
    outcome: z.enum(disputeOutcomes).meta({ description: 'Whose books stand.' }),
    reason: reasonField,
  })
  .meta({ id: 'DisputeSettlementRequest' });

export const disputesQuery = z.strictObject({
  status: z.enum(disputeStatuses).optional().meta({ description: 'Absent: all that are not settled.' }),
  after: idOf(parseDisputeId, 'a dispute').optional(),
  limit: limitField,
});
export const disputeReply = z
  .object({
    object: z.literal('dispute'),
    id: z.string(),
    mode: modeField,
    partner: z.string(),
    reconciliation: z.string(),
    status: z.enum(disputeStatuses),
    outcome: z.enum(disputeOutcomes).optional(),
    dueOn: z.iso.date(),
    line: lineReply,
    history: z.array(
      z.object({
        status: z.enum(disputeStatuses),
        actor: z.string(),
        reason: z.string(),
        at: z.iso.datetime(),
      }),
    ),
  })
  .meta({ id: 'Dispute' });
export const disputeListReply = z
  .object({ object: z.literal('list'), data: z.array(disputeReply), nextCursor: z.string().nullable() })
  .meta({ id: 'DisputeList' });
