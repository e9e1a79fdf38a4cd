/** What calls about pools accept and answer. */
import { z } from 'zod';
import { purchaseSchema } from '#src/earning/schemas.ts';
import { identifierSchema, memberRefSchema } from '#src/members/member-ref.ts';
import {
  currencyField,
  durabilityField,
  metadataField,
  moneySchema,
  orderField,
  pointsField,
  referenceField,
} from '#src/wallet/fields.ts';
import { policySchema } from './policy.ts';

const modeField = z.enum(['live', 'test']);
const cardField = identifierSchema.meta({
  description:
    "What the member shows, such as the card: the member's consent to others spending the points. Your own id of the member does not do.",
});
/** Movements over several wallets are answered when the books have them, so no durability is chosen. */
const movementFields = { reference: referenceField.optional(), metadata: metadataField.optional() };

export const openSchema = z
  .strictObject({
    reference: referenceField.optional(),
    head: cardField,
    policy: policySchema.prefault({}),
  })
  .meta({ id: 'PoolRequest' });
export type OpenBody = z.output<typeof openSchema>;

export const policyBodySchema = policySchema.meta({ id: 'PoolPolicyRequest' });
export type PolicyBody = z.output<typeof policyBodySchema>;

export const joinSchema = z
  .strictObject({
    card: cardField,
    maySpend: z
      .boolean()
      .default(false)
      .meta({ description: 'Where the policy lets `listed` members spend.' }),
  })
  .meta({ id: 'PoolMemberRequest' });
export type JoinBody = z.output<typeof joinSchema>;

const figures = z.object({ available: z.int(), pending: z.int(), held: z.int(), debt: z.int() });
export const poolReply = z
  .object({
    object: z.literal('pool'),
    id: z.string(),
    mode: modeField,
    status: z.enum(['open', 'dissolved']),
    openedAt: z.string(),
    dissolvedAt: z.string().optional(),
    policy: policySchema,
    members: z.array(
      z.object({
        member: z.string(),
        isHead: z.boolean(),
        mayUse: z.boolean().meta({ description: 'The policy lets this member spend.' }),
        joinedAt: z.string(),
        status: z.string(),
        gives: z.boolean().meta({
          description:
            'False while the member is suspended, frozen or being merged: others cannot spend these points.',
        }),
        balances: z.record(z.string(), figures),
      }),
    ),
    balances: z
      .record(z.string(), figures.extend({ spendable: z.int() }))
      .meta({ description: 'Sums over the members; `spendable` is what a redemption could take now.' }),
  })
  .meta({ id: 'Pool' });

const priceShape = {
  member: memberRefSchema.meta({ description: 'Who spends: a member of the pool.' }),
  ...movementFields,
  points: pointsField.optional(),
  currency: currencyField.optional(),
  parts: z
    .array(z.strictObject({ currency: currencyField, points: pointsField }))
    .min(1)
    .max(32)
    .optional(),
  order: orderField.optional(),
  purchase: purchaseSchema.optional(),
  value: moneySchema.optional(),
};

export const poolRedemptionSchema = z.strictObject(priceShape).meta({ id: 'PoolRedemptionRequest' });
export type PoolRedemptionBody = z.output<typeof poolRedemptionSchema>;

export const poolQuoteSchema = z
  .strictObject({
    member: memberRefSchema,
    purchase: purchaseSchema.optional(),
    currency: currencyField.optional(),
  })
  .meta({ id: 'PoolQuoteRequest' });
export type PoolQuoteBody = z.output<typeof poolQuoteSchema>;

const pointsOf = z.object({ currency: z.string(), points: z.int() });
const lots = z.array(pointsOf.extend({ expiresOn: z.string().nullable() }));
const ledger = z
  .object({ durability: durabilityField })
  .meta({ description: '`ledger` where the books have every part.' });

const partsReply = z.array(
  z.object({
    id: z.string().optional().meta({
      description: 'The redemption in the wallet of the member; absent as long as it is on its way there.',
    }),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    price: z.array(pointsOf).optional(),
    value: moneySchema.optional(),
    lots,
  }),
);

export const poolRedemptionReply = z
  .object({
    object: z.literal('poolRedemption'),
    id: z.string(),
    mode: modeField,
    status: z.enum(['redeemed', 'refused', 'collecting']).meta({
      description: '`collecting`: not decided yet. A read alone answers that, and `refused`.',
    }),
    pool: z.string(),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    price: z.array(pointsOf).optional().meta({ description: 'Where it is in several currencies.' }),
    order: z.string().optional(),
    value: moneySchema.optional(),
    refusal: z.string().optional().meta({ description: 'The code with which it was refused.' }),
    parts: partsReply,
    ledger,
  })
  .meta({ id: 'PoolRedemption' });

export const poolRefundSchema = z
  .strictObject({
    ...movementFields,
    points: pointsField.optional(),
    currency: currencyField.optional(),
    originalReference: referenceField.optional(),
  })
  .meta({ id: 'PoolRefundRequest' });
export type PoolRefundBody = z.output<typeof poolRefundSchema>;

export const poolRefundReply = z
  .object({
    object: z.literal('poolRefund'),
    id: z.string(),
    mode: modeField,
    status: z.literal('refunded'),
    pool: z.string(),
    redemption: z.string(),
    points: z.int(),
    currency: z.string(),
    price: z.array(pointsOf).optional(),
    value: moneySchema.optional(),
    parts: z.array(
      z.object({
        id: z.string(),
        redemption: z.string(),
        member: z.string(),
        points: z.int(),
        currency: z.string(),
        price: z.array(pointsOf).optional(),
        value: moneySchema.optional(),
      }),
    ),
    ledger,
  })
  .meta({ id: 'PoolRefund' });

export const poolHoldSchema = z
  .strictObject({ ...priceShape, expiresInSeconds: z.int().min(1).max(604_800).default(900) })
  .meta({ id: 'PoolHoldRequest' });
export type PoolHoldBody = z.output<typeof poolHoldSchema>;

export const poolCaptureSchema = z
  .strictObject({ ...movementFields, points: pointsField.optional() })
  .meta({ id: 'PoolCaptureRequest' });
export const poolReleaseSchema = z.strictObject(movementFields).meta({ id: 'PoolReleaseRequest' });
export type PoolCaptureBody = z.output<typeof poolCaptureSchema>;

export const poolHoldReply = z
  .object({
    object: z.literal('poolHold'),
    id: z.string(),
    mode: modeField,
    status: z.enum(['held', 'captured', 'released', 'expired', 'refused']),
    pool: z.string(),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    price: z.array(pointsOf).optional(),
    order: z.string().optional(),
    value: moneySchema.optional(),
    expiresAt: z.string(),
    released: z.int().optional().meta({ description: 'Points that a capture left.' }),
    redemption: z.object({ id: z.string() }).optional(),
    parts: partsReply,
    ledger,
  })
  .meta({ id: 'PoolHold' });
