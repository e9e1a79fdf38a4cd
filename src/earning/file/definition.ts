/**
 * PURE. What is stored of a version: the file with its defaults filled in, and the numbers that stand for its names. Processes
 * judge by it; people read the source text that is stored beside it.
 */
import { z } from 'zod';
import type { Numbers } from './numbers.ts';
import { type ProgramFile, programFileSchema } from './schema.ts';

export type Definition = ProgramFile & { readonly numbers: Numbers };

const namedNumbers = z.record(z.string(), z.int().min(0));
const numbersSchema = z.strictObject({
  currencies: namedNumbers,
  funders: namedNumbers,
  counters: namedNumbers,
  budgets: namedNumbers,
});

export const definitionSchema = programFileSchema.extend({ numbers: numbersSchema });

type Counted = Pick<ProgramFile, 'rules' | 'promotions'>;

/**
 * Names of the counters that a file needs. A cap on one receipt needs none: nothing of it is remembered.
 *
 * - `cap:RULE:PERIOD`: points that a rule or promotion gave the member in the period
 * - `purchases`: how many the member has made
 * - `spend:PERIOD`: minor units that the member has spent in the period
 * - `once:PROMOTION`: whether the promotion has counted for the order
 */
export function counterNames({ rules, promotions }: Counted): string[] {
  const names = new Set<string>();
  for (const { name, caps } of [...rules, ...promotions])
    for (const { period } of caps) if (period !== 'receipt') names.add(`cap:${name}:${period}`);
  for (const { name, purchaseNumber, spendReached, oncePerOrder } of promotions) {
    if (purchaseNumber !== undefined) names.add('purchases');
    if (spendReached) names.add(`spend:${spendReached.period}`);
    if (oncePerOrder) names.add(`once:${name}`);
  }
  return [...names];
}

/** Everything of a file that gets a number. */
export function namesIn(file: ProgramFile): { readonly [Kind in keyof Numbers]: readonly string[] } {
  return {
    currencies: file.currencies.map(({ code }) => code),
    funders: file.funders,
    counters: counterNames(file),
    budgets: file.budgets.map(({ name }) => name),
  };
}
