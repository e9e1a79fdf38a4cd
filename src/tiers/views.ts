/** PURE. What ladders' rules speak of, as callers read it: currencies by their codes. */
import type { Measure } from '#src/diary/measures.ts';
import type { Program } from '#src/earning/program.ts';
import type { GoalCount, Step } from './ladder/types.ts';

type Currencies = Pick<Program, 'currencyByNumber'>;

export function measureView({ currencyByNumber }: Currencies, measure: Measure): unknown {
  if (typeof measure === 'string') return measure;
  return { points: currencyByNumber.get(measure.points)?.code ?? String(measure.points) };
}

/** A goal with what was counted for it. */
export function goalView(program: Currencies, { measure, ...counts }: GoalCount): Record<string, unknown> {
  return { measure: measureView(program, measure), ...counts };
}

/** What a review did, as it is kept and told. */
export function stepView(program: Currencies, { counted, ...step }: Step): Record<string, unknown> {
  return { ...step, ...(counted ? { counted: counted.map((goal) => goalView(program, goal)) } : {}) };
}
