/**
 * PURE. What is taken back from an accrual: the part of the input of `undo.lua` that concerns it. Reversals and returns
 * share it.
 *
 * What remains of the receipt is judged by the version of the purchase, and an award keeps what its rule would have given
 * for that, at most what it gave. A rule may say `proportional`: then it keeps the share of the receipt that remains. Taken
 * back is what an award gave less what it keeps, less what was taken before, and never less than that; once everything has
 * come back it is all, so pieces and order do not matter. Where the rule would no longer give for the whole receipt what it
 * gave, because what is known of the member has changed since, the proportion decides as well.
 */
import type { OperationHex } from '#src/values.ts';
import { ordersFrom } from '#src/wallet/counter-state.ts';
import type { Wish } from '#src/wallet/operation-state.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { partsOf } from './award-parts.ts';
import {
  type AccrualSubject,
  askedAwards,
  judge,
  type KeptAssumption,
  type KeptAward,
  keptAwards,
  looksAtMember,
} from './judge.ts';
import { type Program, type ProgramVersion, versionNumbered } from './program.ts';
import {
  amountReturned,
  nothingReturned,
  parseReturned,
  type ReturnedLine,
  type ReturnedSoFar,
  remainingOf,
  returnedAfter,
} from './returned.ts';
import { mulDiv } from './rules/amounts.ts';
import { momentOf } from './rules/calendar.ts';
import { rulesOf } from './rules/compile.ts';
import { limitsOf } from './rules/judging.ts';
import type { Award, CounterValues, JudgedMember, Judgement, Limit, Purchase } from './rules/types.ts';

/** State of an original as the wallet knows it: which version the caller decides on, and the note kept with it. */
export interface OriginalState {
  readonly version: number;
  readonly note: string;
}

export const untouched: OriginalState = { version: 0, note: '' };

/** [counter, period, by]: what a counter goes down by; `by` is negative. */
export type Uncounted = readonly [counter: number, period: number, by: number];

/** [budget, currency, points]: what comes back to a budget. */
export type BackToBudget = readonly [budget: number, currency: number, points: number];

/** [operation, version, note, [[currency, points, part?], …], counters, budgets]: one original in the input of `undo.lua`. */
export type Undone = readonly [
  operation: OperationHex,
  version: number,
  note: string,
  parts: readonly Wish[],
  counters?: readonly Uncounted[],
  budgets?: readonly BackToBudget[],
];

export interface TakenBack {
  readonly undone: Undone;
  readonly awards: readonly KeptAward[];
  readonly before: ReturnedSoFar;
  readonly after: ReturnedSoFar;
}

/** What is asked of each part of an accrual, so that points go back to who gave them, each from its own lot. */
function wishesOf(program: Program, accrual: Recorded, points: readonly number[]): Wish[] {
  const wishes = new Map<string, [currency: number, points: number, part?: number]>();
  for (const [i, { award, part }] of partsOf(accrual).entries()) {
    const currency = program.currencyByCode.get(award.currency)!.number;
    const key = `${currency}.${part}`;
    const wish = wishes.get(key) ?? (part === undefined ? [currency, 0] : [currency, 0, part]);
    wish[1] += points[i]!;
    wishes.set(key, wish);
  }
  return [...wishes.values()].filter(([, asked]) => asked > 0);
}

function purchaseOf(accrual: Recorded): Purchase | undefined {
  return (accrual.request.body as { purchase?: Purchase } | undefined)?.purchase;
}

/** The version that an accrual was judged by. */
export function versionOfAccrual(program: Program, accrual: Recorded): ProgramVersion {
  return versionNumbered(program, accrual.request.programVersion, accrual.occurredAt);
}

/**
 * The counters as they stood before the operation, which its record says of each that it changed: whoever spent 80.00 before
 * and keeps 30.00 of 40.00 has still reached 100.00. Of others the highest that all assumptions allow.
 */
export function countersThen(accrual: Pick<Recorded, 'request' | 'effect'>): CounterValues {
  const assumptions = (accrual.request.assumptions as KeptAssumption[] | undefined) ?? [];
  const changed = accrual.effect.counters ?? [];
  return ({ counter, period }) => {
    const row = changed.find((each) => each[0] === counter && each[1] === period);
    if (row) return row[3] - row[2];
    const ranges = assumptions.filter((range) => range.counter === counter && range.period === period);
    return ranges.length > 0 ? Math.max(...ranges.map(({ from }) => from)) : undefined;
  };
}

/** Judges what was bought, flown or done again with what is left of it. */
type Rejudge = (soFar: ReturnedSoFar) => Judgement;

