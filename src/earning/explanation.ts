/**
 * Why points were given, for a quote before and for an operation after: the judgement is made again, aloud, by the version
 * and with the counters of then. Of a member the present facts are taken, because books keep nothing personal; where they
 * would lead to other awards today than were given, the explanation says that they are missing.
 */
import type { Recorded } from '#src/wallet/operations.ts';
import { type AccrualSubject, type Asked, askedAwards, judgeAloud, looksAtMember } from './judge.ts';
import type { Program, ProgramVersion } from './program.ts';
import type { GivenByScript } from './rules/explain.ts';
import { type JudgedMember, nobody } from './rules/types.ts';
import { countersThen, versionOfAccrual } from './undoing.ts';

/** What rules looked at of the member, without anything personal. */
function factsView(member: JudgedMember): Record<string, unknown> {
  const { isKnown, tier, tiers = [], segments, birthday, joinedAt } = member;
  return {
    member: isKnown,
    ...(tier === undefined ? {} : { tier }),
    ...(tiers.length > 1 ? { tiers } : {}),
    ...(segments.length > 0 ? { segments } : {}),
    hasBirthday: birthday !== undefined,
    ...(joinedAt === undefined ? {} : { joinedAt: new Date(joinedAt).toISOString() }),
  };
}

/** The explanation of a judgement, and the awards that it found. */
export function explanationOf(
  program: Program,
  version: ProgramVersion,
  asked: Asked,
  given?: GivenByScript,
) {
  const { judgement, rules } = judgeAloud(program, version, asked, given);
  return {
    awards: judgement.awards,
    explanation: {
      programVersion: version.version,
      judgedAt: new Date(asked.occurredAt).toISOString(),
      facts: looksAtMember(version) ? factsView(asked.member) : {},
      rules,
    },
  };
}

/** Why an accrual gave what it gave; undefined for other operations, and for one that only used up its reference. */
export function explainAccrual(
  program: Program,
  recorded: Recorded,
  member: JudgedMember | undefined,
): Record<string, unknown> | undefined {
  if (recorded.kind !== 'accrual') return undefined;
  const subject = recorded.request.body as AccrualSubject | undefined;
  if (!subject || !(subject.purchase || subject.flight || subject.activity || subject.grant))
    return undefined;
  const version = versionOfAccrual(program, recorded);
  const asked = {
    subject,
    member: member ?? nobody,
    counters: countersThen(recorded),
    occurredAt: recorded.occurredAt,
    postedAt: recorded.at,
  };
  const { awards, explanation } = explanationOf(program, version, asked, recorded.effect);
  const then = askedAwards(recorded).map(({ rule, points }) => `${rule} ${points}`);
  const now = awards.map(({ rule, points }) => `${rule} ${points}`);
  const isSame = then.length === now.length && then.every((award) => now.includes(award));
  return isSame ? explanation : { ...explanation, missing: ['the facts of the member at that time'] };
}
