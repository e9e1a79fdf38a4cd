/**
 * PURE. What a condition may say beyond being well typed: the functions it may call, how many steps it may take at worst, and
 * that it asks whether an attribute is there before it reads it.
 *
 * Steps are counted in the tree: a node is one, and what is done for each element of a list counts as often as the list can be
 * long. So a search among a thousand lines inside another is refused when the file is validated, not found out at the till.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { TextFault } from './recurrence.ts';

/** At most: lines, payments and attributes as schemas bound them, the others far beyond what there is. */
const listSizes: Readonly<Record<string, number>> = {
  'receipt.lines': 1_000,
  'receipt.payments': 50,
  'member.segments': 1_000,
  'member.attributes': 50,
  'activity.attributes': 1_000,
};

/** Lists of what may be called: nothing that runs patterns, reads bytes or dates, or hides a type. */
const functions = ['has', 'size', 'int', 'double', 'string'];
const quantifiers = ['all', 'exists', 'exists_one'];
const transforms = ['filter', 'map'];
const methods = [
  ...['startsWith', 'endsWith', 'contains', 'lowerAscii', 'upperAscii', 'trim', 'size', 'sum'],
  ...quantifiers,
  ...transforms,
];

type NodeOf<Operator extends ASTNode['op']> = Extract<ASTNode, { op: Operator }>;

export interface Inspection {
  readonly steps: number;
  readonly fault: TextFault | undefined;
}

/** The most steps that a condition takes, and the first thing that it may not say. */
export function inspect(root: ASTNode, names: readonly string[]): Inspection {
  const faults: TextFault[] = [];
  const guarded = new Set<string>();
  const read: { readonly path: string; readonly name: string; readonly offset: number }[] = [];
  const refuse = (node: ASTNode, message: string) => faults.push({ message, offset: node.range.start });

  const visit = (node: ASTNode): Measure => {
    switch (node.op) {
      case 'value':
      case 'id':
        return { steps: 1, size: 0 };
      case '.':
      case '[]':
        return visitAccess(node);
      case 'call':
        return visitCall(node);
      case 'rcall':
        return visitMethod(node);
      case 'list':
        return visitList(node);
      case '?:': {
        const [condition, left, right] = node.args.map(visit) as [Measure, Measure, Measure];
        return {
          steps: 1 + condition.steps + left.steps + right.steps,
          size: Math.max(left.size, right.size),
        };
      }
      case '!_':
      case '-_':
        return { steps: 1 + visit(node.args).steps, size: 0 };
      case 'map':
      case '.?':
      case '[?]':
        refuse(node, 'holds a map or an optional, which conditions do not know');
        return { steps: 1, size: 0 };
      default:
        return visitBinary(node.op, node.args);
    }
  };
  const visitBinary = (operator: string, [left, right]: readonly [ASTNode, ASTNode]): Measure => {
    if (operator === 'in' && left.op === 'value') guarded.add(`${pathOf(right)}.${String(left.args)}`);
    const [a, b] = [visit(left), visit(right)];
    // Lists are compared, searched and put together element by element.
    const size = operator === '+' ? a.size + b.size : 0;
    return { steps: 1 + a.steps + b.steps + a.size + b.size, size };
  };
  const visitAccess = (node: NodeOf<'.' | '[]'>): Measure => {
    const [from, key] = node.args;
    const name = typeof key === 'string' ? key : key.op === 'value' ? String(key.args) : undefined;
    const path = pathOf(from);
    if (path?.endsWith('.attributes')) {
      if (name === undefined) refuse(node, 'names an attribute by what is not a text');
      else read.push({ path, name, offset: node.range.start });
    }
    const steps = 1 + visit(from).steps + (typeof key === 'string' ? 0 : visit(key).steps);
    return { steps, size: listSizes[pathOf(node) ?? ''] ?? 0 };
  };
  const visitCall = (node: NodeOf<'call'>): Measure => {
    const [name, given] = node.args;
    if (!functions.includes(name)) refuse(node, `calls ${name}; conditions know ${functions.join(', ')}`);
    const [first] = given;
    if (name === 'has' && first) {
      guarded.add(pathOf(first) ?? '');
      return { steps: 3, size: 0 };
    }
    const measures = given.map(visit);
    return { steps: 1 + sum(measures.map(({ steps, size }) => steps + size)), size: 0 };
  };
  const visitMethod = (node: NodeOf<'rcall'>): Measure => {
    const [name, receiver, given] = node.args;
    if (!methods.includes(name)) {
      const hint =
        name === 'matches' ? ' (patterns can take for ever: use startsWith, endsWith or contains)' : '';
      refuse(node, `calls ${name}${hint}; conditions know ${methods.join(', ')}`);
    }
    const list = visit(receiver);
    const isMacro = quantifiers.includes(name) || transforms.includes(name);
    if (!isMacro)
      return { steps: 1 + list.steps + list.size + sum(given.map((each) => visit(each).steps)), size: 0 };
    const [variable, ...bodies] = given;
    if (variable?.op === 'id' && names.includes(variable.args))
      refuse(variable, `gives the name ${variable.args} to an element, which is taken`);
    const measures = bodies.map(visit);
    if (name === 'map' && measures.some(({ size }) => size > 0)) refuse(node, 'makes a list of lists');
    return {
      steps: 1 + list.steps + list.size * (2 + sum(measures.map(({ steps }) => steps))),
      size: transforms.includes(name) ? list.size : 0,
    };
  };
  const visitList = (node: NodeOf<'list'>): Measure => {
    const measures = node.args.map(visit);
    if (measures.some(({ size }) => size > 0)) refuse(node, 'makes a list of lists');
    return { steps: 1 + sum(measures.map(({ steps }) => steps)), size: measures.length };
  };

  const { steps } = visit(root);
  for (const { path, name, offset } of read) {
    if (guarded.has(`${path}.${name}`)) continue;
    const message = `reads ${path}.${name}, which may be absent: ask has(${path}.${name}) && … first`;
    faults.push({ message, offset });
  }
  return { steps, fault: faults.toSorted((a, b) => a.offset - b.offset)[0] };
}

interface Measure {
  readonly steps: number;
  /** How long the list can be that it makes; 0 where it makes none. */
  readonly size: number;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** A name and the fields after it, such as `member.attributes.visits`; undefined for anything else. */
export function pathOf(node: ASTNode): string | undefined {
  if (node.op === 'id') return node.args;
  if (node.op !== '.') return undefined;
  const path = pathOf(node.args[0]);
  return path === undefined ? undefined : `${path}.${node.args[1]}`;
}