function rejudgeOf(
  program: Program,
  version: ProgramVersion,
  accrual: Recorded,
  member: JudgedMember,
): Rejudge {
  const subject = (accrual.request.body as AccrualSubject | undefined) ?? {};
  const asked = {
    subject,
    member,
    counters: countersThen(accrual),
    occurredAt: accrual.occurredAt,
    postedAt: accrual.at,
  };
  const { purchase } = subject;
  // Awards and counters ask for the same states: each is judged once.
  const judgements = new Map<ReturnedSoFar, Judgement>();
  return (soFar) => {
    const known = judgements.get(soFar);
    if (known) return known;
    const rest = purchase ? { ...asked, remaining: remainingOf(purchase, soFar) } : asked;
    const judgement = judge(program, version, rest);
    judgements.set(soFar, judgement);
    return judgement;
  };
}

function sameAward({ awards }: Judgement, { rule, currency }: KeptAward): Award | undefined {
  return awards.find((award) => award.rule === rule && award.currency === currency);
}

/** Points that an award keeps of what it gave, once so much has come back. */
type Keeps = (award: KeptAward, asked: number) => number;

function keeperOf(
  { definition }: ProgramVersion,
  lines: readonly { readonly amount: number }[],
  rejudge: Rejudge,
  soFar: ReturnedSoFar,
): Keeps {
  if (soFar.all) return () => 0;
  const whole = rejudge(nothingReturned);
  const rest = rejudge(soFar);
  const total = lines.reduce((sum, { amount }) => sum + amount, 0);
  const left = total - amountReturned(soFar);
  const givers = [...definition.rules, ...definition.promotions];
  return (award, asked) => {
    const isSame = sameAward(whole, award)?.points === asked;
    const isReevaluated = givers.find(({ name }) => name === award.rule)?.returns !== 'proportional';
    if (isReevaluated && isSame) return Math.min(award.points, sameAward(rest, award)?.points ?? 0);
    return total === 0 ? award.points : mulDiv(award.points, left, total, 'floor');
  };
}

/** Points taken of each award in all once so much has come back; never less than were taken before. */
function takenOf(
  awards: readonly KeptAward[],
  asked: readonly KeptAward[],
  before: readonly number[],
  keeps: Keeps,
  more: readonly number[] = [],
): number[] {
  return awards.map((award, i) => {
    const kept = keeps(award, asked[i]!.points) + (more[i] ?? 0);
    return Math.max(before[i] ?? 0, award.points - kept);
  });
}

/** Points taken of each award until now; notes of versions before do not say it. */
function takenUntil(
  version: ProgramVersion,
  accrual: Recorded,
  { note }: OriginalState,
  rejudge: Rejudge,
): readonly number[] {
  if (note === '') return [];
  const before = parseReturned(note);
  if (before.taken) return before.taken;
  const keeps = keeperOf(version, purchaseOf(accrual)?.lines ?? [], rejudge, before);
  return takenOf(keptAwards(accrual), askedAwards(accrual), [], keeps);
}

/** The caps that an award counted in, whoever its member is by now. */
function capsOfAward({ definition }: ProgramVersion, accrual: Recorded, { rule }: KeptAward): Limit[] {
  const { purchase, flight, grant } = (accrual.request.body as AccrualSubject | undefined) ?? {};
  const { givers, timeZone } = rulesOf(definition);
  const giver = grant ? undefined : givers.get(rule);
  const moment = momentOf(accrual.occurredAt, timeZone);
  return giver ? limitsOf(giver, { subject: { purchase, flight }, moment }) : [];
}

/** What counters go down by: caps by the points that are taken, purchases and spending by what comes back. */
function uncounted(
  version: ProgramVersion,
  accrual: Recorded,
  rejudge: Rejudge,
  [before, after]: readonly [ReturnedSoFar, ReturnedSoFar],
  awards: readonly KeptAward[],
): Uncounted[] {
  // Of what had come back whole before nothing is counted any more.
  const had = before.all ? undefined : rejudge(before);
  const has = after.all ? undefined : rejudge(after);
  const caps = awards.flatMap((award) =>
    capsOfAward(version, accrual, award).map(
      ({ counter, period }): Uncounted => [counter, period, -award.points],
    ),
  );
  const counts = (had?.counts ?? []).map(({ counter, period, by }): Uncounted => {
    const kept = has?.counts.find((count) => count.counter === counter && count.period === period);
    return [counter, period, (kept?.by ?? 0) - by];
  });
  return [...caps, ...counts].filter(([, , by]) => by < 0);
}

