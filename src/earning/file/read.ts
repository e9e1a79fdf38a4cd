/**
 * A program file as text, YAML or JSON, which is YAML too: read, checked, and every fault with its place in the text. The
 * text itself is what is stored of a version, so comments stay.
 *
 * The text may come from anybody who has an admin's key, so it is bounded: in bytes, in nesting, in what aliases make of it.
 */
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import type { z } from 'zod';
import type { Fault } from '#src/errors.ts';
import { faultsOf } from '#src/http/faults.ts';
import { checkFile, type Finding } from './check.ts';
import { type ProgramFile, programFileSchema } from './schema.ts';

export const sourceBytesMax = 1024 * 1024;
const depthMax = 24;
const aliasesMax = 100;
/** Values in the file, counted where aliases put them. */
const valuesMax = 200_000;
const faultsMax = 100;

/** What is wrong with a file, and where: line and column begin at 1. */
export interface FileFault extends Fault {
  readonly line: number;
  readonly column: number;
}

export interface Reading<File = ProgramFile> {
  /** Absent where there are faults. */
  readonly file?: File;
  readonly faults: readonly FileFault[];
  /** What may be meant so, but probably is not. */
  readonly warnings: readonly FileFault[];
  /** Says where in the text something stands that was found wrong later. */
  locate(finding: Finding): FileFault;
}

function pathOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function startOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

/** Whether something is written there: `key:` alone has a value without any text. */
function isWritten(node: unknown): boolean {
  if (!isScalar(node)) return startOf(node) !== undefined;
  return (node.range?.[1] ?? 0) > (node.range?.[0] ?? 0);
}

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

/** One step down a path; undefined where there is nothing. */
function stepInto(
  document: Document,
  node: unknown,
  part: string,
): { key?: unknown; value: unknown } | undefined {
  const at = isAlias(node) ? node.resolve(document) : node;
  if (isMap(at)) {
    const pair = pairOf(at, part);
    return pair && { key: pair.key, value: pair.value };
  }
  if (isSeq(at) && Number(part) < at.items.length) return { value: at.items[Number(part)] };
  return undefined;
}

/** Where the text of a scalar begins that stands in one line: after its quote. */
function textStart(scalar: Scalar): number | undefined {
  const start = scalar.range?.[0];
  if (start === undefined || !scalar.type || scalar.type.startsWith('BLOCK')) return undefined;
  return scalar.type === 'PLAIN' ? start : start + 1;
}

/** The node that a pointer names. */
function nodeAt(document: Document, pointer: string): unknown {
  let node: unknown = document.contents;
  for (const part of pathOf(pointer)) node = stepInto(document, node, part)?.value;
  return node;
}

/** As faults of zod's are worded (`http/faults.ts`). */
const unknownField = 'is not a known field';

/** The offset of what a pointer names; of what it stands in, where that is missing. */
function offsetOf(document: Document, { pointer, detail, offset }: Finding): number {
  let node: unknown = document.contents;
  let found = startOf(node) ?? 0;
  for (const part of pathOf(pointer)) {
    const step = stepInto(document, node, part);
    if (!step) return found;
    const isMeant = detail.startsWith(unknownField) || !isWritten(step.value);
    found = startOf(isMeant && step.key !== undefined ? step.key : step.value) ?? found;
    node = step.value;
  }
  if (offset !== undefined && isScalar(node)) return (textStart(node) ?? found - offset) + offset;
  return found;
}

/** Whether what aliases make of the file has more values than are allowed. */
function isTooMuch(value: unknown): boolean {
  let left = valuesMax;
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    left -= 1;
    if (left < 0) return true;
    if (typeof next === 'object' && next !== null) for (const inner of Object.values(next)) open.push(inner);
  }
  return false;
}

interface Misplaced {
  readonly at: number;
  readonly detail: string;
}

const unstorable = 'holds a character that cannot be stored';

/** Texts that YAML can say by escapes and no database can hold. */
function isUnstorable(value: unknown): boolean {
  return typeof value === 'string' && (value.includes('\0') || !value.isWellFormed());
}

