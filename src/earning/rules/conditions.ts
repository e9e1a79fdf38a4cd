/**
 * PURE. Conditions of rules in the Common Expression Language (CEL), such as
 * `receipt.lines.exists(line, line.category == "fresh") && at.hour < 12`.
 *
 * A file's conditions are checked when it is validated: syntax, names, types, that the result is true or false, what it may
 * call and how many steps it may take. A version that was applied is only compiled: what it may say was decided then.
 *
 * What a condition may name depends on what its rule judges: `receipt`, `flight` or `activity`, always `member` and `at`, and
 * `line` in filters of lines; `condition-types.ts` has the fields. Whole numbers are integers, amounts are minor units, and
 * dividing integers rounds towards zero. A quantity is a decimal number and is compared with one: `line.quantity == 2.0`.
 *
 * A rule whose condition fails while it runs fails alone: `ConditionFailure` says why.
 *
 * Two comparisons take 0.1 to 0.3 µs, a search among ten lines 2 µs, and a step 14 to 17 ns: what the limit allows takes
 * 1.7 ms at worst, on a receipt of a thousand lines (2026-11-22, two shared cores).
 */
import {
  type ASTNode,
  TypeError as CheckError,
  Environment,
  EvaluationError,
  ParseError,
} from '@marcbachmann/cel-js';
import { neverTrue } from './condition-bounds.ts';
import { inspect } from './condition-limits.ts';
import { fieldsOf, variableTypes, viewTypes } from './condition-types.ts';
import type { SubjectView } from './condition-views.ts';
import type { TextFault } from './recurrence.ts';

/** Whether a condition chooses receipts, flights or activities, or the lines of a receipt. */
export type ConditionKind = 'selection' | 'line';
/** What the rule judges. */
export type Judged = 'purchase' | 'flight' | 'activity';

/** A condition that could not be evaluated for this receipt. */
export class ConditionFailure extends Error {}

/** The library's; `limitWords` says them in words. */
const limits = {
  maxAstNodes: 500,
  maxDepth: 30,
  maxListElements: 300,
  maxMapEntries: 0,
  maxCallArguments: 4,
};
const limitWords: Readonly<Record<keyof typeof limits, string>> = {
  maxAstNodes: `has more than ${limits.maxAstNodes} parts`,
  maxDepth: `is nested more than ${limits.maxDepth} deep`,
  maxListElements: `has a list of more than ${limits.maxListElements}`,
  maxMapEntries: 'holds a map, which conditions do not know',
  maxCallArguments: `gives a function more than ${limits.maxCallArguments} arguments`,
};
export const stepsMax = 100_000;
/** A receipt's lines, for each of which a condition on lines is evaluated. */
const linesMax = 1_000;

const subjectNames = { purchase: 'receipt', flight: 'flight', activity: 'activity' } as const;
const judgedWords = { purchase: 'purchases', flight: 'flights', activity: 'activities' } as const;

const environments = new Map<string, Environment>();
let typed: Environment | undefined;

/** What is wrong with a condition, and where in its text; undefined where nothing is. */
export function checkCondition(
  text: string,
  kind: ConditionKind,
  judged: Judged = 'purchase',
): TextFault | undefined {
  const environment = environmentOf(kind, judged);
  try {
    const parsed = environment.parse(text);
    const names = namesOf(kind, judged);
    const { steps, fault } = inspect(parsed.ast, names);
    const { valid, type, error } = parsed.check();
    if (!valid) return faultOf(error, kind, judged);
    if (type !== 'bool') return { message: `is ${type ?? 'nothing'}, and must be true or false`, offset: 0 };
    if (fault) return fault;
    const worst = kind === 'line' ? steps * linesMax : steps;
    if (worst > stepsMax)
      return { message: `takes up to ${worst} steps; ${stepsMax} are allowed, ${forEach(kind)}`, offset: 0 };
    return neverTrue(parsed.ast, (part) => constantOf(environment, text, part));
  } catch (error) {
    return faultOf(error, kind, judged);
  }
}

function forEach(kind: ConditionKind): string {
  return kind === 'line'
    ? 'counted for a receipt of a thousand lines'
    : 'counted for a thousand lines where it looks at each';
}

