/**
 * What rules may know of a member. It is remembered by the version of the member's facts: every change of a birthday or an
 * attribute raises that, and the scripts refuse what was decided on an older one. Members that come in the same moment are
 * read together.
 */
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { type JudgedMember, nobody } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import type { MemberNumber, Soon } from '#src/values.ts';
import { gathering } from '#src/wallet/gathering.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Identity } from './identity.ts';
import { membersByNumber, profileOfRow } from './records.ts';

const rememberedMax = 100_000;

type Question = readonly [program: Program, member: MemberNumber];

export type JudgedMembers = (program: Program, member: MemberFacts) => Soon<JudgedMember>;

/**
 * Answers a member as rules judge it; tiers and segments are not kept yet, so rules that ask for one do not fit. Throws
 * `not_ready` where the books cannot be asked.
 */
export function createJudgedMembers(pool: pg.Pool, identity: Identity): JudgedMembers {
  const remembered = new LRUCache<string, JudgedMember>({ max: rememberedMax });

  const ask = gathering<Question, JudgedMember>(async (questions) => {
    const answers = new Map<MemberNumber, JudgedMember>();
    for (const program of new Set(questions.map(([each]) => each))) {
      const members = questions.filter(([each]) => each === program).map(([, member]) => member);
      const rows = await membersByNumber(pool, program, members);
      for (const [member, row] of rows) {
        const { birthday, attributes = {} } = profileOfRow(identity, program, row);
        answers.set(member, {
          isKnown: true,
          segments: [],
          birthday,
          joinedAt: row.joined_at,
          attributes,
          codes: [],
        });
      }
    }
    return questions.map(([, member]) => answers.get(member) ?? { ...nobody, isKnown: true });
  });

  return (program, { member, factsVersion }) => {
    const key = `${member}.${factsVersion}`;
    const known = remembered.get(key);
    if (known) return known;
    return ask([program, member]).then(
      (judged) => {
        remembered.set(key, judged);
        return judged;
      },
      (error: unknown) => {
        throw new Problem('not_ready', 'the books cannot be asked at the moment', {}, { cause: error });
      },
    );
  };
}
