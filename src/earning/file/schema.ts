/**
 * PURE. A program file: what a program manager writes, in YAML or JSON. One schema serves the commands, the admin API and
 * what is stored of a version. `check.ts` says what must hold beside the shape.
 *
 * A file names currencies and funders; the small numbers that stand for them in Redis, journal and ledger are given when a
 * version is applied and stay with the name for ever (`numbers.ts`), so that the same file serves test and production.
 */
import { z } from 'zod';
import { expirySchema, moneyCurrencyField, nameField } from './basics-schema.ts';
import {
  budgetSchema,
  groupSchema,
  promotionSchema,
  promotionsMaxField,
  ruleSchema,
} from './earning-schema.ts';
import { exampleSchema } from './example-schema.ts';
import { ladderSchema } from './ladder-schema.ts';
import { moneySchema, redemptionRuleSchema } from './redemption-schema.ts';
import { segmentsSchema } from './segment-schema.ts';

export const currencySchema = z.strictObject({
  code: nameField,
  /** Whether members see a balance of it and can redeem it. */
  spendable: z.boolean().default(true),
  /** Whether members of a pool may spend one another's. */
  poolable: z.boolean().default(false),
  /** When its points end, where the rule that gave them says nothing else. */
  expiry: expirySchema.default({ kind: 'never' }),
  /** Events warn of points so many days before their last day. */
  warnDays: z.array(z.int().min(1).max(365)).min(1).max(10).optional(),
  /** Points that come back with a refund or return count at least through so many days from then. */
  reinstatedDaysMin: z.int().min(1).max(3_650).optional(),
});

const defaultIdentifierTypes = ['card', 'phone', 'email', 'plate', 'partner', 'code'];

export const programFileSchema = z.strictObject({
  /** What the version is about, for people. */
  title: z.string().min(1).max(200).optional(),
  /** IANA zone in which the program's days begin. It is fixed when the program is created. */
  timeZone: z.string().min(1).max(64),
  /** The first is meant where none is named. */
  currencies: z.array(currencySchema).min(1).max(32),
  /** Who pays for points. */
  funders: z.array(nameField).min(1).max(1_000).default(['program']),
  identifierTypes: z.array(nameField).max(50).default(defaultIdentifierTypes),
  /** ISO 4217 codes that receipts may be in; absent: any. */
  moneyCurrencies: z.array(moneyCurrencyField).min(1).max(200).optional(),
  money: moneySchema.optional(),
  /** Whether taking back spent points may leave a debt that later accruals pay off. */
  debtAllowed: z.boolean().default(true),
  backdateDaysMax: z.int().min(0).max(36_500).optional(),
  rules: z.array(ruleSchema).max(1_000).default([]),
  promotions: z.array(promotionSchema).max(1_000).default([]),
  groups: z.array(groupSchema).max(100).default([]),
  /** All promotions of a receipt together give at most so many points. */
  promotionsPointsMax: promotionsMaxField.optional(),
  budgets: z.array(budgetSchema).max(100).default([]),
  redemption: z.array(redemptionRuleSchema).max(200).default([]),
  /** Tiers; the first ladder's is what rules mean by a member's tier. */
  ladders: z.array(ladderSchema).max(10).default([]),
  /** How members are measured each night, and which groups of them have a name. */
  segments: segmentsSchema.optional(),
  examples: z.array(exampleSchema).max(1_000).default([]),
});
/** What is written; defaults may be absent. */
export type ProgramFileInput = z.input<typeof programFileSchema>;
export type ProgramFile = z.infer<typeof programFileSchema>;
