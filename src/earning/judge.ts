/**
 * PURE. What a receipt, flight, activity or grant earns under a version: money is made the program's, rules judge, and what
 * comes out is put into the numbers that scripts know.
 */
import type { EpochMs, Points } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { type Program, type ProgramVersion, partyOf } from './program.ts';
import { countedOf, shareOf } from './rules/amounts.ts';
import { rulesOf } from './rules/compile.ts';
import { evaluate } from './rules/evaluate.ts';
import { type Explained, explain, type GivenByScript } from './rules/explain.ts';
import type { Question } from './rules/judging.ts';
import { toProgramAmount, toProgramMoney } from './rules/money.ts';
import type { Assumption, Award, Judgement, PurchaseLine, Subject } from './rules/types.ts';
import type { AccrualBody } from './schemas.ts';

/** What an accrual is for: one of the four. */
export type AccrualSubject = Pick<AccrualBody, 'purchase' | 'flight' | 'activity' | 'grant'>;

/** What is judged apart from the version. */
export type Asked = Omit<Question, 'subject'> & { readonly subject: AccrualSubject };

/** Points that a partner's system has worked out itself: no rule judges them. */
function grantAward(program: Program, grant: NonNullable<AccrualSubject['grant']>): Award {
  return {
    currency: grant.currency ?? program.mainCurrency.code,
    points: grant.points,
    rule: grant.product,
    funder: 'program',
    availableAt: 0,
    expiresAt: 0,
  };
}

/** The remaining amounts of lines in the program's money: converted as the whole lines are, each rounded down. */
function remainingInProgramMoney(
  { definition }: ProgramVersion,
  { subject: { purchase }, remaining, occurredAt }: Pick<Asked, 'subject' | 'remaining' | 'occurredAt'>,
): Question['remaining'] {
  if (!remaining || !purchase) return undefined;
  const left = {
    ...purchase,
    lines: purchase.lines.map((line) => ({ ...line, amount: remaining(line).amount })),
  };
  const amounts = new Map<PurchaseLine['line'], number>();
  for (const { line, amount } of toProgramMoney(definition, left, occurredAt).lines)
    amounts.set(line, amount);
  return (line) => ({ amount: amounts.get(line.line) ?? 0, millionths: remaining(line).millionths });
}

/** The question as rules take it: all money is the program's. */
function questionOf(version: ProgramVersion, asked: Asked): Question {
  const { definition } = version;
  const { subject, member, counters, occurredAt, postedAt } = asked;
  const { purchase, flight, activity } = subject;
  const remaining = remainingInProgramMoney(version, asked);
  const converted: Subject = {
    purchase: purchase && toProgramMoney(definition, purchase, occurredAt),
    flight: flight?.fare
      ? { ...flight, fare: toProgramAmount(definition, flight.fare, occurredAt, '/flight/fare/currency') }
      : flight,
    activity,
  };
  return { subject: converted, member, counters, occurredAt, postedAt, ...(remaining ? { remaining } : {}) };
}

/**
 * What was spent: of a receipt what counts and is left of it, of a flight its fare, in smallest units of the program's money.
 * The same that promotions count. Throws where there is no rate for its money.
 */
export function spentOn(
  version: ProgramVersion,
  asked: Pick<Asked, 'subject' | 'remaining' | 'occurredAt'>,
): number {
  const { definition } = version;
  const { purchase, flight } = asked.subject;
  if (flight?.fare) return toProgramAmount(definition, flight.fare, asked.occurredAt).amount;
  if (!purchase) return 0;
  const { lines, payments } = toProgramMoney(definition, purchase, asked.occurredAt);
  const counted = countedOf(lines, payments, remainingInProgramMoney(version, asked));
  const left = counted.lines.reduce((sum, { remainingAmount }) => sum + remainingAmount, 0);
  return shareOf(left, counted.paid, counted.total);
}

/** What a subject earns under a version. Throws where its money is not accepted or it earns more than can be counted. */
export function judge(program: Program, version: ProgramVersion, asked: Asked): Judgement {
  const { grant } = asked.subject;
  if (grant) return { awards: [grantAward(program, grant)], counts: [], assumptions: [], failures: [] };
  return evaluate(rulesOf(version.definition), questionOf(version, asked));
}

