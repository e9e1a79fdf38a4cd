/** PURE. How many members have which facts: what a run sums up while it decides, and reports show. */
import type { Facts, Measured } from './scores.ts';

export interface Group {
  readonly members: number;
  /** Minor units in the window. */
  readonly spend: number;
  /** Minor units that are expected. */
  readonly value: number;
}

/** By fact or `segment`, and by its value. `cell` is recency and frequency score together, such as `5.3`. */
export type Tally = Readonly<Record<string, Readonly<Record<string, Group>>>>;

const counted = [
  'spend_class',
  'lifecycle',
  'value_class',
  'recency_score',
  'frequency_score',
  'monetary_score',
] as const;

/** Members to be summed up; `add` takes one after the other. */
export interface Tallying {
  add(measured: Measured, facts: Facts, segments: readonly string[]): void;
  readonly tally: Tally;
}

export function tallying(before: Tally): Tallying {
  const tally = structuredClone(before) as Record<
    string,
    Record<string, { -readonly [K in keyof Group]: number }>
  >;
  function count(name: string, value: string, { monetary, expected }: Measured): void {
    tally[name] ??= {};
    tally[name][value] ??= { members: 0, spend: 0, value: 0 };
    const group = tally[name][value];
    group.members += 1;
    group.spend += monetary;
    group.value += expected?.value ?? 0;
  }
  return {
    tally,
    add(measured, facts, segments) {
      for (const name of counted) {
        const value = facts[name];
        if (value !== undefined) count(name, String(value), measured);
      }
      count('cell', `${facts.recency_score}.${facts.frequency_score}`, measured);
      count('all', 'members', measured);
      for (const segment of segments) count('segment', segment, measured);
    },
  };
}

/** Groups of a report, in their order, and the order inside them where it is not that of the names. */
export const groups = [
  { fact: 'segment', title: 'segments', order: [] },
  {
    fact: 'lifecycle',
    title: 'lifecycle',
    order: ['new', 'growing', 'mature', 'declining', 'lapsed', 'won_back'],
  },
  { fact: 'spend_class', title: 'share of spend', order: ['a', 'b', 'c'] },
  { fact: 'value_class', title: 'expected value', order: ['high', 'medium', 'low'] },
  { fact: 'recency_score', title: 'recency score', order: ['5', '4', '3', '2', '1', '0'] },
  { fact: 'frequency_score', title: 'frequency score', order: ['5', '4', '3', '2', '1', '0'] },
  { fact: 'monetary_score', title: 'monetary score', order: ['5', '4', '3', '2', '1', '0'] },
] as const;

const nobody: Group = { members: 0, spend: 0, value: 0 };

/** The rows of a group that are not empty. */
export function rowsOf(
  tally: Tally,
  { fact, order }: { readonly fact: string; readonly order: readonly string[] },
): [name: string, group: Group][] {
  const found = tally[fact] ?? {};
  const names = order.length > 0 ? order : Object.keys(found).toSorted();
  return names.flatMap((name): [string, Group][] => (found[name] ? [[name, found[name]]] : []));
}

export function allOf(tally: Tally): Group {
  return tally.all?.members ?? nobody;
}

export function percentText(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((part / whole) * 100).toFixed(1)} %`;
}
