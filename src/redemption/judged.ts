/**
 * Judges a price at the program's now, by the version in force then. A quote, a redemption and a hold all come here, each with
 * its own time: a rate that changes at midnight between quote and redemption is the redemption's, and where its caller named
 * a value it hears `value_mismatch` instead of paying something else than it showed.
 */
import { someMember } from '#src/earning/accruals.ts';
import { type Program, programNow, versionAt } from '#src/earning/program.ts';
import type { JudgedMember } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import { clockIsBelieved } from '#src/platform/clock.ts';
import type { Soon } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { type Asked, judgeRedemption } from './pricing.ts';
import { asksOfMember, hasRules } from './rules.ts';
import type { KeptWorth } from './worth.ts';

export interface JudgingContext {
  /** What rules may know of a member. */
  judgedMember(program: Program, member: MemberFacts): Soon<JudgedMember>;
  /** A redemption rule failed while it ran; it was taken as not fitting. */
  ruleFailed(program: Program, rule: string, reason: string): void;
}

/** A member as far as the rules of some currencies ask; nobody is looked up for rules that do not. */
export function memberForRules(
  context: JudgingContext,
  program: Program,
  currencies: readonly string[],
  member: MemberFacts,
): Soon<JudgedMember> {
  // Of all versions: the one in force may change while the member is looked up.
  const asks = program.versions.some(({ definition }) =>
    currencies.some((currency) => asksOfMember(definition, currency)),
  );
  return asks ? context.judgedMember(program, member) : someMember;
}

/** What a price is worth now; undefined where no rule says. Throws the Problem that a refusal is. */
export async function judgedWorth(
  context: JudgingContext,
  program: Program,
  asked: Asked,
  member: MemberFacts,
): Promise<KeptWorth | undefined> {
  const codes = asked.parts.map(({ currency }) => currency.code);
  if (!program.versions.some(({ definition }) => codes.some((code) => hasRules(definition, code)))) {
    return undefined;
  }
  const known = await memberForRules(context, program, codes, member);
  const at = programNow(program);
  try {
    return judgeRedemption(versionAt(program, at), asked, known, at, (rule, reason) =>
      context.ruleFailed(program, rule, reason),
    );
  } catch (refusal) {
    // By a wrong clock it would be the rate of another day, and the refusal is for good.
    if (refusal instanceof Problem && !clockIsBelieved()) throw new Problem('clock_skew');
    throw refusal;
  }
}
