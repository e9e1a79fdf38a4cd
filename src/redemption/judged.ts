/**
 * Judges a price at the program's now, by the version in force then. A quote, a redemption and a hold all come here, each with
 * its own time: a rate that changes at midnight between quote and redemption is the redemption's, and where its caller named
 * a value it hears `value_mismatch` instead of paying something else than it showed.
 */
import { someMember } from '#src/earning/accruals.ts';
import { type Program, type ProgramVersion, programNow, versionAt } from '#src/earning/program.ts';
import type { JudgedMember } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import type { JudgedMembers } from '#src/members/judged-member.ts';
import { clockIsBelieved } from '#src/platform/clock.ts';
import type { EpochMs } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { type Asked, judgeRedemption } from './pricing.ts';
import { asksOfMember } from './rules.ts';
import type { KeptWorth } from './worth.ts';

export interface JudgingContext {
  /** What rules may know of a member. */
  readonly judgedMember: JudgedMembers;
  /** A redemption rule failed while it ran; it was taken as not fitting. */
  ruleFailed(program: Program, rule: string, reason: string): void;
}

/** Who is judged, and at which time. */
export interface Judged {
  readonly member: JudgedMember;
  readonly at: EpochMs;
  readonly version: ProgramVersion;
}

/** A member as far as the rules of some currencies ask; nobody is looked up for rules that do not. */
export async function judgedNow(
  context: JudgingContext,
  program: Program,
  currencies: readonly string[],
  facts: MemberFacts,
): Promise<Judged> {
  const now = programNow(program);
  const version = versionAt(program, now);
  if (!currencies.some((currency) => asksOfMember(version.definition, currency))) {
    return { member: someMember, at: now, version };
  }
  const member = await context.judgedMember(program, facts, { at: now });
  // Looking somebody up took time, and the price is that of afterwards.
  const at = programNow(program);
  return { member, at, version: versionAt(program, at) };
}

/** What a price is worth now; undefined where no rule says. Throws the Problem that a refusal is. */
export async function judgedWorth(
  context: JudgingContext,
  program: Program,
  asked: Asked,
  facts: MemberFacts,
): Promise<KeptWorth | undefined> {
  const currencies = asked.parts.map(({ currency }) => currency.code);
  const { member, at, version } = await judgedNow(context, program, currencies, facts);
  try {
    return judgeRedemption(version, asked, member, at, (rule, reason) =>
      context.ruleFailed(program, rule, reason),
    );
  } catch (refusal) {
    // By a wrong clock it would be the rate of another day, and the refusal is for good.
    if (refusal instanceof Problem && !clockIsBelieved()) throw new Problem('clock_skew');
    throw refusal;
  }
}
