/**
 * PURE. What a program file says of segments: how members are measured, and which groups of them have a name that rules,
 * promotions and exports can use.
 *
 * A run measures every member who has ever bought, through the end of a day of the program. What is measured of a member are
 * the facts below; a segment is everybody whose facts lie in its bounds.
 */
import { z } from 'zod';
import { nameField, timeField } from './basics-schema.ts';

/**
 * The stages in a member's life as a buyer. The first in this order whose sentence is true is the member's; the days are those
 * of `lifecycle`. A day belongs to a span of N days when it is less than N days before the day that is measured through.
 */
export const lifecycleStages = [
  { stage: 'lapsed', means: 'the last purchase was more than lapsedDays ago' },
  {
    stage: 'won_back',
    means: 'a purchase in the last wonBackDays came more than lapsedDays after the one before it',
  },
  { stage: 'new', means: 'the first purchase was in the last newDays' },
  {
    stage: 'growing',
    means:
      'spent something in the last trendDays, and at least growingPercent of what was spent in as many days before them',
  },
  {
    stage: 'declining',
    means:
      'spent something in the trendDays before the last, and since then at most decliningPercent of that',
  },
  { stage: 'mature', means: 'anything else' },
] as const;
export type Stage = (typeof lifecycleStages)[number]['stage'];
const stages = lifecycleStages.map(({ stage }) => stage);

interface NumberFact {
  readonly kind: 'number';
  readonly min: number;
  readonly max: number;
  readonly means: string;
}

interface WordFact {
  readonly kind: 'word';
  readonly words: readonly string[];
  readonly means: string;
}

const daysMax = 100_000;
const amountMax = Number.MAX_SAFE_INTEGER;
const count = (means: string, max = amountMax): NumberFact => ({ kind: 'number', min: 0, max, means });
const score = (means: string): NumberFact => ({ kind: 'number', min: 0, max: 5, means });
const word = (words: readonly string[], means: string): WordFact => ({ kind: 'word', words, means });

/** Everything that a segment may be made of. */
export const segmentFacts = {
  recency_days: count('days since the last purchase', daysMax),
  age_days: count('days since the first purchase', daysMax),
  frequency: count('purchases and flights in the last windowDays'),
  monetary: count('minor units spent in the last windowDays'),
  recency_score: score('5: among the fifth of buyers who bought last; 0: not in the last windowDays'),
  frequency_score: score('5: among the fifth of buyers who bought most often; 0: not in the last windowDays'),
  monetary_score: score('5: among the fifth of buyers who spent most; 0: did not buy in the last windowDays'),
  spend_class: word(
    ['a', 'b', 'c'],
    'a: with those who spent more makes less than spendClasses.a percent of all spend',
  ),
  lifecycle: word(stages, 'stage in the life as a buyer'),
  rhythm_days: count(
    'usual days between purchases of the last windowDays; of nobody with fewer than rhythm.purchasesMin purchase days',
    daysMax,
  ),
  alive_percent: { kind: 'number', min: 0, max: 100, means: 'probability of still being a buyer (BG/NBD)' },
  expected_purchases: count('purchases to be expected in the next value.horizonDays (BG/NBD)'),
  expected_value: count(
    'minor units to be expected in the next value.horizonDays (BG/NBD times gamma-gamma)',
  ),
  value_class: word(
    ['high', 'medium', 'low'],
    'by expected value: the first value.highPercent, the next value.mediumPercent, the rest',
  ),
} as const satisfies Record<string, NumberFact | WordFact>;
export type SegmentFact = keyof typeof segmentFacts;
/** Facts that are there only where the file has `value`. */
export const valueFacts: readonly string[] = [
  'alive_percent',
  'expected_purchases',
  'expected_value',
  'value_class',
];

const daysField = z.int().min(1).max(3_650);
const percentField = z.int().min(1).max(99);

/** Fifths of those who bought in the window, or four bounds between the five scores. */
const scoringSchema = z.union([
  z.literal('quintiles'),
  z.strictObject({ thresholds: z.array(z.number().min(0)).length(4) }),
]);
export type Scoring = z.infer<typeof scoringSchema>;

/** An own reading of each fact is checked in `check-segments.ts`, which can say which facts there are. */
const boundSchema = z.union([
  z.strictObject({ min: z.number().optional(), max: z.number().optional() }),
  z.array(z.string().min(1).max(32)).min(1).max(20),
]);
export type Bound = z.infer<typeof boundSchema>;
const whereSchema = z.record(z.string().min(1).max(64), boundSchema);
export type Where = z.infer<typeof whereSchema>;

export const segmentSchema = z.strictObject({
  name: nameField,
  /** What it is about, for people. */
  title: z.string().min(1).max(200).optional(),
  /** All bounds must hold; of a list of such sets, one set. */
  where: z.union([whereSchema, z.array(whereSchema).min(1).max(20)]),
});
export type NamedSegment = z.infer<typeof segmentSchema>;

export const segmentsSchema = z.strictObject({
  /** From when a day that has ended may be measured; receipts that arrive later are in the next run. */
  runAt: timeField.default('02:00'),
  /** Frequency, monetary value and shares of spend are counted over so many days. */
  windowDays: daysField.default(365),
  recency: scoringSchema.default('quintiles'),
  frequency: scoringSchema.default('quintiles'),
  monetary: scoringSchema.default('quintiles'),
  /** Who makes the first so many percent of all spend is in a, who makes those up to b in b, everybody else in c. */
  spendClasses: z.strictObject({ a: percentField, b: percentField }).default({ a: 70, b: 90 }),
  lifecycle: z
    .strictObject({
      newDays: daysField.default(90),
      lapsedDays: daysField.default(180),
      wonBackDays: daysField.default(90),
      trendDays: daysField.default(90),
      growingPercent: z.int().min(100).max(10_000).default(125),
      decliningPercent: z.int().min(0).max(100).default(75),
    })
    .prefault({}),
  /** The rhythm is the median of the intervals between purchase days; an event says when it is exceeded by `lateDays`. */
  rhythm: z
    .strictObject({
      purchasesMin: z.int().min(3).max(100).default(4),
      lateDays: z.int().min(1).max(365).default(3),
      alerts: z.boolean().default(true),
    })
    .prefault({}),
  /** Expected value; absent: it is not computed. */
  value: z
    .strictObject({
      horizonDays: daysField.default(365),
      highPercent: percentField.default(20),
      mediumPercent: percentField.default(30),
    })
    .optional(),
  named: z.array(segmentSchema).max(200).default([]),
});
export type Segments = z.infer<typeof segmentsSchema>;
