/**
 * PURE. Which lines of a receipt the filters of a version mean. Most filters name categories, brands or SKUs and nothing else:
 * of those an index from name to filter is made once a version, and a receipt's lines are looked up in it once, not once for
 * every rule. Of 200 rules and ten lines that is a third of the time. Other filters without a condition look at each line, once
 * a receipt however many rules have the same one.
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

/** So many categories are remembered; real catalogues have a few thousand. */
const rememberedMax = 10_000;

/** Remembers what is worked out from a category; receipts name the same ones again and again. */
function remembering<Answer>(work: (category: string) => Answer): (category: string) => Answer {
  const known = new Map<string, Answer>();
  return (category) => {
    let answer = known.get(category);
    if (answer === undefined) {
      if (known.size >= rememberedMax) known.clear();
      answer = work(category);
      known.set(category, answer);
    }
    return answer;
  };
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
    const isNamed = remembering((category) => categoriesAbove(category).some((each) => set.has(each)));
    tests.push(({ category }) => category !== undefined && isNamed(category));
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
function onlyNames({ except, skus, categories, brands }: LineFilter) {
  const said = Object.entries({ skus, categories, brands }).flatMap(([kind, names]) =>
    names ? [[kind as keyof Names, names] as const] : [],
  );
  return except === undefined && said.length === 1 ? said[0] : undefined;
}

/** A receipt's lines, by the numbers of the filters that mean them; filled where it is asked for. */
export interface IndexedLines {
  readonly lines: readonly CountedLine[];
  readonly found: (CountedLine[] | undefined)[];
}

export interface LineIndex {
  /** Adds a filter; answers its number, which equal ones share, or undefined where it has a condition. */
  add(filter: LineFilter): number | undefined;
  /** Looks the lines of a receipt up. */
  of(lines: readonly CountedLine[]): IndexedLines;
  /** The lines that a filter means: the same list whenever it is asked for. */
  linesOf(indexed: IndexedLines, filter: number): readonly CountedLine[];
}

const none: readonly CountedLine[] = [];

/** Numbers of filters by the names of one kind. */
type ByName = Map<string, number[]>;

export function createLineIndex(): LineIndex {
  const byKind: Record<keyof Names, ByName> = { categories: new Map(), brands: new Map(), skus: new Map() };
  const numbers = new Map<string, number>();
  /** Of filters that say more than names. */
  const tests: (LineTest | undefined)[] = [];
  const ofCategory = remembering((category) => [
    ...new Set(categoriesAbove(category).flatMap((each) => byKind.categories.get(each) ?? [])),
  ]);

  function put(found: CountedLine[][], filters: readonly number[], line: CountedLine): void {
    for (const number of filters) {
      const lines = found[number];
      if (lines) lines.push(line);
      else found[number] = [line];
    }
  }

  return {
    add(filter) {
      if (filter.when !== undefined) return undefined;
      const same = JSON.stringify(filter);
      const known = numbers.get(same);
      if (known !== undefined) return known;
      const number = numbers.size;
      numbers.set(same, number);
      const only = onlyNames(filter);
      tests[number] = only ? undefined : compileLines(filter);
      for (const name of new Set(only?.[1])) {
        const byName = byKind[only![0]];
        byName.set(name, [...(byName.get(name) ?? []), number]);
      }
      return number;
    },
    of(lines) {
      const found: CountedLine[][] = [];
      for (const line of lines) {
        const { category, brand, sku } = line;
        if (category !== undefined) put(found, ofCategory(category), line);
        if (brand !== undefined) put(found, byKind.brands.get(brand) ?? [], line);
        if (sku !== undefined) put(found, byKind.skus.get(sku) ?? [], line);
      }
      return { lines, found };
    },
    linesOf({ lines, found }, filter) {
      const test = tests[filter];
      if (test) found[filter] ??= lines.filter(test);
      return found[filter] ?? none;
    },
  };
}