/** The same judgement with the story of each rule. */
export function judgeAloud(
  program: Program,
  version: ProgramVersion,
  asked: Asked,
  given?: GivenByScript,
): Explained {
  const { grant } = asked.subject;
  if (!grant) return explain(rulesOf(version.definition), questionOf(version, asked), given);
  const award = grantAward(program, grant);
  const { rule, points } = award;
  return {
    judgement: { awards: [award], counts: [], assumptions: [], failures: [] },
    rules: [{ rule, outcome: 'applied', conditions: [], base: points, rounding: 'floor', caps: [], points }],
  };
}

/** Whether a version's rules look at the member at all. */
export function looksAtMember({ definition }: ProgramVersion): boolean {
  return rulesOf(definition).looksAtMember;
}

/** Whether a judgement depends on the member's counters or changes them. */
export function isCounted({ awards, counts, assumptions }: Judgement): boolean {
  return counts.length > 0 || assumptions.length > 0 || awards.some(({ limits }) => limits !== undefined);
}

/** The input of `accrue.lua`: awards as numbers, and what counts where anything does. */
export function accrueInput(
  program: Program,
  { definition }: ProgramVersion,
  { awards, counts, assumptions }: Judgement,
): Record<string, unknown> {
  const limits = awards.flatMap((award, index) =>
    (award.limits ?? []).map(({ counter, period, pointsMax, isAllOrNothing }) => [
      index + 1,
      counter,
      period,
      pointsMax,
      isAllOrNothing ? 1 : 0,
    ]),
  );
  const budgets = awards.flatMap(({ budget }, index) => {
    const named = definition.budgets.find(({ name }) => name === budget);
    return named
      ? [[index + 1, definition.numbers.budgets[named.name]!, named.whenFull === 'trim' ? 1 : 0]]
      : [];
  });
  return {
    awards: awards.map((award) => [
      program.currencyByCode.get(award.currency)!.number,
      award.points,
      award.expiresAt,
      award.availableAt,
      partyOf(definition, award.funder),
    ]),
    ...(limits.length > 0 ? { limits } : {}),
    ...(assumptions.length > 0
      ? { assumptions: assumptions.map(({ counter, period, from, to }) => [counter, period, from, to]) }
      : {}),
    ...(counts.length > 0 ? { counts: counts.map(({ counter, period, by }) => [counter, period, by]) } : {}),
    ...(budgets.length > 0 ? { budgets, program: program.number } : {}),
  };
}

/** What is known of an award for ever: its limits follow from rule and version. */
export interface KeptAward {
  readonly currency: string;
  readonly points: Points;
  readonly rule: string;
  readonly funder: string;
  readonly availableAt: EpochMs;
  readonly expiresAt: EpochMs;
}

/**
 * An award as the books have it: what most awards have in common is left out. A receipt of five awards is 300 bytes shorter
 * by that, which Redis, its file, the writer and PostgreSQL all carry. Versions before wrote everything.
 */
export type WrittenAward = Pick<KeptAward, 'currency' | 'points' | 'rule'> & Partial<KeptAward>;

const usualFunder = 'program';

export function writtenAward(award: Award): WrittenAward {
  const { currency, points, rule, funder, availableAt, expiresAt } = award;
  return {
    currency,
    points,
    rule,
    ...(funder === usualFunder ? {} : { funder }),
    ...(availableAt === 0 ? {} : { availableAt }),
    ...(expiresAt === 0 ? {} : { expiresAt }),
  };
}

export function keptAward(award: WrittenAward): KeptAward {
  const { currency, points, rule, funder = usualFunder, availableAt = 0, expiresAt = 0 } = award;
  return { currency, points, rule, funder, availableAt, expiresAt };
}

/** The awards that a recorded accrual asked for. */
export function askedAwards({ request }: Pick<Recorded, 'request'>): readonly KeptAward[] {
  return ((request.awards as WrittenAward[] | undefined) ?? []).map(keptAward);
}

/** The awards of a recorded accrual with the points that caps and budgets left of each; some may have none. */
export function keptAwards(recorded: Pick<Recorded, 'request' | 'effect'>): readonly KeptAward[] {
  const { given } = recorded.effect;
  const asked = askedAwards(recorded);
  return given ? asked.map((award, i) => ({ ...award, points: given[i] ?? award.points })) : asked;
}

/** What is kept of an assumption: where a judgement is made again, the beginning of the range stands for all of it. */
export type KeptAssumption = Pick<Assumption, 'counter' | 'period' | 'from'>;

export function keptAssumption({ counter, period, from }: Assumption): KeptAssumption {
  return { counter, period, from };
}
