/** PURE. What a replay adds up: points by rule, day and member, as the draft gives them and as the ledger has them. */
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

export interface Tally {
  add(side: Side, definition: Definition, award: KeptAward, points: Points, sign: 1 | -1): void;
  /** Points of the main currency on a day. */
  day(date: string, side: Side, points: Points): void;
  rules(): RuleFigures[];
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

function plus(a: Figures, b: Figures): Figures {
  const both = (x: number | null, y: number | null) => (x === null || y === null ? null : x + y);
  return {
    awards: a.awards + b.awards,
    points: a.points + b.points,
    takenBack: a.takenBack + b.takenBack,
    money: both(a.money, b.money),
    liability: both(a.liability, b.liability),
  };
}

/** `endsAt`: points that expire by then are no liability. */
export function createTally(endsAt: EpochMs): Tally {
  const books: Record<Side, Map<Definition, Book>> = { draft: new Map(), actual: new Map() };
  const days = new Map<string, Totals>();

  function bookOf(side: Side, definition: Definition): Book {
    const known = books[side].get(definition);
    if (known) return known;
    const made = { definition, sums: new Map() };
    books[side].set(definition, made);
    return made;
  }

  function eachSum(act: (side: Side, book: Book, sum: Sum) => void): void {
    for (const side of sides)
      for (const book of books[side].values())
        for (const sums of book.sums.values()) for (const sum of sums) act(side, book, sum);
  }

  return {
    add(side, definition, { rule, currency, expiresAt }, points, sign) {
      const sum = sumOf(bookOf(side, definition).sums, rule, currency);
      if (sign > 0) {
        sum.awards += 1;
        sum.points += points;
      } else sum.takenBack += points;
      if (expiresAt === 0 || expiresAt > endsAt) sum.lasting += sign * points;
    },
    day(date, side, points) {
      const known = days.get(date);
      if (known) known[side] += points;
      else days.set(date, { draft: 0, actual: 0, [side]: points });
    },
    rules() {
      const rows = new Map<string, { rule: string; currency: string } & Record<Side, Figures>>();
      eachSum((side, book, sum) => {
        const { rule, currency } = sum;
        const key = `${rule} ${currency}`;
        const row = rows.get(key) ?? { rule, currency, draft: nothing, actual: nothing };
        row[side] = plus(row[side], figuresOf(book, sum));
        rows.set(key, row);
      });
      return [...rows.values()];
    },
    funders() {
      const rows = new Map<string, FunderFigures & Totals>();
      eachSum((side, { definition }, { rule, currency, points, takenBack }) => {
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
