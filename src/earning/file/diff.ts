/** PURE. What is different between two program files, in their own words. */
import type { ProgramFile } from './schema.ts';

export interface FieldChange {
  /** Such as `earn.points` or `caps.month.points`. */
  readonly field: string;
  /** As the file writes it; absent where the field is new or gone. */
  readonly from?: string;
  readonly to?: string;
}

export interface Change {
  readonly change: 'added' | 'removed' | 'changed' | 'moved';
  /** `rule`, `promotion`, `currency`… or `setting` for what the file has once. */
  readonly what: string;
  readonly name: string;
  readonly fields: readonly FieldChange[];
}

const lists = [
  ['currencies', 'currency'],
  ['rules', 'rule'],
  ['promotions', 'promotion'],
  ['groups', 'group'],
  ['budgets', 'budget'],
  ['redemption', 'redemption rule'],
  ['ladders', 'ladder'],
  ['examples', 'example'],
] as const;
/** The order says which one holds, or which one is meant where none is named. */
const orderedLists: readonly string[] = ['redemption', 'currencies', 'ladders'];
/** Lists inside an item whose order says something. */
const orderedFields: readonly string[] = ['tiers'];
const fractions: readonly string[] = ['by', 'factorMax', 'costPerPoint'];

function nameOf(item: object, place: number): string {
  const { name, code, period, funder, codes, currency, from, measure } = item as Readonly<
    Record<string, unknown>
  >;
  if (currency !== undefined && from !== undefined) return `${String(currency)} ${String(from)}`;
  if (measure !== undefined) return String(currency ?? measure);
  const named = name ?? code ?? period ?? funder ?? (Array.isArray(codes) ? codes.join('') : undefined);
  return named === undefined ? String(place + 1) : String(named);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Every value of an item by the path of its field; lists of plain values are one value. */
function leavesOf(value: unknown, path: readonly string[] = []): [field: string, text: string][] {
  if (value === undefined) return [];
  if (Array.isArray(value)) {
    const items = value as readonly unknown[];
    if (fractions.includes(path.at(-1) ?? '')) {
      const [numerator, denominator] = items as readonly [number, number];
      return [[path.join('.'), String(numerator / denominator)]];
    }
    if (items.some((item) => typeof item === 'object' && item !== null)) {
      const names = items.map((item, place) => nameOf(item as object, place));
      const order: [string, string][] = orderedFields.includes(path.at(-1) ?? '')
        ? [[path.join('.'), names.join(', ')]]
        : [];
      return [...order, ...items.flatMap((item, place) => leavesOf(item, [...path, names[place]!]))];
    }
    return items.length === 0 ? [] : [[path.join('.'), items.map(textOf).join(', ')]];
  }
  if (typeof value !== 'object' || value === null) return [[path.join('.'), textOf(value)]];
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
}

function fieldsBetween(before: unknown, after: unknown): FieldChange[] {
  const [old, next] = [new Map(leavesOf(before)), new Map(leavesOf(after))];
  const changes: FieldChange[] = [];
  for (const field of new Set([...old.keys(), ...next.keys()])) {
    const [from, to] = [old.get(field), next.get(field)];
    if (from === to) continue;
    changes.push({ field, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) });
  }
  return changes;
}

/** The first item that stands elsewhere among those that both files have. */
function movedIn(old: ReadonlyMap<string, object>, next: ReadonlyMap<string, object>): string | undefined {
  const before = [...old.keys()].filter((name) => next.has(name));
  const after = [...next.keys()].filter((name) => old.has(name));
  return after.find((name, i) => name !== before[i]);
}

function itemsBetween(
  list: string,
  what: string,
  before: readonly object[],
  after: readonly object[],
): Change[] {
  const byName = (items: readonly object[]) => new Map(items.map((item, i) => [nameOf(item, i), item]));
  const [old, next] = [byName(before), byName(after)];
  const changes: Change[] = [];
  for (const [name, item] of next) {
    const was = old.get(name);
    const fields = fieldsBetween(was, item).filter(({ field }) => field !== 'name' && field !== 'code');
    if (!was) changes.push({ change: 'added', what, name, fields });
    else if (fields.length > 0) changes.push({ change: 'changed', what, name, fields });
  }
  for (const name of old.keys())
    if (!next.has(name)) changes.push({ change: 'removed', what, name, fields: [] });
  const moved = orderedLists.includes(list) ? movedIn(old, next) : undefined;
  if (moved !== undefined) changes.push({ change: 'moved', what, name: moved, fields: [] });
  return changes;
}

/** What the second file says otherwise than the first. */
export function changesBetween(before: ProgramFile, after: ProgramFile): Change[] {
  const listed: readonly string[] = lists.map(([list]) => list);
  const settings = (file: ProgramFile) =>
    Object.fromEntries(Object.entries(file).filter(([key]) => !listed.includes(key)));
  const fields = fieldsBetween(settings(before), settings(after));
  return [
    ...fields.map(
      (field): Change => ({ change: 'changed', what: 'setting', name: field.field, fields: [field] }),
    ),
    ...lists.flatMap(([list, what]) => itemsBetween(list, what, before[list], after[list])),
  ];
}

function fieldText({ field, from, to }: FieldChange): string {
  if (from === undefined) return `${field}: ${to}`;
  return to === undefined ? `${field}: ${from} → gone` : `${field}: ${from} → ${to}`;
}

/** The changes for people: one line each, its fields below. */
export function changesText(changes: readonly Change[]): string {
  if (changes.length === 0) return 'Nothing is different.';
  return changes
    .flatMap(({ change, what, name, fields }) => {
      if (what === 'setting') return fields.map(fieldText);
      const heading = change === 'moved' ? `${what} ${name} stands elsewhere` : `${what} ${name} ${change}`;
      return [heading, ...fields.map((field) => `    ${fieldText(field)}`)];
    })
    .join('\n');
}
