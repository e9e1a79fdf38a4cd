/** What earning calls accept and answer. */
import { z } from 'zod';
import { memberRefSchema } from '#src/members/member-ref.ts';
import {
  amountField,
  balancesSchema,
  currencyField,
  durabilityField,
  instantField,
  ledgerSchema,
  moneyCurrencyField,
  moneySchema,
  movementFields,
  orderField,
  pointsField,
  quantityField,
  referenceField,
  textOf,
} from '#src/wallet/fields.ts';

export const lineIdField = z.union([textOf(64), z.int().min(0)]);

const lineSchema = z.strictObject({
  line: lineIdField,
  sku: textOf(64).optional(),
  category: textOf(64).optional(),
  brand: textOf(64).optional(),
  quantity: quantityField.optional(),
  unit: textOf(16).optional(),
  amount: amountField,
  tax: amountField.optional(),
});

export const purchaseSchema = z
  .strictObject({
    order: orderField.optional(),
    store: textOf(64).optional(),
    terminal: textOf(64).optional(),
    cashier: textOf(64).optional(),
    channel: textOf(32).optional(),
    currency: moneyCurrencyField,
    lines: z.array(lineSchema).max(1_000),
    payments: z
      .array(z.strictObject({ means: textOf(32), amount: amountField, redemption: textOf(64).optional() }))
      .max(50)
      .optional(),
    /** Of promotions that a code activates. */
    codes: z.array(textOf(64)).max(20).optional(),
  })
  .superRefine((purchase, context) => {
    const seen = new Set<string>();
    purchase.lines.forEach(({ line }, index) => {
      if (seen.has(String(line))) {
        context.addIssue({
          code: 'custom',
          path: ['lines', index, 'line'],
          message: 'stands twice in the receipt',
        });
      }
      seen.add(String(line));
    });
  });

export const flightSchema = z.strictObject({
  carrier: textOf(3),
  operatingCarrier: textOf(3).optional(),
  flightNumber: textOf(8),
  date: z.iso.date(),
  from: textOf(3),
  to: textOf(3),
  distanceMiles: z.int().min(1).max(20_000).optional(),
  bookingClass: textOf(2),
  ticket: textOf(32).optional(),
  fare: moneySchema.optional(),
});

export const activitySchema = z.strictObject({
  type: textOf(64),
  attributes: z.record(textOf(64), z.string().max(256)).optional(),
});

const subjects = {
  purchase: purchaseSchema.optional(),
  flight: flightSchema.optional(),
  activity: activitySchema.optional(),
  grant: z
    .strictObject({ currency: currencyField.optional(), points: pointsField, product: textOf(64) })
    .optional(),
};
const subjectNames = Object.keys(subjects) as (keyof typeof subjects)[];

function oneSubject(value: Record<string, unknown>, context: z.RefinementCtx): void {
  const given = subjectNames.filter((name) => value[name] !== undefined);
  if (given.length !== 1) {
    context.addIssue({
      code: 'custom',
      path: given.length > 1 ? [given[1]!] : [],
      message: `needs exactly one of ${subjectNames.join(', ')}`,
    });
  }
}

const accrualShape = {
  member: memberRefSchema,
  ...movementFields,
  occurredAt: instantField,
  enrol: z.boolean().optional(),
  ...subjects,
};

export const accrualSchema = z
  .strictObject(accrualShape)
  .superRefine(oneSubject)
  .meta({ id: 'AccrualRequest' });
export type AccrualBody = z.output<typeof accrualSchema>;

export const quoteSchema = z
  .strictObject({ ...accrualShape, member: memberRefSchema.optional(), occurredAt: instantField.optional() })
  .superRefine(oneSubject)
  .meta({ id: 'AccrualQuoteRequest' });

/** Items are checked one by one, so that a bad one refuses nothing else. */
export const bulkSchema = z
  .strictObject({ items: z.array(z.unknown()).min(1).max(1_000), durability: durabilityField.optional() })
  .meta({ id: 'BulkAccrualRequest' });

export const reversalSchema = z
  .strictObject({
    ...movementFields,
    occurredAt: instantField,
    originalReference: referenceField.optional(),
    /** Needed with `voidIfMissing`, because a missing original does not say whose it was. */
    member: memberRefSchema.optional(),
    voidIfMissing: z.boolean().optional(),
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
  })
  .meta({ id: 'ReversalRequest' });
export type ReversalBody = z.output<typeof reversalSchema>;

export const awardSchema = z
  .object({
    currency: z.string(),
    points: z.int(),
    rule: z.string(),
    availableOn: z.string().optional(),
    expiresOn: z.string().optional(),
  })
  .meta({ id: 'Award' });

export const accrualReply = z
  .object({
    object: z.literal('accrual'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.literal('accrued'),
    member: z.string(),
    order: z.string().optional(),
    awards: z.array(awardSchema),
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Accrual' });

export const ruleViewSchema = z
  .object({
    rule: z.string(),
    outcome: z.enum(['applied', 'not_matched', 'capped', 'excluded', 'failed']),
    conditions: z
      .array(z.object({ condition: z.string(), holds: z.boolean(), detail: z.string().optional() }))
      .meta({ description: 'What the rule asks for; `detail` says what would have to differ.' }),
    base: z.int().meta({ description: 'What was counted: minor units, millionths of a unit, or miles.' }),
    rounding: z.enum(['floor', 'half_up', 'half_even', 'ceil']),
    caps: z.array(z.object({ period: z.string(), pointsMax: z.int(), cut: z.int() })),
    points: z.int(),
    detail: z.string().optional(),
  })
  .meta({ id: 'RuleExplanation' });

export const explanationSchema = z
  .object({
    programVersion: z.int(),
    judgedAt: z.string(),
    facts: z.record(z.string(), z.unknown()).meta({ description: 'What rules looked at of the member.' }),
    rules: z.array(ruleViewSchema),
    missing: z
      .array(z.string())
      .optional()
      .meta({ description: 'What is not known any more, where the awards would be others today.' }),
  })
  .meta({ id: 'Explanation' });

export const quoteReply = z
  .object({
    object: z.literal('accrualQuote'),
    mode: z.enum(['live', 'test']),
    awards: z.array(awardSchema),
    explanation: explanationSchema,
  })
  .meta({ id: 'AccrualQuote' });

export const bulkReply = z
  .object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        index: z.int(),
        status: z.int(),
        replayed: z.boolean(),
        accrual: accrualReply.optional(),
        error: z.looseObject({ code: z.string(), status: z.int() }).optional(),
      }),
    ),
  })
  .meta({ id: 'BulkAccruals' });

const sumsSchema = z.array(z.object({ currency: z.string(), points: z.int() }));
/** What of the points that were to be taken back the member had no more. */
export const takenBackShape = {
  shortfall: sumsSchema.meta({ description: 'Points that were spent and could not be taken' }),
  expired: sumsSchema.meta({ description: 'Points that had ended unused; nobody owes them' }),
};

export const reversalReply = z
  .object({
    object: z.literal('reversal'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.literal('reversed'),
    member: z.string(),
    accrual: z.string().optional(),
    awards: z.array(awardSchema),
    ...takenBackShape,
    balances: balancesSchema,
    ledger: ledgerSchema,
  })
  .meta({ id: 'Reversal' });