/** Keys that stand twice, texts that cannot be stored, and nesting beyond the bound. The parser's own look for keys compares each with each. */
function misplacedIn(contents: Node | null): Misplaced[] {
  const wrong: Misplaced[] = [];
  const open: { node: unknown; depth: number }[] = [{ node: contents, depth: 1 }];
  while (open.length > 0 && wrong.length < faultsMax) {
    const { node, depth } = open.pop()!;
    if (isScalar(node) && isUnstorable(node.value)) {
      wrong.push({ at: startOf(node) ?? 0, detail: unstorable });
    } else if (depth > depthMax) {
      wrong.push({ at: startOf(node) ?? 0, detail: `is nested deeper than ${depthMax} levels` });
    } else if (isMap(node)) {
      const seen = new Set<string>();
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : '';
        if (isUnstorable(name)) wrong.push({ at: startOf(key) ?? 0, detail: unstorable });
        if (seen.has(name)) wrong.push({ at: startOf(key) ?? 0, detail: `${name} stands twice here` });
        seen.add(name);
        open.push({ node: value, depth: depth + 1 });
      }
    } else if (isSeq(node)) {
      for (const item of node.items) open.push({ node: isPair(item) ? item.value : item, depth: depth + 1 });
    }
  }
  return wrong;
}

/** Aliases of what does not stand before them. */
function lostAliases(document: Document): Misplaced[] {
  const anchors = new Map<string, Node>();
  const wrong: Misplaced[] = [];
  visit(document, {
    Node(_, node) {
      if (!isAlias(node)) {
        if ('anchor' in node && node.anchor !== undefined) anchors.set(node.anchor, node as Node);
        return;
      }
      const [meant, at] = [anchors.get(node.source), startOf(node) ?? 0];
      if (!meant) wrong.push({ at, detail: `*${node.source} is not named before by &${node.source}` });
      else if ((meant.range?.[1] ?? 0) > at)
        wrong.push({ at, detail: `*${node.source} stands inside what it means` });
    },
  });
  return wrong;
}

/** A parser that calls itself for each level runs out of stack. */
const tooDeep = 'is nested too deeply';

function parsed(source: string, lines: LineCounter): { document: Document; wrong: Misplaced[] } | string {
  try {
    const document = parseDocument(source, {
      lineCounter: lines,
      version: '1.2',
      schema: 'core',
      merge: false,
      resolveKnownTags: false,
      prettyErrors: false,
      stringKeys: true,
      uniqueKeys: false,
      logLevel: 'error',
    }) as Document;
    const complaints = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
      at: pos[0],
      detail: message.split('\n', 1)[0]!,
    }));
    if (complaints.some(({ detail }) => detail.includes('call stack'))) return tooDeep;
    if (complaints.length > 0) return { document, wrong: complaints };
    const misplaced = misplacedIn(document.contents);
    return { document, wrong: misplaced.length > 0 ? misplaced : lostAliases(document) };
  } catch (error) {
    return error instanceof RangeError ? tooDeep : 'cannot be read as YAML';
  }
}

function contentOf(document: Document): { value: unknown } | string {
  try {
    const value: unknown = document.toJS({ maxAliasCount: aliasesMax });
    return isTooMuch(value) ? `holds more than ${valuesMax} values` : { value };
  } catch (error) {
    return error instanceof Error
      ? `uses an alias that cannot be followed: ${error.message}`
      : 'uses a bad alias';
  }
}

function refused(detail: string): Reading<never> {
  const locate = (finding: Finding) => ({ ...finding, line: 1, column: 1 });
  return { faults: [locate({ pointer: '', detail })], warnings: [], locate };
}

/** What may stand where zod only says that none of the forms fits. */
const forms: readonly (readonly [ending: RegExp, detail: string])[] = [
  [/\/earn\/by$/, 'has to be amount, quantity, fixed, distance or fare'],
  [/\/pending\/kind$/, 'has to be days, day_of_month or event'],
  [/\/period\/kind$/, 'has to be calendar_year, rolling_months, anniversary, since_promotion or lifetime'],
  [/\/validity\/kind$/, 'has to be end_of_period, end_of_next_period, months or for_ever'],
  [/\/whenTakenBack\/kind$/, 'has to be until_end, days or nothing'],
  [/\/measure$/, 'has to be points, spend, visits, flights, distance or active_months'],
  [/\/(?:reach|keep)$/, 'has to be all: or any: with a list of measures'],
  [/\/kind$/, 'has to be never, days, month_end, year_end, birthday_month, inactivity or tier'],
];

