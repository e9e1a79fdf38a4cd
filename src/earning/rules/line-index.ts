/**
 * PURE. Which lines of a receipt the filters of a version mean. Most filters name categories, brands or SKUs and nothing else:
 * of those an index from name to filter is made once a version, and a receipt's lines are looked up in it once, not once for
 * every rule. Of 200 rules and ten lines that is a third of the time.
 */
import type { LineFilter } from '../file/basics-schema.ts';
import type { CountedLine } from './amounts.ts';
import type { PurchaseLine } from './types.ts';

type LineTest = (line: PurchaseLine) => boolean;

/** A category and those above it: `fresh/fruit` also lies in `fresh`. */
export function categoriesAbove(category: string): string[] {
  const above = [category];
  for (let slash = category.lastIndexOf('/'); slash > 0; slash = category.lastIndexOf('/', slash - 1))
    above.push(category.slice(0, slash));
  return above;
}

type Names = Pick<LineFilter, 'skus' | 'categories' | 'brands'>;

function testsOf({ skus, categories, brands }: Names): LineTest[] {
  const tests: LineTest[] = [];
  if (skus) {
    const set = new Set(skus);
    tests.push(({ sku }) => sku !== undefined && set.has(sku));
  }
  if (categories) {
    const set = new Set(categories);
    tests.push(
      ({ category }) => category !== undefined && categoriesAbove(category).some((each) => set.has(each)),
    );
  }
  if (brands) {
    const set = new Set(brands);
    tests.push(({ brand }) => brand !== undefined && set.has(brand));
  }
  return tests;
}

/** Which lines a filter means, apart from its condition; absent means all. */
export function compileLines(filter: LineFilter | undefined): LineTest {
  if (!filter) return () => true;
  const wanted = testsOf(filter);
  const unwanted = filter.except ? testsOf(filter.except) : [];
  return (line) => wanted.every((test) => test(line)) && !unwanted.some((test) => test(line));
}

/** The one kind of names that a filter consists of; undefined where it says more. */
function onlyNames(filter: LineFilter): [kind: string, names: readonly string[]] | undefined {
  const said = Object.entries(filter).filter(([, value]) => value !== undefined);
  const [kind, names] = said[0] ?? [];
  return said.length === 1 && kind !== undefined && Array.isArray(names)
    ? [kind, names as string[]]
    : undefined;
}

/** The lines that each indexed filter means, by the filter's number; none where nothing is said. */
export type IndexedLines = readonly (readonly CountedLine[] | undefined)[];

export interface LineIndex {
  /** Adds a filter; answers its number, or undefined where it must look at each line. */
  add(filter: LineFilter): number | undefined;
  /** Looks the lines of a receipt up. */
  of(lines: readonly CountedLine[]): IndexedLines;
}

export function createLineIndex(): LineIndex {
  /** By kind and name, such as `categories fresh`: the numbers of the filters that name it. */
  const byName = new Map<string, number[]>();
  const numbers = new Map<string, number>();
  let count = 0;

  function looked(found: CountedLine[][], key: string, line: CountedLine): void {
    for (const number of byName.get(key) ?? []) {
      const lines = found[number];
      if (!lines) found[number] = [line];
      // A line may lie in a category twice: in itself and in one above it.
      else if (lines.at(-1) !== line) lines.push(line);
    }
  }

  return {
    add(filter) {
      const only = onlyNames(filter);
      if (!only) return undefined;
      const [kind, names] = only;
      const same = JSON.stringify(only);
      const known = numbers.get(same);
      if (known !== undefined) return known;
      const number = count;
      count += 1;
      numbers.set(same, number);
      for (const name of new Set(names)) {
        const key = `${kind} ${name}`;
        const filters = byName.get(key);
        if (filters) filters.push(number);
        else byName.set(key, [number]);
      }
      return number;
    },
    of(lines) {
      const found: CountedLine[][] = [];
      if (count === 0) return found;
      for (const line of lines) {
        const { category, brand, sku } = line;
        if (category !== undefined)
          for (const each of categoriesAbove(category)) looked(found, `categories ${each}`, line);
        if (brand !== undefined) looked(found, `brands ${brand}`, line);
        if (sku !== undefined) looked(found, `skus ${sku}`, line);
      }
      return found;
    },
  };
}
