/**
 * PURE. Ladders of tiers, in a program file: what members have to do in a period to come up, what keeps them there, and what
 * happens at the end. `check-ladders.ts` says what must hold beside the shape, `src/tiers/ladder/` what it means day by day.
 */
import { z } from 'zod';
import { dateField, nameField } from './basics-schema.ts';

const atLeast = z.int().min(1).max(1_000_000_000_000);
const monthsField = z.int().min(1).max(1_200);

/**
 * At least so much of what a member did, by the day of the purchase or flight; what came back does not count.
 *
 * `points` that accruals gave of a currency, `spend` in smallest units of the program's money, `visits` as purchases, `flights`,
 * `distance` in miles, `active_months` as months of the calendar with a purchase or flight.
 */
export const goalSchema = z.discriminatedUnion('measure', [
  z.strictObject({ measure: z.literal('points'), currency: nameField, atLeast }),
  z.strictObject({
    measure: z.enum(['spend', 'visits', 'flights', 'distance', 'active_months']),
    atLeast,
  }),
]);
export type FileGoal = z.infer<typeof goalSchema>;

const goals = z.array(goalSchema).min(1).max(8);
const allSchema = z.strictObject({ all: goals });

/** Any of these, or all of these; one of any may be several things together. */
export const tierConditionSchema = z.union([
  allSchema,
  z.strictObject({
    any: z
      .array(z.union([goalSchema, allSchema]))
      .min(1)
      .max(8),
  }),
]);
export type TierCondition = z.infer<typeof tierConditionSchema>;

export const tierSchema = z.strictObject({
  name: nameField,
  /** Names that it had before: whoever had one of them has this tier. */
  was: z.array(nameField).min(1).max(20).optional(),
  /** What brings a member up to it. The first tier has none: everybody has it. */
  reach: tierConditionSchema.optional(),
  /** What keeps a member in it; absent: what reaches it. */
  keep: tierConditionSchema.optional(),
  /** Nobody comes up to it by what they do; people give it. */
  onlyGranted: z.boolean().default(false),
  /** Nobody goes down from it by a review. */
  protected: z.boolean().default(false),
});
export type FileTier = z.infer<typeof tierSchema>;

/** The period in which is counted, over and over. */
const periodSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('calendar_year'), firstMonth: z.int().min(1).max(12).default(1) }),
  /** The months that end today. */
  z.strictObject({ kind: z.literal('rolling_months'), months: monthsField }),
  /** Years from the day of joining. */
  z.strictObject({ kind: z.literal('anniversary') }),
  /** So many months from the day after the last promotion, again and again; before the first one from joining. */
  z.strictObject({ kind: z.literal('since_promotion'), months: monthsField }),
  z.strictObject({ kind: z.literal('lifetime') }),
]);

const throughField = z.enum(['day', 'month_end', 'quarter_end', 'year_end']).default('day');

export const validitySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('end_of_period') }),
  z.strictObject({ kind: z.literal('end_of_next_period') }),
  /** So many months from the day on which it was reached, rounded up. */
  z.strictObject({ kind: z.literal('months'), months: monthsField, through: throughField }),
  z.strictObject({ kind: z.literal('for_ever') }),
]);

/**
 * Tiers of others that are matched: evidence gives a trial, and what is reached in it keeps the tier.
 */
const matchSchema = z.strictObject({
  name: nameField,
  /** Whose tiers, by the name that the evidence says. */
  partner: z.string().min(1).max(64),
  trialDays: z.int().min(1).max(3_650),
  tiers: z
    .array(
      z.strictObject({
        /** Theirs. */
        from: z.array(z.string().min(1).max(64)).min(1).max(50),
        /** Ours. */
        tier: nameField,
        /** What has to be reached in the trial so that it stays; absent: it ends with the trial. */
        keep: tierConditionSchema.optional(),
      }),
    )
    .min(1)
    .max(20),
  /** Once in so many months, or in a life. */
  onceIn: z.union([z.strictObject({ months: monthsField }), z.literal('lifetime')]),
  /** Where the trial was not kept: not again for so many months. */
  afterFailureMonths: monthsField.optional(),
  /** How the other tier was come by, as the evidence says, where it cannot be matched from. */
  exceptOrigins: z
    .array(z.enum(['matched', 'gifted', 'lifetime', 'trial', 'granted']))
    .max(5)
    .default(['matched', 'gifted', 'lifetime']),
  /** Days since enrolment. */
  enrolledDaysMin: z.int().min(0).max(3_650).default(0),
  /** Evidence that is older than so many days does not count. */
  evidenceDaysMax: z.int().min(1).max(3_650).optional(),
  from: dateField.optional(),
  through: dateField.optional(),
});
export type Match = z.infer<typeof matchSchema>;

/** What a tier is in an alliance, in days in which the program is a member of it. */
const allianceSchema = z.strictObject({
  alliance: z.string().min(1).max(64),
  /** Several tiers may be one there; a tier that is not named is none. */
  tiers: z
    .array(z.strictObject({ tier: nameField, equals: z.string().min(1).max(64) }))
    .min(1)
    .max(20),
  from: dateField.optional(),
  through: dateField.optional(),
});
export type Alliance = z.infer<typeof allianceSchema>;

export const ladderSchema = z.strictObject({
  name: nameField,
  /** From the lowest up; the first is what everybody has. */
  tiers: z.array(tierSchema).min(2).max(20),
  period: periodSchema,
  validity: validitySchema,
  /**
   * What was counted, after a promotion: goes on, begins anew on the next day, or begins with what was above the tier's goals.
   * Absent: goes on, and begins anew where periods begin with a promotion.
   */
  atPromotion: z.enum(['keep', 'reset', 'roll_over']).optional(),
  /** What was counted, after the end of a period. */
  atPeriodEnd: z.enum(['reset', 'roll_over']).default('reset'),
  /** Who is not kept goes: nowhere, one tier down for one more validity, or to what was earned. */
  down: z.enum(['none', 'one_step', 'earned']),
  /** A tier holds so much longer than it is valid. */
  grace: z.strictObject({ months: monthsField, through: throughField }).optional(),
  /** A tier whose purchases came back: through its end, for some days, or not at all. */
  whenTakenBack: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('until_end') }),
      z.strictObject({ kind: z.literal('days'), days: z.int().min(1).max(3_650) }),
      z.strictObject({ kind: z.literal('nothing') }),
    ])
    .default({ kind: 'nothing' }),
  /** Events say so many days before the last one what is missing to stay. */
  warnDays: z.array(z.int().min(1).max(365)).min(1).max(10).optional(),
  matches: z.array(matchSchema).max(50).default([]),
  alliances: z.array(allianceSchema).max(20).default([]),
});
export type FileLadder = z.infer<typeof ladderSchema>;
