/** What a receipt would earn, and why: the same judgement as an accrual's, and nothing moves. */
import type pg from 'pg';
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import type { Caller } from '#src/http/route.ts';
import { newcomer } from '#src/members/judged-member.ts';
import { memberNow } from '#src/members/member-ref.ts';
import type { EpochMs, MemberNumber, Points } from '#src/values.ts';
import { budgetStandings } from '#src/wallet/grants.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { survivorOf } from '#src/wallet/lookup.ts';
import { checkSubject, type EarningContext } from './accruals.ts';
import { createMemberCounters, weigh } from './backtest/counters.ts';
import { type WithinBudgets, withinBudgets } from './budgets.ts';
import { explanationOf } from './explanation.ts';
import { type Asked, accrueInput, isCounted, judge, looksAtMember } from './judge.ts';
import { type Program, type ProgramVersion, programNow, versionAt } from './program.ts';
import { nobody } from './rules/types.ts';
import type { quoteSchema } from './schemas.ts';

type QuoteBody = z.output<typeof quoteSchema>;

/**
 * Whom a quote is for. `isAsked`: its tier decides, and no script will say that it is another one by now, so the wallet is
 * asked whether what is remembered is still so.
 */
async function memberOf(
  context: EarningContext,
  { program }: Caller,
  { member, enrol }: QuoteBody,
  isAsked: boolean,
): Promise<MemberFacts | undefined> {
  if (member === undefined) return undefined;
  const resolve = () => context.resolveMember(program, member);
  const facts = isAsked
    ? (await memberNow(context.operations, resolve, programNow(program)))?.facts
    : await survivorOf(context.operations.lookup, await resolve());
  // Whoever is unknown would join with the receipt.
  if (!facts && !enrol) throw new Problem('member_not_found');
  return facts;
}

const attemptsMax = 5;

/** Points of each award that the member's counters leave; a judgement that rested on other values of them is made again. */
async function weighed(
  { operations }: EarningContext,
  program: Program,
  version: ProgramVersion,
  member: MemberNumber,
  asked: Asked,
): Promise<readonly Points[] | undefined> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const judgement = judge(program, version, asked);
    if (!isCounted(judgement)) return undefined;
    // Budgets are looked at afterwards: nothing is drawn for a quote.
    const { budgets: _, program: _of, ...weighable } = accrueInput(program, version, judgement);
    const input = JSON.stringify(weighable);
    const outcome = await operations.wallet.weigh(member, input, asked.postedAt);
    if ('weighed' in outcome) return outcome.weighed;
    if (outcome.status === 'member_not_found') throw new Problem('member_not_found');
    if (outcome.status !== 'refused' || outcome.code !== 'stale_counters')
      throw new Error(`a quote was answered with ${outcome.status}`);
    operations.counters.note(member, outcome.details.counters as [number, number, number][]);
  }
  throw new Problem('not_ready', 'the member changes faster than the quote can follow; ask again');
}

/** What budgets leave of what caps leave; undefined where no award is of a budget. */
async function budgeted(
  { pool }: QuoteContext,
  program: Program,
  version: ProgramVersion,
  asked: Asked,
  given: readonly Points[] | undefined,
): Promise<WithinBudgets | undefined> {
  if (version.definition.budgets.length === 0) return undefined;
  const { awards } = judge(program, version, asked);
  if (!awards.some(({ budget }) => budget !== undefined)) return undefined;
  const points = awards.map((award, i) => given?.[i] ?? award.points);
  return withinBudgets(program, version, awards, points, await budgetStandings(pool, program.number));
}

export interface QuoteContext extends EarningContext {
  readonly pool: pg.Pool;
}

/** Who would join with the receipt has done nothing before; of whom nothing is said at all, nothing is known. */
function strangerTo(
  program: Program,
  { member }: QuoteBody,
  at: EpochMs,
): Pick<Asked, 'member' | 'counters'> {
  return member === undefined
    ? { member: nobody, counters: () => undefined }
    : { member: newcomer(program, at), counters: () => 0 };
}

/**
 * The awards of a quote and its explanation: what the accrual would give, were it sent now. Without a member nothing is known
 * of one, and caps are those of somebody who was given nothing yet. Of budgets it says what the books have: what a second of receipts on their way there
 * takes may be missing.
 */
export async function quoteAccrual(
  context: QuoteContext,
  caller: Caller,
  body: QuoteBody,
  at: EpochMs,
): Promise<Pick<ReturnType<typeof explanationOf>, 'awards' | 'explanation'>> {
  const { program } = caller;
  checkSubject(caller, body, at);
  const version = versionAt(program, at);
  const isAsked = version.definition.ladders.length > 0 && looksAtMember(version);
  const facts = await memberOf(context, caller, body, isAsked);
  const { purchase, flight, activity, grant } = body;
  const asked: Asked = {
    subject: { purchase, flight, activity, grant },
    ...(facts
      ? {
          member: await context.judgedMember(program, facts, { at }),
          counters: context.operations.counters.of(facts.member),
        }
      : strangerTo(program, body, at)),
    occurredAt: at,
    postedAt: programNow(program),
  };
  const weighedPoints = facts
    ? await weighed(context, program, version, facts.member, asked)
    : weigh(judge(program, version, asked), createMemberCounters());
  const within = await budgeted(context, program, version, asked, weighedPoints);
  const given = within?.given ?? weighedPoints;
  const { awards, explanation } = explanationOf(program, version, asked, { given, full: within?.full });
  return {
    awards: awards
      .map((award, i) => ({ ...award, points: given?.[i] ?? award.points }))
      .filter(({ points }) => points > 0),
    explanation,
  };
}
