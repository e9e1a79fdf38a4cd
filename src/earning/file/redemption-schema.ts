/** PURE. What points are worth, in a program file: redemption rules by dated version, and rates between currencies of money. */
import { z } from 'zod';
import {
  dateField,
  lineFilterSchema,
  minorUnitsField,
  moneyCurrencyField,
  nameField,
  pointsField,
  selectionFields,
} from './basics-schema.ts';

const { stores, channels, tiers, segments, during, when } = selectionFields;

/**
 * What a member may pay with points, and how much. The first rule that fits the receipt is the one that holds; a dated one
 * is expressed by `during`.
 */
export const redemptionRuleSchema = z.strictObject({
  name: nameField,
  currency: nameField,
  ...{ stores, channels, tiers, segments, during, when },
  /** `points` buy `minorUnits` of `money`, in whole steps of the currency's smallest unit, rounded down. */
  exchange: z.strictObject({
    points: pointsField,
    minorUnits: minorUnitsField,
    money: moneyCurrencyField,
  }),
  minimumPoints: pointsField.default(1),
  stepPoints: pointsField.default(1),
  maximumPoints: pointsField.optional(),
  /** Percentage of the eligible lines that points may pay, in however many redemptions: payments by `points` count. */
  sharePercentMax: z.int().min(1).max(100).default(100),
  /** Lines that points may pay; absent: all. */
  lines: lineFilterSchema.optional(),
  /** A receipt that is partly paid by these means cannot be paid by points. */
  exceptPaidBy: z.array(z.string().min(1).max(32)).min(1).max(50).optional(),
});
export type RedemptionRule = z.infer<typeof redemptionRuleSchema>;

/**
 * The currency of money that rules count in. A receipt in another one is converted by the last rate whose `from` is not
 * after the day of the purchase: `units` of its smallest unit are `base` of the program's, each line rounded down.
 */
export const moneySchema = z.strictObject({
  currency: moneyCurrencyField,
  rates: z
    .array(
      z.strictObject({
        currency: moneyCurrencyField,
        from: dateField,
        units: minorUnitsField,
        base: minorUnitsField,
      }),
    )
    .max(10_000)
    .default([]),
});
export type Money = z.infer<typeof moneySchema>;
