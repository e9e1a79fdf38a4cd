/**
 * PURE. The two calls by which partners find out where their days differ, without sending them: digests of the day's hash tree, and the
 * movements of buckets that differ. `/docs/partner-protocol` says what is hashed; `caller` and `callee` are those of these calls.
 */
import { z } from 'zod';
import { partnerPath } from './calls.ts';
import { movementKinds, movementStatuses } from './schemas.ts';

/** Answers stay below the 64 KiB that an answer of the protocol has at most. */
export const nodesPerCallMax = 4;
export const bucketsPerCallMax = 16;
export const movementsPerAnswerMax = 80;
const digestsPerNode = 256;
/** A contract takes late claims for three years at most, and what is older is compared by files. */
export const lateDaysMax = 1_100;

const day = z.iso.date().meta({ description: 'Of UTC, by the time at which a movement happened.' });
const digest = z.string().regex(/^(?:[0-9a-f]{32})?$/, 'is not a digest');
const digests = z.array(digest).length(digestsPerNode);

/** Names with commas between them. */
const names = (form: RegExp, most: number, description: string) =>
  z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.string().regex(form, 'is not the name of one')).min(1).max(most))
    .meta({ type: 'string', description });

export const dayQuery = z.strictObject({
  day,
  nodes: names(
    /^[0-9a-f]{2}$/,
    nodesPerCallMax,
    'Nodes whose buckets are wanted, at most four: `0a,ff`. Without it the nodes themselves are answered.',
  ).optional(),
  digest: digest.optional().meta({
    description: 'Of the day as it was answered before: what was read then may be answered from.',
  }),
});

export type DayQuery = z.output<typeof dayQuery>;

export const dayReply = z
  .object({
    object: z.literal('partnerDay'),
    day,
    movements: z.int().min(0).meta({ description: 'How many the tree is made of.' }),
    digest: digest.meta({ description: 'Of the whole day; empty where nothing moved.' }),
    nodes: digests.optional().meta({ description: 'By first byte.' }),
    late: z.array(day).max(lateDaysMax).optional().meta({
      description:
        'Beside nodes: days before on which movements happened that the callee has booked on this day.',
    }),
    buckets: z
      .record(z.string(), digests)
      .optional()
      .meta({ description: 'By the name of the node; in each by second byte.' }),
  })
  .meta({ id: 'PartnerDay' });
export type DayReply = z.output<typeof dayReply>;

export const dayMovementsQuery = z.strictObject({
  day,
  buckets: names(/^[0-9a-f]{4}$/, bucketsPerCallMax, 'At most sixteen: `0a17,ff00`.'),
  after: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'is not a `next`')
    .optional()
    .meta({ description: 'The `next` of the answer before.' }),
});

export type DayMovementsQuery = z.output<typeof dayMovementsQuery>;

export const dayMovement = z.object({
  madeBy: z.enum(['caller', 'callee']),
  kind: z.enum(movementKinds),
  reference: z.string().min(1).max(128),
  points: z.int().min(0),
  currency: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/),
  occurredAt: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  status: z.enum(movementStatuses),
});
export type DayMovement = z.output<typeof dayMovement>;

export const dayMovementsReply = z
  .object({
    object: z.literal('partnerDayMovements'),
    day,
    movements: z.array(dayMovement).max(movementsPerAnswerMax),
    next: z.string().nullable(),
  })
  .meta({ id: 'PartnerDayMovements' });
export type DayMovementsReply = z.output<typeof dayMovementsReply>;

export const dayCalls = {
  tree: { method: 'GET', path: `${partnerPath}/days`, request: dayQuery, reply: dayReply },
  movements: {
    method: 'GET',
    path: `${partnerPath}/days/movements`,
    request: dayMovementsQuery,
    reply: dayMovementsReply,
  },
} as const;
