/** What redemption calls accept and answer. */
import { z } from 'zod';
import { awardSchema, lineIdField, purchaseSchema, takenBackShape } from '#src/earning/schemas.ts';
import { memberRefSchema } from '#src/members/member-ref.ts';
import {
  amountField,
  balancesSchema,
  currencyField,
  instantField,
  ledgerSchema,
  moneySchema,
  movementFields,
  orderField,
  pointsField,
  quantityField,
  referenceField,
  textOf,
} from '#src/wallet/fields.ts';
import type { LimitedBy } from './rules.ts';

const modeField = z.enum(['live', 'test']);
const partsField = z
  .array(z.strictObject({ currency: currencyField, points: pointsField }))
  .min(1)
  .max(32);
const originalField = { originalReference: referenceField.optional() };

const priceShape = {
  member: memberRefSchema,
  ...movementFields,
  points: pointsField.optional(),
  currency: currencyField.optional(),
  parts: partsField.optional(),
  order: orderField.optional(),
  purchase: purchaseSchema.optional(),
  value: moneySchema.optional(),
};

export const redemptionSchema = z.strictObject(priceShape).meta({ id: 'RedemptionRequest' });
export type RedemptionBody = z.output<typeof redemptionSchema>;

export const redemptionQuoteSchema = z
  .strictObject({
    member: memberRefSchema,
    purchase: purchaseSchema.optional(),
    currency: currencyField.optional(),
  })
  .meta({ id: 'RedemptionQuoteRequest' });
export type RedemptionQuoteBody = z.output<typeof redemptionQuoteSchema>;

export const refundSchema = z
  .strictObject({
    ...movementFields,
    ...originalField,
    points: pointsField.optional(),
    currency: currencyField.optional(),
  })
  .meta({ id: 'RefundRequest' });
export type RefundBody = z.output<typeof refundSchema>;

export const holdSchema = z
  .strictObject({ ...priceShape, expiresInSeconds: z.int().min(1).max(604_800).default(900) })
  .meta({ id: 'HoldRequest' });
export type HoldBody = z.output<typeof holdSchema>;

export const captureSchema = z
  .strictObject({ ...movementFields, ...originalField, points: pointsField.optional() })
  .meta({ id: 'CaptureRequest' });
export const releaseSchema = z
  .strictObject({ ...movementFields, ...originalField })
  .meta({ id: 'ReleaseRequest' });
export type SettleBody = z.output<typeof captureSchema>;

export const returnSchema = z
  .strictObject({
    ...movementFields,
    occurredAt: instantField,
    order: orderField.optional(),
    accrual: textOf(64).optional(),
    lines: z
      .array(
        z.strictObject({
          line: lineIdField,
          quantity: quantityField.optional(),
          amount: amountField.optional(),
        }),
      )
      .min(1)
      .max(1_000)
      .optional(),
    points: z.union([z.enum(['proportional', 'first', 'last']), z.int().min(0)]).default('proportional'),
  })
  .superRefine((body, context) => {
    if ((body.order === undefined) === (body.accrual === undefined)) {
      context.addIssue({
        code: 'custom',
        path: body.order === undefined ? [] : ['accrual'],
        message: 'needs exactly one of order, accrual',
      });
    }
  })
  .meta({ id: 'ReturnRequest' });
export type ReturnBody = z.output<typeof returnSchema>;

const lotsTaken = z.array(
  z.object({ currency: z.string(), points: z.int(), expiresOn: z.string().nullable() }),
);
const partsReply = z.array(z.object({ currency: z.string(), points: z.int() }));

export const redemptionReply = z
  .object({
    object: z.literal('redemption'),
    id: z.string(),
    mode: modeField,
    status: z.literal('redeemed'),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    parts: partsReply.optional(),
    order: z.string().optional(),
    value: moneySchema.optional(),
    lots: lotsTaken,
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Redemption' });

/** Why the maximum is no higher. */
const limitedByField = z.enum([
  'available',
  'maximum',
  'share',
  'member',
  'payment',
  'receipt',
  'rule',
  'none',
] satisfies LimitedBy[]);

export const redemptionQuoteReply = z
  .object({
    object: z.literal('redemptionQuote'),
    mode: modeField,
    currency: z.string(),
    available: z.int(),
    minimum: z.int(),
    step: z.int(),
    maximum: z.int(),
    limitedBy: limitedByField,
    exchange: z
      .object({ points: z.int(), amount: z.int(), currency: z.string() })
      .optional()
      .meta({ description: '`points` are worth `amount`; values are rounded down to the smallest unit' }),
    best: z.object({
      points: z.int().meta({ description: 'The fewest points that buy what `maximum` buys' }),
      value: moneySchema.optional(),
    }),
    rule: z.string().optional(),
    programVersion: z.int().optional(),
  })
  .meta({ id: 'RedemptionQuote' });

export const refundReply = z
  .object({
    object: z.literal('refund'),
    id: z.string(),
    mode: modeField,
    status: z.literal('refunded'),
    member: z.string(),
    redemption: z.string(),
    points: z.int(),
    currency: z.string(),
    parts: partsReply,
    value: moneySchema.optional(),
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Refund' });

export const holdReply = z
  .object({
    object: z.literal('hold'),
    id: z.string(),
    mode: modeField,
    status: z.enum(['held', 'captured', 'released', 'expired']),
    member: z.string(),
    points: z.int(),
    currency: z.string(),
    parts: partsReply.optional(),
    released: z.int().optional(),
    redemption: z.object({ id: z.string() }).optional(),
    order: z.string().optional(),
    value: moneySchema.optional(),
    expiresAt: z.string(),
    balances: balancesSchema.optional(),
    ledger: ledgerSchema,
  })
  .meta({ id: 'Hold' });

export const holdListReply = z
  .object({ object: z.literal('list'), data: z.array(holdReply), nextCursor: z.string().nullable() })
  .meta({ id: 'HoldList' });

export const returnReply = z
  .object({
    object: z.literal('return'),
    id: z.string(),
    mode: modeField,
    status: z.literal('returned'),
    member: z.string(),
    order: z.string().optional(),
    reversed: z.array(awardSchema),
    refunded: z.array(
      z.object({
        redemption: z.string(),
        currency: z.string(),
        points: z.int(),
        value: moneySchema.optional(),
      }),
    ),
    refundMoney: moneySchema.optional(),
    ...takenBackShape,
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Return' });