/** What comes back to budgets: of each award what is taken of it, because all that it gave was its budget's. */
function backToBudgets(
  program: Program,
  { definition }: ProgramVersion,
  awards: readonly KeptAward[],
): BackToBudget[] {
  if (definition.budgets.length === 0) return [];
  const givers = [...definition.rules, ...definition.promotions];
  return awards.flatMap(({ rule, currency, points }) => {
    const budget = givers.find(({ name }) => name === rule)?.budget;
    if (budget === undefined) return [];
    return [
      [definition.numbers.budgets[budget]!, program.currencyByCode.get(currency)!.number, points] as const,
    ];
  });
}

/** Whether taking back from an accrual depends on what is known of its member. */
export function asksOfMember(program: Program, accrual: Recorded): boolean {
  return looksAtMember(versionOfAccrual(program, accrual));
}

/** How much of a receipt has come back once `lines` have, too; undefined when that is more than was bought. */
export function afterReturn(
  accrual: Recorded,
  state: OriginalState,
  lines: readonly ReturnedLine[] | undefined,
): ReturnedSoFar | undefined {
  return returnedAfter(purchaseOf(accrual)?.lines ?? [], parseReturned(state.note), lines);
}

/** An award of a receipt of which something has come back. */
export interface AwardLeft {
  readonly given: KeptAward;
  /** Points of it that nothing has taken back until now. */
  readonly holds: number;
  /** Points that it keeps of these by what is left of its own receipt. */
  readonly keeps: number;
  /** Points that its rule would ask for, before caps. */
  readonly asks: number;
  /** The cap on what its rule gives for one order. */
  readonly limit: Limit | undefined;
}

function tightest(limits: readonly Limit[]): Limit | undefined {
  return limits.toSorted((a, b) => a.pointsMax - b.pointsMax)[0];
}

/** Whether what is taken of an accrual depends on other receipts of its order. */
export function isOfOrder(program: Program, accrual: Recorded): boolean {
  const version = versionOfAccrual(program, accrual);
  return askedAwards(accrual).some((award) => capsOfAward(version, accrual, award).some(isNamed));
}

function isNamed({ period }: Limit): boolean {
  return period >= ordersFrom;
}

/** What is left of each award once `after` of its receipt has come back. */
export function awardsLeft(
  program: Program,
  accrual: Recorded,
  state: OriginalState,
  after: ReturnedSoFar,
  member: JudgedMember,
): AwardLeft[] {
  const version = versionOfAccrual(program, accrual);
  const rejudge = rejudgeOf(program, version, accrual, member);
  const takenBefore = takenUntil(version, accrual, state, rejudge);
  const keeps = keeperOf(version, purchaseOf(accrual)?.lines ?? [], rejudge, after);
  const asked = askedAwards(accrual);
  return keptAwards(accrual).map((given, i) => {
    const holds = given.points - (takenBefore[i] ?? 0);
    return {
      given,
      holds,
      keeps: Math.min(holds, keeps(given, asked[i]!.points)),
      asks: keeps(asked[i]!, asked[i]!.points),
      limit: tightest(capsOfAward(version, accrual, given).filter(isNamed)),
    };
  });
}

/** What is taken from an accrual so that `after` of its receipt has come back; `more`: what its awards keep for others of the order. */
export function takeBackTo(
  program: Program,
  accrual: Recorded,
  state: OriginalState,
  after: ReturnedSoFar,
  member: JudgedMember,
  more: readonly number[] = [],
): TakenBack {
  const before = parseReturned(state.note);
  const version = versionOfAccrual(program, accrual);
  const rejudge = rejudgeOf(program, version, accrual, member);
  const [given, asked] = [keptAwards(accrual), askedAwards(accrual)];
  const keeps = keeperOf(version, purchaseOf(accrual)?.lines ?? [], rejudge, after);
  const takenBefore = takenUntil(version, accrual, state, rejudge);
  const taken = takenOf(given, asked, takenBefore, keeps, more);
  const takenNow = taken.map((points, i) => points - (takenBefore[i] ?? 0));
  const awards = given
    .map((award, i) => ({ ...award, points: takenNow[i]! }))
    .filter(({ points }) => points > 0);
  const note = JSON.stringify({ ...after, taken });
  const counters = uncounted(version, accrual, rejudge, [before, after], awards);
  const budgets = accrual.effect.budgets ? backToBudgets(program, version, awards) : [];
  const parts = wishesOf(program, accrual, takenNow);
  return {
    undone:
      counters.length + budgets.length > 0
        ? [accrual.operation, state.version, note, parts, counters, budgets]
        : [accrual.operation, state.version, note, parts],
    awards,
    before,
    after,
  };
}
