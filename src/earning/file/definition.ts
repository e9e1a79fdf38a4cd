/**
 * PURE. What is stored of a version: the file with its defaults filled in, and the numbers that stand for its names. Processes
 * judge by it; people read the source text that is stored beside it.
 */
import { z } from 'zod';
import { counterNames } from '../rules/caps.ts';
import { type Numbers, numbersFor } from './numbers.ts';
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

/** Everything of a file that gets a number. */
export function namesIn(file: ProgramFile): { readonly [Kind in keyof Numbers]: readonly string[] } {
  return {
    currencies: file.currencies.map(({ code }) => code),
    funders: file.funders,
    counters: counterNames(file),
    budgets: file.budgets.map(({ name }) => name),
  };
}

/** What processes judge by. Examples are for people and for `test`; the source keeps them. */
export function definitionOf(file: ProgramFile, before: Numbers): Definition {
  return { ...file, examples: [], numbers: numbersFor(before, namesIn(file)) };
}
