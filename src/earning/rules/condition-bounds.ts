/**
 * PURE. Conditions that cannot be true, where that is cheaply seen: a part without variables that is false or fails, and
 * comparisons of one value with literals that exclude each other, such as `at.weekday == 8` or `receipt.total > 500 &&
 * receipt.total < 100`. What is not seen is not refused.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { pathOf } from './condition-limits.ts';
import { fieldTypeOf } from './condition-types.ts';
import type { TextFault } from './recurrence.ts';

/** What values there can be. */
interface Range {
  readonly min: number;
  readonly max: number;
  /** The texts that it can be; absent: any. */
  readonly texts?: ReadonlySet<string>;
}

const anything: Range = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
const fromZero: Range = { min: 0, max: Number.POSITIVE_INFINITY };
const calendarRanges: Readonly<Record<string, Range>> = {
  'at.month': { min: 1, max: 12 },
  'at.day': { min: 1, max: 31 },
  'at.weekday': { min: 1, max: 7 },
  'at.hour': { min: 0, max: 23 },
  'at.minute': { min: 0, max: 59 },
  'member.joinedDays': { min: -1, max: Number.POSITIVE_INFINITY },
  'receipt.total': fromZero,
  'line.amount': fromZero,
  'line.quantity': fromZero,
  'flight.distanceMiles': fromZero,
  'flight.fare': fromZero,
};

/** Evaluates a part that names no variable; throws where it fails. */
export type Constant = (part: ASTNode) => unknown;

/** The part for which a condition cannot be true; undefined where none is seen. */
export function neverTrue(node: ASTNode, constant: Constant): TextFault | undefined {
  if (node.op === '||') {
    const [left, right] = node.args.map((each) => neverTrue(each, constant));
    return right && left;
  }
  const parts = conjuncts(node);
  for (const part of parts) {
    const fault = part.op === '||' ? neverTrue(part, constant) : constantFault(part, constant);
    if (fault) return fault;
  }
  return contradiction(parts);
}

function conjuncts(node: ASTNode): readonly ASTNode[] {
  return node.op === '&&' ? node.args.flatMap(conjuncts) : [node];
}

function constantFault(part: ASTNode, constant: Constant): TextFault | undefined {
  if (namesSomething(part)) return undefined;
  const offset = part.range.start;
  try {
    return constant(part) === false ? { message: 'cannot be true: this is always false', offset } : undefined;
  } catch {
    return { message: 'cannot be true: this always fails', offset };
  }
}

function namesSomething(node: ASTNode): boolean {
  if (node.op === 'id') return true;
  return childrenOf(node).some(namesSomething);
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  const found: ASTNode[] = [];
  const collect = (value: unknown) => {
    if (Array.isArray(value)) value.forEach(collect);
    else if (typeof value === 'object' && value !== null && 'op' in value) found.push(value as ASTNode);
  };
  if (node.op !== 'value') collect(node.args);
  return found;
}

/** Narrows what each value can be, comparison by comparison, until nothing is left. */
function contradiction(parts: readonly ASTNode[]): TextFault | undefined {
  const ranges = new Map<string, Range>();
  for (const part of parts) {
    const comparison = comparisonOf(part);
    if (!comparison) continue;
    const { path, allowed } = comparison;
    const before = ranges.get(path) ?? calendarRanges[path] ?? anything;
    const after = intersection(before, allowed);
    if (after.min > after.max || after.texts?.size === 0)
      return { message: `cannot be true: there is no such ${path}`, offset: part.range.start };
    ranges.set(path, after);
  }
  return undefined;
}

function intersection(a: Range, b: Range): Range {
  const range = { min: Math.max(a.min, b.min), max: Math.min(a.max, b.max) };
  const texts =
    a.texts && b.texts ? new Set([...a.texts].filter((text) => b.texts?.has(text))) : (a.texts ?? b.texts);
  return texts ? { ...range, texts } : range;
}

interface Comparison {
  readonly path: string;
  readonly allowed: Range;
}

const mirrored: Readonly<Record<string, string>> = { '<': '>', '<=': '>=', '>': '<', '>=': '<=', '==': '==' };

/** A value compared with a literal, a value that is true or not, a value in a list of literals. */
function comparisonOf(part: ASTNode): Comparison | undefined {
  if (part.op === '!_') return truth(part.args, 'false');
  if (part.op === 'in') {
    const [value, list] = part.args;
    const path = pathOf(value);
    if (path === undefined || list.op !== 'list') return undefined;
    const allowed = list.args.map((each) => literalRange(path, '==', each));
    return allowed.length > 0 && allowed.every((each) => each !== undefined)
      ? { path, allowed: allowed.reduce(union) }
      : undefined;
  }
  if (!(part.op in mirrored)) return truth(part, 'true');
  const [left, right] = part.args as [ASTNode, ASTNode];
  const [value, literal, operator] =
    pathOf(left) === undefined ? [right, left, mirrored[part.op]!] : [left, right, part.op];
  const path = pathOf(value);
  const allowed = path === undefined ? undefined : literalRange(path, operator, literal);
  return path === undefined || allowed === undefined ? undefined : { path, allowed };
}

function truth(value: ASTNode, text: 'true' | 'false'): Comparison | undefined {
  const path = pathOf(value);
  return path === undefined ? undefined : { path, allowed: { ...anything, texts: new Set([text]) } };
}

function union(a: Range, b: Range): Range {
  const range = { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
  return a.texts && b.texts ? { ...range, texts: new Set([...a.texts, ...b.texts]) } : range;
}

/** What a value can be that stands so to a literal; undefined for what is no literal. */
function literalRange(path: string, operator: string, node: ASTNode): Range | undefined {
  const value = literalOf(node);
  if (value === undefined) return undefined;
  if (typeof value === 'string' || typeof value === 'boolean')
    return operator === '==' ? { ...anything, texts: new Set([String(value)]) } : undefined;
  const number = Number(value);
  // Between a whole number and the next there is nothing; of decimal ones the ends are kept.
  const step = typeof value === 'bigint' && fieldTypeOf(path) === 'int' ? 1 : 0;
  switch (operator) {
    case '==':
      return { min: number, max: number };
    case '<':
      return { min: Number.NEGATIVE_INFINITY, max: number - step };
    case '<=':
      return { min: Number.NEGATIVE_INFINITY, max: number };
    case '>':
      return { min: number + step, max: Number.POSITIVE_INFINITY };
    default:
      return { min: number, max: Number.POSITIVE_INFINITY };
  }
}

function literalOf(node: ASTNode): string | boolean | number | bigint | undefined {
  if (node.op === '-_') {
    const value = literalOf(node.args);
    return typeof value === 'bigint' || typeof value === 'number' ? -value : undefined;
  }
  if (node.op !== 'value') return undefined;
  const value = node.args;
  return typeof value === 'object' ? undefined : value;
}