/** Bounds in words of people who do not program. */
const bounds: readonly (readonly [message: RegExp, detail: string])[] = [
  [/^Too small: expected (?:number|int) to be >=?(.+)$/, 'has to be at least $1'],
  [/^Too big: expected (?:number|int) to be <=?(.+)$/, 'has to be at most $1'],
  [/^Too small: expected (?:string|array) to have >=1 (?:characters|items)$/, 'may not be empty'],
  [/^Too big: expected (?:string|array) to have <=(\d+) (characters|items)$/, 'has more than $1 $2'],
  [/^expected int, received number$/, 'has to be a whole number'],
  [/^expected ([a-z]+), received ([a-z]+)$/, 'has to be of type $1, not $2'],
  [/^Invalid ISO date$/, 'is not a day of the calendar, such as 2026-12-31'],
  [/^Invalid ISO datetime$/, 'is not a time with its offset, such as "2026-12-31T18:00:00+01:00"'],
];

function worded(fault: Fault, document: Document): Fault {
  const { pointer, detail } = fault;
  if (detail === unknownField) {
    // `{ repeat: FREQ=WEEKLY;BYDAY=MO,TU }` has a field TU without any value.
    return isWritten(nodeAt(document, pointer))
      ? fault
      : { pointer, detail: `${unknownField}; a text with a comma in braces has to stand in quotes` };
  }
  if (detail === 'fits none of the allowed forms') {
    const form = forms.find(([ending]) => ending.test(pointer));
    return form ? { pointer, detail: form[1] } : fault;
  }
  const bound = bounds.find(([message]) => message.test(detail));
  return bound ? { pointer, detail: detail.replace(bound[0], bound[1]) } : fault;
}

/** What a file has to be: its form, and what no form can say. */
export interface FileKind<File> {
  readonly schema: z.ZodType<File>;
  check(file: File): { readonly faults: readonly Finding[]; readonly warnings: readonly Finding[] };
}

/** Reads a program file and finds whatever is wrong with it; the faults stand in the order of the text. */
export function readProgramFile(source: string): Reading {
  return readFileText(source, { schema: programFileSchema, check: checkFile });
}

/** Reads a file of any kind as program files are read. */
export function readFileText<File>(source: string, kind: FileKind<File>): Reading<File> {
  if (Buffer.byteLength(source) > sourceBytesMax) return refused(`is larger than ${sourceBytesMax} bytes`);
  if (isUnstorable(source)) return refused(unstorable);
  const lines = new LineCounter();
  const text = parsed(source, lines);
  if (typeof text === 'string') return refused(text);
  const { document, wrong } = text;
  const placed = (at: number) => {
    const { line, col: column } = lines.linePos(at);
    return { line: Math.max(line, 1), column: Math.max(column, 1) };
  };
  const locate = ({ pointer, detail, offset }: Finding): FileFault => ({
    pointer,
    detail,
    ...placed(offsetOf(document, { pointer, detail, offset })),
  });
  const inOrder = (faults: readonly FileFault[]) =>
    faults.toSorted((a, b) => a.line - b.line || a.column - b.column).slice(0, faultsMax);
  if (wrong.length > 0) {
    const faults = wrong.map(({ at, detail }) => ({ pointer: '', detail, ...placed(at) }));
    return { faults: inOrder(faults), warnings: [], locate };
  }
  const content = contentOf(document);
  if (typeof content === 'string') return refused(content);
  const checked = kind.schema.safeParse(content.value);
  if (!checked.success) {
    const faults = faultsOf(checked.error, content.value).map((fault) => locate(worded(fault, document)));
    return { faults: inOrder(faults), warnings: [], locate };
  }
  const { faults, warnings } = kind.check(checked.data);
  const found = { faults: inOrder(faults.map(locate)), warnings: inOrder(warnings.map(locate)), locate };
  return faults.length > 0 ? found : { file: checked.data, ...found };
}
