/** Turns zod's issues into faults that a till's developer can act on: one pointer (RFC 6901) and one short sentence each. */
import type { z } from 'zod';
import type { Fault } from '#src/errors.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** More than these help nobody. */
const faultsMax = 32;

/** Builds the pointer of a fault from its path. */
export type PointerOf = (path: Path) => string;

function escaped(part: PropertyKey): string {
  return String(part).replaceAll('~', '~0').replaceAll('/', '~1');
}

/** RFC 6901: `/purchase/lines/0/amount`; the whole body is the empty string. */
export const bodyPointer: PointerOf = (path) => path.map((part) => `/${escaped(part)}`).join('');
/** `query:limit`. */
export const queryPointer: PointerOf = (path) => `query:${path.map(String).join('.')}`;

function isAbsent(input: unknown, path: Path): boolean {
  let value = input;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return true;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value === undefined;
}

/** Alternatives whose own type fits: their faults say more than "expected string or object". */
function fittingBranches(branches: readonly (readonly Issue[])[]): readonly (readonly Issue[])[] {
  return branches.filter(
    (branch) => !branch.some((issue) => issue.path.length === 0 && issue.code === 'invalid_type'),
  );
}

function faultCount(branch: readonly Issue[]): number {
  return branch.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
}

function expectedTypes(branches: readonly (readonly Issue[])[]): string {
  const expected = new Set<string>();
  for (const issue of branches.flat()) if (issue.code === 'invalid_type') expected.add(issue.expected);
  return expected.size === 0 ? 'fits none of the allowed forms' : `expected ${[...expected].join(' or ')}`;
}

function unionFaults(issue: z.core.$ZodIssueInvalidUnion, path: Path, input: unknown): { faults: Located[] } {
  const branches = issue.errors as readonly (readonly Issue[])[];
  const fitting = fittingBranches(branches);
  const best = fitting.toSorted((a, b) => faultCount(a) - faultCount(b))[0];
  if (best === undefined) return { faults: [{ path, detail: expectedTypes(branches) }] };
  return { faults: best.flatMap((inner) => locate(inner, path, input)) };
}

interface Located {
  readonly path: Path;
  readonly detail: string;
}

function locate(issue: Issue, prefix: Path, input: unknown): Located[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], detail: 'is not a known field' }));
  }
  if (path.length > 0 && issue.code !== 'custom' && isAbsent(input, path))
    return [{ path, detail: 'is required' }];
  if (issue.code === 'invalid_union') return unionFaults(issue, path, input).faults;
  if (issue.code === 'invalid_key') return [{ path, detail: 'has a name that is not allowed' }];
  if (issue.code === 'invalid_element') return issue.issues.flatMap((inner) => locate(inner, path, input));
  return [{ path, detail: issue.message.replace(/^Invalid (?:input|option): /, '') }];
}

/** The faults of a value that did not fit its schema. */
export function faultsOf(
  error: z.core.$ZodError,
  input: unknown,
  pointerOf: PointerOf = bodyPointer,
): Fault[] {
  const faults: Fault[] = [];
  const seen = new Set<string>();
  for (const { path, detail } of error.issues.flatMap((issue) => locate(issue, [], input))) {
    const fault = { pointer: pointerOf(path), detail };
    const key = `${fault.pointer} ${detail}`;
    if (seen.has(key)) continue;
    seen.add(key);
    faults.push(fault);
    if (faults.length === faultsMax) break;
  }
  return faults;
}
