/**
 * PURE. What a replay adds up: points by rule, segment, day and member, as the draft gives them and as the ledger has them.
 *
 * Segments are those that the receipt was judged by, on both sides and when something of it comes back. A member may be in several,
 * so their rows do not sum to the whole.
 */
import type { EpochMs, MemberNumber, Points } from '#src/values.ts';
import type { Definition } from '../file/definition.ts';
import type { KeptAward } from '../judge.ts';
import { costsOf, moneyOf } from './costs.ts';

export type Side = 'draft' | 'actual';
const sides = ['draft', 'actual'] as const;

/** Points of one rule in one currency. */
interface Sum {
  readonly rule: string;
  readonly currency: string;
  awards: number;
  points: Points;
  takenBack: Points;
  /** Of what was not taken back: points that have not expired when the replay ends. */
  lasting: Points;
}

/** One rule on one side. Money and liability are in minor units; null where the file does not say what points are worth. */
export interface Figures {
  readonly awards: number;
  /** Less what was taken back. */
  readonly points: Points;
  readonly takenBack: Points;
  readonly money: number | null;
  readonly liability: number | null;
}

export interface RuleFigures extends Readonly<Record<Side, Figures>> {
  readonly rule: string;
  readonly currency: string;
}

/** Points of the members of a segment in one currency, of all rules. */
export interface SegmentFigures extends Readonly<Record<Side, Figures>> {
  /** Null: receipts of members who were in none. */
  readonly segment: string | null;
  readonly receipts: number;
  readonly currency: string;
}

export interface FunderFigures extends Readonly<Record<Side, number>> {
  readonly funder: string;
}

export interface DayFigures extends Readonly<Record<Side, Points>> {
  readonly date: string;
}

export interface MemberFigures extends Readonly<Record<Side, Points>> {
  readonly member: MemberNumber;
}

type Sums = Map<string, Sum[]>;
type Totals = Record<Side, Points>;

/** What was judged by one version. */
interface Book {
  readonly definition: Definition;
  readonly sums: Sums;
}

/** By the version that judged. */
type Books = Readonly<Record<Side, Map<Definition, Book>>>;

interface OfSegment {
  receipts: number;
  readonly books: Books;
}

export interface Tally {
  /** A receipt, and the segments that its member was in. */
  receipt(segments: readonly string[]): void;
  /** Points that a receipt brings, or that come back of it. */
  add(side: Side, definition: Definition, award: KeptAward, sign: 1 | -1, segments: readonly string[]): void;
  /** Points of the main currency on a day. */
  day(date: string, side: Side, points: Points): void;
  rules(): RuleFigures[];
  segments(): SegmentFigures[];
  /** Minor units that each funder bears; undefined where a rule's cost is not known. */
  funders(): FunderFigures[];
  days(): DayFigures[];
}

function sumOf(sums: Sums, rule: string, currency: string): Sum {
  const known = sums.get(rule);
  const found = known?.find((sum) => sum.currency === currency);
  if (found) return found;
  const made = { rule, currency, awards: 0, points: 0, takenBack: 0, lasting: 0 };
  if (known) known.push(made);
  else sums.set(rule, [made]);
  return made;
}

function figuresOf({ definition }: Book, sum: Sum): Figures {
  const costs = costsOf(definition);
  const [cost, worth] = [costs.costOf(sum.rule, sum.currency), costs.worthOf(sum.currency)];
  const points = sum.points - sum.takenBack;
  return {
    awards: sum.awards,
    points,
    takenBack: sum.takenBack,
    money: cost ? moneyOf(points, cost) : null,
    liability: worth ? moneyOf(sum.lasting, worth) : null,
  };
}

const nothing: Figures = { awards: 0, points: 0, takenBack: 0, money: 0, liability: 0 };

/** `unknown`: what a sum is of which one part is not known. */
function plus(a: Figures, b: Figures, unknown: 'unknown' | 'left out'): Figures {
  const both = (x: number | null, y: number | null) => {
    if (x !== null && y !== null) return x + y;
    return unknown === 'unknown' ? null : (x ?? y);
  };
  return {
    awards: a.awards + b.awards,
    points: a.points + b.points,
    takenBack: a.takenBack + b.takenBack,
    money: both(a.money, b.money),
    liability: both(a.liability, b.liability),
  };
}

