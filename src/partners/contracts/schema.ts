/** PURE. A partner's file: who it is, what is agreed with it, and by which rates points are exchanged. The file is the whole of it. */
import { z } from 'zod';
import {
  dateField,
  minorUnitsField,
  moneyCurrencyField,
  nameField,
  pointsField,
  roundingField,
} from '#src/earning/file/basics-schema.ts';
import { capPeriods, directions } from './types.ts';

const instantOrDayField = z.union([dateField, z.iso.datetime({ offset: true })]).meta({
  description: 'A day in the zone of the program, or a time with its offset.',
});
/** First and last day; a version without a last day lasts until the next one of the same line begins. */
const periodFields = {
  from: instantOrDayField,
  /** The last day, through its end in the zone of the program. */
  through: dateField.optional(),
};
const sharePartMax = 1_000_000;
/** Per cent with up to two decimals, kept in hundredths of a percent. */
export const percentField = z
  .union([
    z.int().min(0).max(1_000),
    z.string().regex(/^\d{1,3}(\.\d{1,2})?$/, 'is a number such as 20 or "2.5"'),
  ])
  .transform((value) => {
    const [whole = '0', decimals = ''] = String(value).split('.');
    return Number(whole) * 100 + Number(decimals.padEnd(2, '0'));
  });
const wholePercentField = percentField.refine((value) => value <= 10_000, 'is more than 100');

const priceSchema = z.strictObject({ amount: z.int().min(0).max(1_000_000_000), perPoints: pointsField });

const billingSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('prepaid'),
    alertPoints: z.int().min(0).default(0),
    usesReserve: z.boolean().default(false),
  }),
  z.strictObject({ kind: z.literal('postpaid'), alertAmount: minorUnitsField.optional() }),
]);

const actionField = z.enum(['refuse', 'review']);
const none = z.literal('none');
/** More links than anybody makes; so many are looked at to say when an exchange is allowed again. */
const linksMax = 100;
const velocitySchema = z.strictObject({
  count: z.int().min(1).max(1_000_000),
  hours: z.int().min(1).max(8_784).default(24),
  points: pointsField.optional(),
  action: actionField.default('refuse'),
});
/** What holds where a file says nothing; `none` switches a limit off. */
const limitsSchema = z.strictObject({
  accountAge: z
    .union([none, z.strictObject({ days: z.int().min(1).max(3_660), action: actionField.default('refuse') })])
    .default({ days: 30, action: 'refuse' }),
  contactHold: z
    .union([
      none,
      z.strictObject({ hours: z.int().min(1).max(8_784), action: actionField.default('refuse') }),
    ])
    .default({ hours: 24, action: 'refuse' }),
  member: z.union([none, velocitySchema]).default({ count: 3, hours: 24, action: 'refuse' }),
  card: z.union([none, velocitySchema]).default({ count: 3, hours: 24, action: 'refuse' }),
  terminal: z.union([none, velocitySchema]).default({ count: 100, hours: 24, action: 'review' }),
  roundTrip: z
    .union([none, z.strictObject({ days: z.int().min(1).max(366), action: actionField.default('review') })])
    .default({ days: 30, action: 'review' }),
  sameName: z
    .union([
      none,
      z.strictObject({
        match: z.enum(['full', 'initials']).default('initials'),
        action: actionField.default('refuse'),
      }),
    ])
    .default('none'),
  links: z
    .union([
      none,
      z.strictObject({
        accounts: z.int().min(1).max(linksMax).default(1),
        members: z.int().min(1).max(linksMax).default(1),
        hours: z.int().min(1).max(8_784).default(24),
        action: actionField.default('refuse'),
      }),
    ])
    .default('none'),
  partnerDaily: z
    .union([
      none,
      z.strictObject({
        out: pointsField.optional(),
        in: pointsField.optional(),
        action: actionField.default('refuse'),
      }),
    ])
    .default('none'),
});

const earningSchema = z.strictObject({
  currency: moneyCurrencyField,
  points: pointsField,
  perMinorUnits: minorUnitsField,
  rounding: roundingField.default('floor'),
  roundedPer: z.enum(['purchase', 'statement']).default('purchase'),
});

export const contractSchema = z.strictObject({
  ...periodFields,
  billing: billingSchema,
  settleOn: z.enum(['issue', 'redemption']),
  currency: moneyCurrencyField,
  prices: z.strictObject({ issue: priceSchema, redemption: priceSchema }),
  billedPercent: wholePercentField.default(10_000),
  taxPercent: wholePercentField.default(0),
  invoiceMinimum: z.int().min(0).max(1_000_000_000_000).default(0),
  nettingGroup: nameField.optional(),
  disputeDays: z.int().min(0).max(366).default(30),
  claimDays: z.int().min(0).max(1_096).default(180),
  noticeDays: z.int().min(0).max(366).default(0),
  costShares: z
    .array(z.strictObject({ promotion: nameField, percent: wholePercentField }))
    .max(1_000)
    .default([]),
  earning: earningSchema.optional(),
  limits: limitsSchema.prefault({}),
  quoteSeconds: z.int().min(1).max(86_400).default(300),
});
export type ContractEntry = z.output<typeof contractSchema>;

const bonusSchema = z.strictObject({
  name: nameField,
  percent: percentField,
  from: instantOrDayField,
  through: dateField,
  tiers: z.array(nameField).min(1).max(100).optional(),
});

export const rateSchema = z.strictObject({
  ...periodFields,
  direction: z.enum(directions),
  /** Of the program. */
  currency: nameField,
  /** At the partner. */
  partnerCurrency: nameField,
  /** Members of this tier alone. */
  tier: nameField.optional(),
  announced: dateField.optional(),
  ratio: z.strictObject({
    give: z.int().min(1).max(sharePartMax),
    receive: z.int().min(1).max(sharePartMax),
  }),
  rounding: roundingField.default('floor'),
  minimum: pointsField.default(1),
  step: pointsField.default(1),
  maximum: pointsField.optional(),
  block: z.strictObject({ points: pointsField, adds: pointsField }).optional(),
  bonuses: z.array(bonusSchema).max(100).default([]),
  caps: z
    .array(
      z.strictObject({
        period: z.enum(capPeriods),
        of: z.enum(['give', 'receive']).default('receive'),
        points: pointsField,
      }),
    )
    .max(6)
    .default([]),
  fee: z
    .strictObject({
      currency: moneyCurrencyField,
      fixed: z.int().min(0).max(1_000_000_000).default(0),
      amount: z.int().min(0).max(1_000_000_000).default(0),
      perPoints: pointsField.default(1),
      maximum: minorUnitsField.optional(),
      rounding: roundingField.default('half_up'),
    })
    .optional(),
});
export type RateEntry = z.output<typeof rateSchema>;

export const partnerFileSchema = z.strictObject({
  partner: nameField,
  title: z.string().min(1).max(200),
  status: z.enum(['active', 'suspended']).default('active'),
  contracts: z.array(contractSchema).min(1).max(1_000),
  rates: z.array(rateSchema).max(10_000).default([]),
});
export type PartnerFile = z.output<typeof partnerFileSchema>;