/** How many steps a condition takes at worst, for a receipt of a thousand lines. The text must be one that was checked. */
export function stepsOf(text: string, kind: ConditionKind, judged: Judged = 'purchase'): number {
  const { steps } = inspect(environmentOf(kind, judged).parse(text).ast, []);
  return kind === 'line' ? steps * linesMax : steps;
}

/** Makes a condition that was checked ready to run; throws a RangeError where it could not have passed. */
export function compileCondition(
  text: string,
  kind: ConditionKind,
  judged: Judged = 'purchase',
): (view: SubjectView) => boolean {
  const parsed = environmentOf(kind, judged).parse(text);
  const { valid, type, error } = parsed.check();
  if (!valid || type !== 'bool') throw new RangeError(error?.summary ?? `is ${type ?? 'nothing'}`);
  return (view) => {
    let holds: unknown;
    try {
      holds = parsed(view);
    } catch (failure) {
      throw new ConditionFailure(reasonOf(failure), { cause: failure });
    }
    if (typeof holds === 'boolean') return holds;
    throw new ConditionFailure('is neither true nor false');
  };
}

function namesOf(kind: ConditionKind, judged: Judged): readonly (keyof typeof variableTypes)[] {
  return [subjectNames[judged], ...(kind === 'line' ? (['line'] as const) : []), 'member', 'at'];
}

function environmentOf(kind: ConditionKind, judged: Judged): Environment {
  const name = `${kind} ${judged}`;
  const known = environments.get(name);
  if (known) return known;
  typed ??= typedEnvironment();
  const made = typed.clone();
  for (const variable of namesOf(kind, judged)) made.registerVariable(variable, variableTypes[variable]);
  environments.set(name, made);
  return made;
}

function typedEnvironment(): Environment {
  const made = new Environment({ limits });
  for (const [name, { ctor, fields }] of Object.entries(viewTypes)) made.registerType(name, { ctor, fields });
  return made.registerFunction('list<int>.sum(): int', (numbers: readonly bigint[]) =>
    numbers.reduce((total, each) => total + each, 0n),
  );
}

function constantOf(environment: Environment, text: string, part: ASTNode): unknown {
  return environment.evaluate(text.slice(part.range.start, part.range.end));
}

function reasonOf(failure: unknown): string {
  if (failure instanceof EvaluationError) return failure.summary;
  return failure instanceof Error ? failure.message : String(failure);
}

function faultOf(error: unknown, kind: ConditionKind, judged: Judged): TextFault {
  if (!(error instanceof ParseError || error instanceof CheckError)) throw error;
  return { message: sentenceOf(error, kind, judged), offset: error.range?.start ?? 0 };
}

/** The library's words, with what there is where a name is wrong. */
function sentenceOf(error: ParseError | CheckError, kind: ConditionKind, judged: Judged): string {
  const { code, summary, node } = error;
  const names = namesOf(kind, judged);
  if (code === 'unknown_variable') {
    const name = summary.slice(summary.indexOf(': ') + 2);
    const where = kind === 'line' ? `lines of ${judgedWords[judged]}` : judgedWords[judged];
    return Object.hasOwn(variableTypes, name)
      ? `names ${name}, which rules on ${where} do not know; they know ${names.join(', ')}`
      : `names ${name}, which is nothing; there are ${names.join(', ')}`;
  }
  if (code === 'no_such_key' && node?.op === '.') {
    const [from, field] = node.args as [ASTNode, string];
    const fields = from.op === 'id' ? fieldsOf(from.args) : undefined;
    return fields
      ? `names ${from.args}.${field}, which is nothing; ${from.args} has ${Object.keys(fields).join(', ')}`
      : `names a field ${field}, which is nothing`;
  }
  if (code === 'limit_exceeded') {
    const limit = Object.entries(limitWords).find(([name]) => summary.includes(name));
    return limit?.[1] ?? summary;
  }
  if (summary.includes('no such overload') && summary.includes('double') && summary.includes('int'))
    return `${summary}: a decimal number and a whole one do not go together, write 2.0 for 2`;
  return summary;
}
