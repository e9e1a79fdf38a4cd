/** PURE. What every part of a program file is made of: names, amounts, fractions, dates, and which receipts and lines are meant. */
import { z } from 'zod';

export const nameField = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,31}$/, 'is 1 to 32 small letters, digits, - and _, a letter first');
const text = (lengthMax: number) => z.string().min(1).max(lengthMax);
const listOf = <Item extends z.ZodType>(item: Item) => z.array(item).min(1).max(1_000);

export const pointsMax = 1_000_000_000;
export const pointsField = z.int().min(1).max(pointsMax);
export const minorUnitsField = z.int().min(1).max(1_000_000_000_000);
export const moneyCurrencyField = z.string().regex(/^[A-Z]{3}$/, 'is an ISO 4217 code such as EUR');
export const dateField = z.iso.date();
export const timeField = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'is a time of day such as 09:30');

/** How an amount that is no whole number of points becomes one; each award is rounded once. */
export const roundingField = z.enum(['floor', 'half_up', 'half_even', 'ceil']);
export type Rounding = z.infer<typeof roundingField>;

export type Fraction = readonly [numerator: number, denominator: number];

/** A factor without floats: a whole number, a decimal text such as "1.5", or a fraction such as "4/3". */
export const factorField = z
  .union([
    z.int().min(0).max(1_000),
    z.string().regex(/^\d{1,4}(\.\d{1,6}|\/[1-9]\d{0,5})?$/, 'is a number such as 3, "1.5" or "4/3"'),
    // As it is stored of a version.
    z.tuple([z.int().min(0).max(9_999_999_999), z.int().min(1).max(1_000_000)]).readonly(),
  ])
  .transform((value): Fraction => (typeof value === 'object' ? value : fractionOf(String(value))));

function fractionOf(value: string): Fraction {
  const [whole = '', denominator] = value.split('/');
  if (denominator !== undefined) return [Number(whole), Number(denominator)];
  const decimals = whole.split('.')[1] ?? '';
  return [Number(whole.replace('.', '')), 10 ** decimals.length];
}

/** A condition in the Common Expression Language; `conditions.ts` says what it may name. */
export const conditionField = text(2_000);

/** Lines by what they are. A category means itself and all below it: `fresh` also `fresh/fruit`. All named lists must fit. */
const lineNames = {
  skus: listOf(text(64)).optional(),
  categories: listOf(text(64)).optional(),
  brands: listOf(text(64)).optional(),
};
export const lineFilterSchema = z.strictObject({
  ...lineNames,
  /** Lines that fit any of these lists are left out. */
  except: z.strictObject(lineNames).optional(),
  when: conditionField.optional(),
});
export type LineFilter = z.infer<typeof lineFilterSchema>;

/** When something counts, in the program's zone. What is absent does not limit. */
export const windowSchema = z.strictObject({
  /** The first day. */
  from: dateField.optional(),
  /** The last day, through its end. */
  through: dateField.optional(),
  /** Days by a recurrence rule of RFC 5545, such as `FREQ=MONTHLY;BYMONTHDAY=8`; it is counted from `from`, else from 1970-01-01. */
  repeat: text(200).optional(),
  /** Times of the day, the end not included; over midnight where the end comes first. */
  hours: z.tuple([timeField, timeField]).optional(),
  /** Days of the member's own. Who was born on 29 February has the birthday on 28 February in other years. */
  member: z.enum(['birthday', 'birthday_week', 'birthday_month', 'anniversary']).optional(),
});
export type Window = z.infer<typeof windowSchema>;

/** Which receipts, flights or activities, and of which members. All that is named must fit. */
export const selectionFields = {
  stores: listOf(text(64)).optional(),
  channels: listOf(text(32)).optional(),
  tiers: listOf(nameField).optional(),
  segments: listOf(nameField).optional(),
  /** Types of activities. */
  activities: listOf(text(64)).optional(),
  /** Marketing carriers of flights. */
  carriers: listOf(text(8)).optional(),
  during: windowSchema.optional(),
  when: conditionField.optional(),
  /** What the receipt must hold, lines as filtered. */
  basket: z
    .array(
      z.strictObject({
        lines: lineFilterSchema.optional(),
        amountMin: minorUnitsField.optional(),
        quantityMin: z.int().min(1).max(1_000_000).optional(),
      }),
    )
    .min(1)
    .max(20)
    .optional(),
};

export const periodField = z.enum(['receipt', 'order', 'ticket', 'day', 'week', 'month', 'year', 'lifetime']);
export type Period = z.infer<typeof periodField>;

/** At most so many points of one rule for one member in a period; `trim` gives what is left, `refuse` all or nothing. */
export const capSchema = z.strictObject({
  points: pointsField,
  period: periodField,
  whenFull: z.enum(['trim', 'refuse']).default('trim'),
});
export type Cap = z.infer<typeof capSchema>;

/** Counted from when it happened, or from when it was booked: a receipt of July that arrives in August then counts as August. */
const from = z.enum(['occurrence', 'posting']).default('occurrence');

/** When points end. Days and months are of the program's calendar; points count through the end of their last day. */
const fixedExpirySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('never') }),
  /** Through the end of this many days later. */
  z.strictObject({ kind: z.literal('days'), days: z.int().min(1).max(36_500), from }),
  /** Through the last day of the month that is this many months later. */
  z.strictObject({ kind: z.literal('month_end'), months: z.int().min(0).max(1_200), from }),
  /** Through 31 December of the year that is this many years later. */
  z.strictObject({ kind: z.literal('year_end'), years: z.int().min(0).max(100), from }),
  /** Through the last day of the member's month of birth, this many years later. Without a birthday: the month itself. */
  z.strictObject({ kind: z.literal('birthday_month'), years: z.int().min(1).max(100), from }),
  /** All points of the currency end together, this many months after the member last did something that counts. */
  z.strictObject({
    kind: z.literal('inactivity'),
    months: z.int().min(1).max(1_200),
    activity: z.enum(['earning', 'any']).default('any'),
  }),
]);
export const expirySchema = z.union([
  fixedExpirySchema,
  z.strictObject({
    kind: z.literal('tier'),
    tiers: z.record(nameField, fixedExpirySchema),
    otherwise: fixedExpirySchema,
  }),
]);
export type FixedExpiry = z.infer<typeof fixedExpirySchema>;
export type Expiry = z.infer<typeof expirySchema>;

/** From when points count. Absent: at once. */
export const pendingSchema = z.discriminatedUnion('kind', [
  /** From the beginning of the day that is so many days later. */
  z.strictObject({ kind: z.literal('days'), days: z.int().min(1).max(3_650) }),
  /** From the beginning of this day of the month, of this month or, where it has begun, of the next. */
  z.strictObject({ kind: z.literal('day_of_month'), day: z.int().min(1).max(28) }),
  /** Until somebody releases them (`POST /v1/accruals/:id/releases`); they never count after so many days. */
  z.strictObject({ kind: z.literal('event'), daysMax: z.int().min(1).max(3_650) }),
]);
export type Pending = z.infer<typeof pendingSchema>;
