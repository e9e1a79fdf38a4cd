/** PURE. How points are earned, in a program file: rules give, promotions give more at certain times. */
import { z } from 'zod';
import {
  capSchema,
  expirySchema,
  factorField,
  lineFilterSchema,
  minorUnitsField,
  nameField,
  pendingSchema,
  pointsField,
  pointsMax,
  roundingField,
  selectionFields,
} from './basics-schema.ts';

const ofLines = { lines: lineFilterSchema.optional() };
const tierPoints = z.record(nameField, pointsField);

/**
 * What is counted, and the points for it.
 *
 * - `amount`: `points` for `perMinorUnits` of the lines, of the whole receipt or of `each` line. `steps: whole` counts full
 *   steps only; `fraction` gives a share for the rest and rounds.
 * - `quantity`: `points` for each unit of the lines.
 * - `fixed`: `points` for the receipt, flight or activity as such.
 * - `distance`: a percentage of the miles by booking class; a minimum replaces fewer miles before or fewer points after it.
 * - `fare`: `points` for `perMinorUnits` of a flight's fare, other points for some tiers.
 */
export const earnSchema = z.discriminatedUnion('by', [
  z.strictObject({
    by: z.literal('amount'),
    points: pointsField,
    perMinorUnits: minorUnitsField,
    each: z.enum(['receipt', 'line']).default('receipt'),
    steps: z.enum(['whole', 'fraction']).default('whole'),
    ...ofLines,
    /** Only the part of the receipt that was paid by these means counts. */
    paidBy: z.array(z.string().min(1).max(32)).min(1).max(50).optional(),
  }),
  z.strictObject({ by: z.literal('quantity'), points: pointsField, ...ofLines }),
  z.strictObject({ by: z.literal('fixed'), points: pointsField }),
  z.strictObject({
    by: z.literal('distance'),
    classes: z
      .array(
        z.strictObject({
          codes: z
            .array(z.string().regex(/^[A-Z]$/))
            .min(1)
            .max(26),
          percent: z.int().min(0).max(1_000),
          minimumMiles: z.int().min(1).max(100_000).optional(),
        }),
      )
      .min(1)
      .max(26),
    minimum: z.enum(['before', 'after']).default('after'),
  }),
  z.strictObject({
    by: z.literal('fare'),
    points: pointsField,
    tiers: tierPoints.optional(),
    perMinorUnits: minorUnitsField,
  }),
]);
export type Earn = z.infer<typeof earnSchema>;

const costShares = z
  .array(z.strictObject({ funder: nameField, percent: z.int().min(1).max(100) }))
  .min(1)
  .max(10);

/** What a rule and a promotion say of the points they give. */
const givenFields = {
  currency: nameField,
  rounding: roundingField.default('floor'),
  expiry: expirySchema.optional(),
  pending: pendingSchema.optional(),
  /** Who pays for the points. */
  funder: nameField.default('program'),
  /** Who bears the cost in the end, where several do; percentages that sum to 100. */
  costShares: costShares.optional(),
  caps: z.array(capSchema).max(8).default([]),
  budget: nameField.optional(),
  /** After a return: what remains of the receipt in proportion, or judged anew as if only it had been bought. */
  returns: z.enum(['proportional', 'reevaluate']).default('reevaluate'),
};

export const ruleSchema = z.strictObject({
  name: nameField,
  on: z.enum(['purchase', 'flight', 'activity']).default('purchase'),
  ...selectionFields,
  earn: earnSchema,
  ...givenFields,
});
export type Rule = z.infer<typeof ruleSchema>;

/** Multiplies what rules gave: by 3 means that 2 of 3 points are the promotion's. */
const multiplySchema = z.strictObject({
  by: factorField,
  /** Rules that are multiplied; absent: all that give the currency. */
  rules: z.array(nameField).min(1).max(200).optional(),
  ...ofLines,
});

export const promotionSchema = z.strictObject({
  name: nameField,
  on: z.enum(['purchase', 'flight', 'activity']).default('purchase'),
  ...selectionFields,
  /** It counts for receipts that were sent with this code (`purchase.codes`). */
  code: z.string().min(1).max(64).optional(),
  /** Which purchase of the member's life: 1 is the first. */
  purchaseNumber: z.int().min(1).max(1_000_000).optional(),
  /** Given with the purchase by which the member's spending in the period reaches the amount. */
  spendReached: z
    .strictObject({
      minorUnits: minorUnitsField,
      period: z.enum(['day', 'week', 'month', 'year', 'lifetime']),
    })
    .optional(),
  multiply: multiplySchema.optional(),
  earn: earnSchema.optional(),
  /** Points given by a worker to every member who is selected, at the beginning of each day of `during`. */
  give: z
    .strictObject({
      points: pointsField,
      /** Time of day at which it begins. */
      at: z
        .string()
        .regex(/^([01]\d|2[0-3]):[0-5]\d$/)
        .default('00:00'),
      /** The members are spread over so many minutes, in cohorts. */
      spreadMinutes: z.int().min(0).max(1_380).default(0),
    })
    .optional(),
  group: nameField.optional(),
  /** Within a group: the higher goes first. */
  priority: z.int().min(0).max(1_000).default(0),
  /** Of fixed points, unless it is false: one order counts once, in however many shipments it comes. */
  oncePerOrder: z.boolean().optional(),
  ...givenFields,
});
export type Promotion = z.infer<typeof promotionSchema>;

/**
 * What happens where several promotions of a group fit the same receipt. `exclusive`: the one of highest priority; the file
 * is refused where two of one priority could meet. `best`: the one that gives most. `additive`: factors add, x2 and x3 give
 * x4. `multiplicative`: x2 and x3 give x6. Promotions of different groups add up.
 */
export const groupSchema = z.strictObject({
  name: nameField,
  combine: z.enum(['exclusive', 'best', 'additive', 'multiplicative']),
  /** All factors of the group together are at most this. */
  factorMax: factorField.optional(),
  /** All points of the group on one receipt together are at most these. */
  pointsMax: pointsField.optional(),
});
export type Group = z.infer<typeof groupSchema>;

/**
 * Points or money that everything under it may cost the program in total; never more, however many tills give at once. What
 * is taken back by returns can be given again. A budget of money pays for as many whole points as it can.
 *
 * Spread over the day, at most a day's share is given out until the day's end, and of it never more than the part of the day
 * that has passed: by noon half. The share is what is left when the day begins, divided by the days that are left through the
 * last `during.through` of what the budget pays for.
 */
export const budgetSchema = z.strictObject({
  name: nameField,
  points: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  /** In money: `minorUnits`, where a point costs `costPerPoint` minor units. */
  minorUnits: minorUnitsField.optional(),
  costPerPoint: factorField.optional(),
  pacing: z.enum(['none', 'day']).default('none'),
  /** When it, or its share so far, is used up: `trim` gives what is left of it, `refuse` leaves an award out that does not fit. */
  whenFull: z.enum(['trim', 'refuse']).default('refuse'),
});
export type Budget = z.infer<typeof budgetSchema>;

/** All promotions of a receipt together give at most this. */
export const promotionsMaxField = z.int().min(1).max(pointsMax);
