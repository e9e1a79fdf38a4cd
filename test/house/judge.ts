/** Judging receipts without servers: a program file as text or object becomes rules, and a receipt its awards. */
import { type Definition, namesIn } from '#src/earning/file/definition.ts';
import { noNumbers, numbersFor } from '#src/earning/file/numbers.ts';
import { type ProgramFileInput, programFileSchema } from '#src/earning/file/schema.ts';
import { type CompiledRules, compileRules } from '#src/earning/rules/compile.ts';
import { evaluate } from '#src/earning/rules/evaluate.ts';
import type { Question } from '#src/earning/rules/judging.ts';
import { type JudgedMember, type Judgement, nobody, type Purchase } from '#src/earning/rules/types.ts';

/** A definition as it would be stored, with the defaults of the schema and fresh numbers. */
export function definitionOf(file: Partial<ProgramFileInput>): Definition {
  const parsed = programFileSchema.parse({ timeZone: 'UTC', currencies: [{ code: 'points' }], ...file });
  return { ...parsed, numbers: numbersFor(noNumbers, namesIn(parsed)) };
}

export function rulesFrom(file: Partial<ProgramFileInput>): CompiledRules {
  return compileRules(definitionOf(file));
}

export const someone: JudgedMember = { ...nobody, isKnown: true };

export interface Judged extends Partial<Omit<Question, 'member' | 'occurredAt' | 'postedAt'>> {
  readonly at?: string;
  readonly postedAt?: string;
  readonly member?: Partial<JudgedMember>;
}

/** A question with what is not said filled in: a known member, counters that were never heard of, one instant. */
export function questionOf({
  at = '2026-11-22T12:00:00Z',
  postedAt = at,
  member,
  ...rest
}: Judged): Question {
  return {
    subject: {},
    counters: () => undefined,
    ...rest,
    member: { ...someone, ...member },
    occurredAt: Date.parse(at),
    postedAt: Date.parse(postedAt),
  };
}

export function judge(rules: CompiledRules, judged: Judged): Judgement {
  return evaluate(rules, questionOf(judged));
}

/** Points by rule. */
export function pointsBy({ awards }: Pick<Judgement, 'awards'>): Record<string, number> {
  return Object.fromEntries(awards.map(({ rule, points }) => [rule, points]));
}

/** A receipt in euros with lines of amount and category. */
export function receipt(...lines: readonly (readonly [amount: number, category?: string])[]): Purchase {
  return {
    currency: 'EUR',
    lines: lines.map(([amount, category], index) => ({ line: index + 1, amount, category })),
  };
}