function newBooks(): Books {
  return { draft: new Map(), actual: new Map() };
}

function bookOf(books: Books, side: Side, definition: Definition): Book {
  const known = books[side].get(definition);
  if (known) return known;
  const made = { definition, sums: new Map() };
  books[side].set(definition, made);
  return made;
}

function eachSum(books: Books, act: (side: Side, book: Book, sum: Sum) => void): void {
  for (const side of sides)
    for (const book of books[side].values())
      for (const sums of book.sums.values()) for (const sum of sums) act(side, book, sum);
}

function ruleRows(books: Books): RuleFigures[] {
  const rows = new Map<string, { rule: string; currency: string } & Record<Side, Figures>>();
  eachSum(books, (side, book, sum) => {
    const { rule, currency } = sum;
    const key = `${rule} ${currency}`;
    const row = rows.get(key) ?? { rule, currency, draft: nothing, actual: nothing };
    row[side] = plus(row[side], figuresOf(book, sum), 'unknown');
    rows.set(key, row);
  });
  return [...rows.values()];
}

/** One row for each currency. Of rules whose cost nobody knows the points count, and no money, as in the sum over all rules. */
function segmentRows(segment: string | null, { receipts, books }: OfSegment): SegmentFigures[] {
  const rows = new Map<string, SegmentFigures>();
  for (const { currency, draft, actual } of ruleRows(books)) {
    const unknown = { ...nothing, money: null, liability: null };
    const row = rows.get(currency) ?? { segment, receipts, currency, draft: unknown, actual: unknown };
    rows.set(currency, {
      ...row,
      draft: plus(row.draft, draft, 'left out'),
      actual: plus(row.actual, actual, 'left out'),
    });
  }
  return [...rows.values()];
}

/** `endsAt`: points that expire by then are no liability. */
export function createTally(endsAt: EpochMs, isBySegment = false): Tally {
  const books = newBooks();
  const days = new Map<string, Totals>();
  const bySegment = new Map<string | null, OfSegment>();

  function ofSegment(segment: string | null): OfSegment {
    const known = bySegment.get(segment);
    if (known) return known;
    const made = { receipts: 0, books: newBooks() };
    bySegment.set(segment, made);
    return made;
  }

  function segmentsOf(names: readonly string[]): OfSegment[] {
    if (!isBySegment) return [];
    return names.length === 0 ? [ofSegment(null)] : names.map(ofSegment);
  }

  function addTo(to: Books, side: Side, definition: Definition, award: KeptAward, sign: 1 | -1): void {
    const { rule, currency, points, expiresAt } = award;
    const sum = sumOf(bookOf(to, side, definition).sums, rule, currency);
    if (sign > 0) {
      sum.awards += 1;
      sum.points += points;
    } else sum.takenBack += points;
    if (expiresAt === 0 || expiresAt > endsAt) sum.lasting += sign * points;
  }

  return {
    receipt(segments) {
      for (const each of segmentsOf(segments)) each.receipts += 1;
    },
    add(side, definition, award, sign, segments) {
      addTo(books, side, definition, award, sign);
      for (const each of segmentsOf(segments)) addTo(each.books, side, definition, award, sign);
    },
    day(date, side, points) {
      const known = days.get(date);
      if (known) known[side] += points;
      else days.set(date, { draft: 0, actual: 0, [side]: points });
    },
    rules: () => ruleRows(books),
    segments: () => [...bySegment].flatMap(([segment, figures]) => segmentRows(segment, figures)),
    funders() {
      const rows = new Map<string, FunderFigures & Totals>();
      eachSum(books, (side, { definition }, { rule, currency, points, takenBack }) => {
        const costs = costsOf(definition);
        const cost = costs.costOf(rule, currency);
        if (!cost) return;
        for (const { funder, percent } of costs.sharesOf(rule)) {
          const row = rows.get(funder) ?? { funder, draft: 0, actual: 0 };
          row[side] += moneyOf((points - takenBack) * percent, [cost[0], cost[1] * 100]);
          rows.set(funder, row);
        }
      });
      return [...rows.values()];
    },
    days: () => [...days].sort(([a], [b]) => (a < b ? -1 : 1)).map(([date, totals]) => ({ date, ...totals })),
  };
}
