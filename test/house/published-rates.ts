/**
 * Rates that programs have published, as partners' files: what banks' points came to at airlines, with their minimums, steps, bonuses, caps and
 * fees, and one devaluation after the other. Where only a season is known, its first day stands.
 */
import { type Entry, fileWith, rateEntry } from './partners.ts';

const thousands = { minimum: 1_000, step: 1_000 };

export const amexToCathay = fileWith([
  rateEntry(1, 1, thousands),
  rateEntry(5, 4, { ...thousands, from: '2026-03-01', announced: '2025-12-01' }),
]);

export const capitalOneToJal = fileWith([
  rateEntry(4, 3, {
    minimum: 100,
    step: 100,
    bonuses: [{ name: 'spring', percent: 30, from: '2026-04-01', through: '2026-04-30' }],
  }),
]);

export const chaseToAeroplan = fileWith([
  rateEntry(1, 1, {
    ...thousands,
    bonuses: [
      { name: 'april', percent: 20, from: '2026-04-01', through: '2026-04-30' },
      { name: 'card', percent: 10, from: '2026-04-01', through: '2026-04-30', tiers: ['card'] },
    ],
  }),
]);

export const amexToHilton = fileWith([
  rateEntry(1, 2, {
    ...thousands,
    bonuses: [{ name: 'may', percent: 20, from: '2026-04-28', through: '2026-05-30' }],
  }),
]);

const ofMarriott = (adds: number) =>
  fileWith([rateEntry(3, 1, { minimum: 3_000, block: { points: 60_000, adds } })]);
export const marriottToBa = ofMarriott(5_000);
export const marriottToUnited = ofMarriott(10_000);

export const bankOfChinaToWings = fileWith([
  rateEntry(59, 2, { minimum: 14_750, step: 14_750, caps: [{ period: 'year', points: 80_000 }] }),
]);

/** US$0.0006 a point, US$99 at most. */
export const amexToUnited = fileWith([
  rateEntry(1, 1, { ...thousands, fee: { currency: 'USD', amount: 6, perPoints: 100, maximum: 9_900 } }),
]);

export const citiToAmerican = fileWith([
  rateEntry(1, 1, { ...thousands, tier: 'premium' }),
  rateEntry(10, 7, thousands),
]);

/** The fall of what points are worth at Emirates and Cathay, bank by bank, in the order in which it happened. */
export const devaluations: readonly {
  readonly bank: string;
  readonly file: Entry;
  /** What 1,000 points came to on a day; null: not exchanged any more. */
  readonly came: readonly (readonly [day: string, miles: number | null])[];
}[] = [
  {
    bank: 'Citi to Emirates',
    file: fileWith([rateEntry(1, 1, thousands), rateEntry(5, 4, { ...thousands, from: '2025-07-01' })]),
    came: [
      ['2025-06-30', 1_000],
      ['2025-07-01', 800],
    ],
  },
  {
    bank: 'Amex to Emirates',
    file: fileWith([rateEntry(1, 1, thousands), rateEntry(5, 4, { ...thousands, from: '2025-09-01' })]),
    came: [
      ['2025-08-31', 1_000],
      ['2025-09-01', 800],
    ],
  },
  {
    bank: 'Chase to Emirates',
    file: fileWith([rateEntry(1, 1, { ...thousands, through: '2025-10-15' })]),
    came: [
      ['2025-10-15', 1_000],
      ['2025-10-16', null],
    ],
  },
  {
    bank: 'Capital One to Emirates',
    file: fileWith([
      rateEntry(1, 1, { minimum: 100, step: 100 }),
      rateEntry(4, 3, { minimum: 100, step: 100, from: '2026-01-13' }),
    ]),
    came: [
      ['2026-01-12', 1_000],
      ['2026-01-13', 750],
    ],
  },
  {
    bank: 'Amex to Cathay',
    file: amexToCathay,
    came: [
      ['2026-02-28', 1_000],
      ['2026-03-01', 800],
    ],
  },
];
