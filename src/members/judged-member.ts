/**
 * What rules may know of a member. It is remembered by the version of the member's facts: every change of a birthday, an
 * attribute or a tier raises that, and the scripts refuse what was decided on an older one. Members that come in the same
 * moment are read together.
 *
 * Of tiers the history is remembered, and the tier is that of the time which is asked for; so it is with activated codes. Programs
 * without ladders, or without promotions by code, have none, and nobody looks for them.
 */
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import { type Program, programNow, versionAt } from '#src/earning/program.ts';
import { type JudgedMember, nobody } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import { allFacts, historyOf } from '#src/tiers/history.ts';
import { hasLadders } from '#src/tiers/ladders.ts';
import { type KnownChange, tiersAt } from '#src/tiers/spans.ts';
import type { EpochMs, MemberNumber, Position, Soon } from '#src/values.ts';
import { gathering } from '#src/wallet/gathering.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import { type ActivatedCode, codesAt, codesOf, hasCodes } from './codes.ts';
import type { Identity } from './identity.ts';
import { membersByNumber, profileOfRow } from './records.ts';

const rememberedMax = 100_000;

/** An operation that was decided before, and its member. */
export interface Decided {
  readonly member: MemberNumber;
  /** Tiers are those that were known to it. */
  readonly position: Position;
  readonly at: EpochMs;
  /** The run whose segments it was judged by, as it was kept with it; 0: none had ended. Where nothing was kept, the time tells. */
  readonly segmentRun?: number | undefined;
}

/** As of when a member is judged. */
export interface AsOf {
  /** Tiers are those in effect then. */
  readonly at: EpochMs;
  /** Absent: what is known now. */
  readonly decided?: Decided;
}

export type JudgedMembers = (program: Program, member: MemberFacts, asOf: AsOf) => Soon<JudgedMember>;

interface Question {
  readonly program: Program;
  readonly member: MemberNumber;
  /** Whose tiers are asked for: a merged member's receipts were judged by its own. */
  readonly climber: MemberNumber;
  readonly factsVersion: number;
}

interface Remembered {
  readonly judged: JudgedMember;
  readonly changes: readonly KnownChange[];
  readonly codes: readonly ActivatedCode[];
}

const noChanges: readonly KnownChange[] = [];
const noCodes: readonly ActivatedCode[] = [];

/** A member as it stands at a time. */
function standingAt(program: Program, remembered: Remembered, { at, decided }: AsOf): JudgedMember {
  const { changes, codes } = remembered;
  const { ladders } = versionAt(program, at).definition;
  const judged =
    codes.length === 0
      ? remembered.judged
      : { ...remembered.judged, codes: codesAt(program, codes, at, decided?.at) };
  if (ladders.length === 0) return judged;
  const tiers = tiersAt(ladders, changes, at, decided?.position);
  return { ...judged, tier: tiers[0], tiers };
}

/** Somebody who joins now: known, and nothing else is said of them yet. */
export function newcomer(program: Program, at: EpochMs): JudgedMember {
  const judged = { ...nobody, isKnown: true, joinedAt: programNow(program) };
  return standingAt(program, { judged, changes: noChanges, codes: noCodes }, { at });
}

/**
 * Answers a member as rules judge it. Throws `not_ready` where the books cannot be asked. `isSnapshot`: for a report that
 * reads each member once, whatever happens meanwhile.
 */
export function createJudgedMembers(pool: pg.Pool, identity: Identity, isSnapshot = false): JudgedMembers {
  const remembered = new LRUCache<string, Remembered>({ max: rememberedMax });

  const ask = gathering<Question, Remembered>(async (questions) => {
    const people = new Map<MemberNumber, JudgedMember>();
    for (const program of new Set(questions.map((each) => each.program))) {
      const members = questions.filter((each) => each.program === program).map(({ member }) => member);
      const rows = await membersByNumber(pool, program, members);
      for (const [member, row] of rows) {
        const { birthday, attributes = {} } = profileOfRow(identity, program, row);
        people.set(member, {
          isKnown: true,
          segments: [],
          birthday,
          joinedAt: row.joined_at,
          attributes,
          codes: [],
        });
      }
    }
    const climbing = questions.filter(({ program }) => hasLadders(program));
    const histories =
      climbing.length === 0
        ? []
        : await historyOf(
            pool,
            climbing.map(({ climber, factsVersion }) => ({ member: climber, factsVersion })),
          );
    const changes = new Map(climbing.map((question, i) => [question, histories[i]!]));
    const activating = questions.filter(({ program }) => hasCodes(program)).map(({ member }) => member);
    const codes = activating.length === 0 ? undefined : await codesOf(pool, activating);
    return questions.map((question) => ({
      judged: people.get(question.member) ?? { ...nobody, isKnown: true },
      changes: changes.get(question) ?? noChanges,
      codes: codes?.get(question.member) ?? noCodes,
    }));
  });

  return (program, { member, factsVersion }, asOf) => {
    const climber = asOf.decided?.member ?? member;
    // What stood before an operation does not depend on how much this process has heard of since.
    const through = asOf.decided || isSnapshot ? allFacts : factsVersion;
    const key = `${member}.${climber}.${through}`;
    const known = remembered.get(key);
    if (known) return standingAt(program, known, asOf);
    return ask({ program, member, climber, factsVersion: through }).then(
      (found) => {
        if (through !== allFacts || isSnapshot) remembered.set(key, found);
        return standingAt(program, found, asOf);
      },
      (error: unknown) => {
        throw new Problem('not_ready', 'the books cannot be asked at the moment', {}, { cause: error });
      },
    );
  };
}
