/**
 * PURE. What a redemption was worth in money, as it was judged then, and how much of that comes back with its points.
 *
 * The worth is kept with the operation, so refunds and returns never ask what points are worth today. Parts of it follow
 * cumulative totals, floor(worth × points that have come back / all points), so that points which come back in any pieces
 * bring back exactly what they were worth together.
 */
import type { Program } from '#src/earning/program.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import type { Points } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';

/** What points of some currencies were worth together. */
export interface WorthGroup {
  /** Currencies by number. */
  readonly currencies: readonly number[];
  readonly points: Points;
  readonly amount: number;
}

export interface Worth {
  /** ISO 4217. */
  readonly currency: string;
  readonly groups: readonly WorthGroup[];
}

/** A part of a price in points, and what it was worth where a rule said so. */
export type WorthPart = readonly [currency: number, points: Points, amount: number];

/** What is kept of a judged redemption beside its body. */
export interface KeptWorth {
  readonly programVersion: number;
  /** RFC 3339; the time that rules and rates were those of. */
  readonly judgedAt: string;
  /** Names of the rules, by currency code. */
  readonly rules: Readonly<Record<string, string>>;
  readonly value: MoneyAmount;
  readonly parts: readonly WorthPart[];
}

/** floor(whole × part / total), exactly; between 0 and `whole`. */
export function portionOf(whole: number, part: number, total: number): number {
  if (total <= 0 || part >= total) return whole;
  return part <= 0 ? 0 : Number((BigInt(whole) * BigInt(part)) / BigInt(total));
}

type Priced = Pick<Recorded, 'request'>;

/** What a redemption or hold was worth by the rules that it was judged by; undefined where no rule judged it. */
export function keptWorth({ request }: Priced): KeptWorth | undefined {
  return request.worth as KeptWorth | undefined;
}

/** The value that a movement shows: what a rule said, else what its caller said. */
export function shownValue(recorded: Priced): MoneyAmount | undefined {
  const body = recorded.request.body as { value?: MoneyAmount } | undefined;
  return keptWorth(recorded)?.value ?? body?.value;
}

/**
 * What a redemption was worth. What a caller said without a rule is spread over all its points alike: nobody said which
 * currency was worth what.
 */
export function worthOf(
  redemption: Priced,
  parts: readonly (readonly [currency: number, points: Points])[],
): Worth | undefined {
  const kept = keptWorth(redemption);
  if (kept) {
    const groups = kept.parts.map(([number, points, amount]) => ({ currencies: [number], points, amount }));
    return { currency: kept.value.currency, groups };
  }
  const value = shownValue(redemption);
  if (!value) return undefined;
  const points = parts.reduce((sum, part) => sum + part[1], 0);
  const currencies = parts.map(([number]) => number);
  return { currency: value.currency, groups: [{ currencies, points, amount: value.amount }] };
}

export function totalOf({ groups }: Worth): number {
  return groups.reduce((sum, { amount }) => sum + amount, 0);
}

type PointsBy = Readonly<Record<string, number>>;

function pointsOf({ currencies }: WorthGroup, soFar: PointsBy): Points {
  return currencies.reduce((sum, number) => sum + (soFar[number] ?? 0), 0);
}

/** The money that points stand for which come back: by currency number, those before and those with this movement. */
export function worthBack({ groups }: Pick<Worth, 'groups'>, before: PointsBy, after: PointsBy): number {
  return groups.reduce(
    (sum, group) =>
      sum +
      portionOf(group.amount, pointsOf(group, after), group.points) -
      portionOf(group.amount, pointsOf(group, before), group.points),
    0,
  );
}

/** The same for points of one currency; undefined where nobody said what it was worth by itself. */
export function worthBackOf(
  { groups }: Worth,
  number: number,
  before: PointsBy,
  after: PointsBy,
): number | undefined {
  const group = groups.find(({ currencies }) => currencies.length === 1 && currencies[0] === number);
  return group && worthBack({ groups: [group] }, before, after);
}

/** The worth of a capture: all of the hold's, or the share that its points are of the held ones, rounded down. */
export function capturedWorth(hold: KeptWorth, points: Points | undefined): KeptWorth {
  if (points === undefined) return hold;
  const parts = hold.parts.map(([number, held, amount]): WorthPart => {
    const captured = Math.min(points, held);
    return [number, captured, portionOf(amount, captured, held)];
  });
  const amount = parts.reduce((sum, part) => sum + part[2], 0);
  return { ...hold, parts, value: { ...hold.value, amount } };
}

/** Why a redemption or hold was worth what it was, as it was judged then; undefined where no rule judged it. */
export function explainWorth(program: Program, recorded: Priced): Record<string, unknown> | undefined {
  const worth = keptWorth(recorded);
  if (!worth) return undefined;
  const { programVersion, judgedAt, value } = worth;
  const rules = worth.parts.map(([number, points, amount]) => {
    const code = program.currencyByNumber.get(number)?.code ?? String(number);
    const own = { amount, currency: value.currency };
    return {
      rule: worth.rules[code],
      outcome: 'applied',
      currency: code,
      points,
      rounding: 'floor',
      value: own,
    };
  });
  return { programVersion, judgedAt, value, rules };
}
