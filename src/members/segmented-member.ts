/**
 * The segments of members, for rules. They are remembered by member and run: a run that ends leaves everything else that is
 * remembered of members as it is. Members that come in the same moment are read together; programs without segments ask nothing.
 *
 * A version of a program without `segments` knows none, whatever runs by versions before it have found.
 */
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import { type Program, versionAt } from '#src/earning/program.ts';
import type { JudgedMember } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import { type RunInForce, runsThrough, segmentsAsOf } from '#src/segments/in-force.ts';
import { isSoon, type MemberNumber, type Soon } from '#src/values.ts';
import { gathering } from '#src/wallet/gathering.ts';
import type { AsOf, JudgedMembers } from './judged-member.ts';

const rememberedMax = 100_000;

/** Runs of so many programs; a run that ends makes a new list. */
const programsRemembered = 1_000;

interface Question {
  readonly member: MemberNumber;
  readonly run: number;
}

/** Passes trouble with the books on in the word that callers know. */
function unreachable(error: unknown): never {
  throw new Problem('not_ready', 'the books cannot be asked at the moment', {}, { cause: error });
}

/**
 * Answers members as rules judge them, with the segments of the newest finished run of their program; for an operation that was
 * decided before, of the run that was kept with it: the clock does not tell which one its process knew of.
 */
export function seeingSegments(pool: pg.Pool, judgedMembers: JudgedMembers): JudgedMembers {
  const remembered = new LRUCache<string, readonly string[]>({ max: rememberedMax });
  const runs = new LRUCache<string, readonly RunInForce[]>({ max: programsRemembered });
  const ask = gathering<Question, readonly string[]>((questions) => segmentsAsOf(pool, questions));

  function runsOf({ number }: Program, newest: number): Soon<readonly RunInForce[]> {
    const key = `${number}.${newest}`;
    const known = runs.get(key);
    if (known) return known;
    return runsThrough(pool, number, newest).then((found) => {
      runs.set(key, found);
      return found;
    }, unreachable);
  }

  function segmentsIn(member: MemberNumber, run: number | undefined): Soon<readonly string[]> {
    if (run === undefined || run === 0) return [];
    const key = `${member}.${run}`;
    const known = remembered.get(key);
    if (known) return known;
    return ask({ member, run }).then((segments) => {
      remembered.set(key, segments);
      return segments;
    }, unreachable);
  }

  function segmentsOf(
    program: Program,
    newest: number,
    member: MemberNumber,
    { decided }: AsOf,
  ): Soon<readonly string[]> {
    if (!decided) return segmentsIn(member, newest);
    if (decided.segmentRun !== undefined) return segmentsIn(decided.member, decided.segmentRun);
    const inForce = (list: readonly RunInForce[]) =>
      segmentsIn(decided.member, list.findLast(({ from }) => from <= decided.at)?.run);
    const list = runsOf(program, newest);
    return isSoon(list) ? list.then(inForce) : inForce(list);
  }

  return (program, facts, asOf) => {
    const judged = judgedMembers(program, facts, asOf);
    const newest = program.segmentRun ?? asOf.decided?.segmentRun;
    if (newest === undefined || !versionAt(program, asOf.at).definition.segments) return judged;
    const segments = segmentsOf(program, newest, facts.member, asOf);
    const together = (member: JudgedMember, names: readonly string[]) =>
      names.length === 0 ? member : { ...member, segments: names };
    if (!isSoon(judged) && !isSoon(segments)) return together(judged, segments);
    return Promise.all([judged, segments]).then(([member, names]) => together(member, names));
  };
}
