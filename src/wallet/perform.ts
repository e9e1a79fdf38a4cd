/**
 * The path that every movement takes: who is it and was it known before (asked together) → decide → one script → wait for
 * the books where asked. Facts that turn out to be stale are read again a bounded number of times.
 */

import { endsAfter } from '#src/earning/activity.ts';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { EpochMs, MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import { assertNever, isSoon, positionText, type Soon } from '#src/values.ts';
import { type MemberFacts, survivorOf } from './lookup.ts';
import type { Attempt, Draft, Durability, Known, Operations, Recorded } from './operations.ts';
import { refusalProblem } from './problems.ts';
import type { MovementScript } from './scripts.ts';

/** What a domain decided for a member: the script's input and what is kept of the request beside its body. */
export interface Decision {
  readonly input: unknown;
  readonly origins?: readonly OperationHex[];
  readonly order?: string | undefined;
  readonly keep?: Readonly<Record<string, unknown>>;
  /** Points that count towards the key's limit of a day. */
  readonly points?: number;
}

export interface Movement {
  readonly caller: Pick<Caller, 'program' | 'client' | 'keyId' | 'pointsPerDayMax'>;
  readonly script: MovementScript;
  readonly kind: OperationKind;
  readonly reference: string;
  /** The canonical body with the member as the caller named it; only its fingerprint is kept. */
  readonly named: object;
  /** The canonical body without the member and without what is never compared; kept in the books. */
  readonly body: unknown;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly occurredAt?: EpochMs | undefined;
  readonly durability: Durability;
  readonly waitMs: number;
  /** The member; undefined answers `member_not_found`. */
  member(): Soon<MemberFacts | undefined>;
  /**
   * Called again with fresh facts when they were stale, and where a counter (`operations.counters`) stands at another value than
   * the script's input assumes. May throw a Problem; bounds that change with time or with the key
   * are checked here, so that a repeat of what was applied is answered and not refused.
   */
  decide(member: MemberFacts): Soon<Decision>;
  /** The movement is settled whoever the member is now, so neither facts nor a merge matter (holds). */
  readonly anyFacts?: boolean;
  /** How often stale facts or originals are read again; default 5. */
  readonly attemptsMax?: number;
  /** Called when an original's state changed under way; returning lets `decide` run again. */
  staleOperation?(details: Record<string, unknown>): void;
  /** Turns a refusal that only this domain understands into a Problem. */
  refused?(
    code: string,
    details: Record<string, unknown>,
  ): Promise<Problem | undefined> | Problem | undefined;
}

export interface Moved {
  readonly recorded: Recorded;
  readonly replayed: boolean;
  readonly reached: Durability;
}

const attemptsMax = 5;
/** Each time another movement of the member has come between; where many come at once, all but one hear of it. */
const recountsMax = 20;
/** Also a caller who does not want to wait for the books waits so long for a member that has just changed. */
const factsWaitMsMin = 250;

type Question = Parameters<Operations['known']>[0];

function draftOf(movement: Movement, question: Question, member: MemberFacts, decision: Decision): Draft {
  const judgedAt = Date.now();
  const at = programNow(movement.caller.program, judgedAt);
  return {
    ...question,
    script: movement.script,
    member: member.member,
    factsVersion: movement.anyFacts ? undefined : member.factsVersion,
    origins: decision.origins ?? [],
    order: decision.order,
    occurredAt: movement.occurredAt ?? at,
    at,
    judgedAt,
    isAwaited: movement.durability === 'ledger',
    input: decision.input,
    request: decision.keep ? { ...question.request, ...decision.keep } : question.request,
  };
}

/**
 * Where inactivity ends points, the script is told when they end after this movement. `ends` comes first in its input
 * (`run.lua`).
 */
function dated(operations: Operations, draft: Draft, { caller }: Movement): Soon<Draft> {
  const { ends, unchanged } = endsAfter(caller.program, draft.kind, draft.occurredAt);
  const withEnds = (found: typeof ends): Draft => ({
    ...draft,
    input: { ends: found, ...(draft.input as object) },
  });
  if (unchanged.length > 0)
    return operations.endsInBooks(draft.member, unchanged).then((inBooks) => withEnds([...ends, ...inBooks]));
  return ends.length === 0 ? draft : withEnds(ends);
}

/** Runs the script for what was decided, within the key's limit of a day. */
function attemptWithin(
  operations: Operations,
  caller: Movement['caller'],
  draft: Draft,
  points: number,
  lookedUpAt: EpochMs,
): Promise<Attempt> {
  if (caller.pointsPerDayMax === undefined) return operations.attempt(draft, lookedUpAt);
  return operations.dailyLimit.within(
    caller,
    { points, isRetry: () => operations.remembers(draft) },
    () => operations.attempt(draft, lookedUpAt),
    (outcome) => outcome.status === 'performed' && !outcome.replayed,
  );
}

/** An unused reference is known to be unused only where the member's books are fresh. */
export function checkBooks(operations: Operations, behind: readonly number[], member: MemberNumber): void {
  if (behind.includes(operations.wallet.shardOf(member))) {
    throw new Problem('not_ready', 'the books are too far behind to say whether this reference was used');
  }
}

/** Runs a movement to its recorded operation. Throws the Problem that a refusal is. */
export async function perform(operations: Operations, movement: Movement): Promise<Moved> {
  const { caller, kind, reference, metadata, body } = movement;
  const { program, client } = caller;
  const fingerprint = operations.fingerprint(movement.named);
  const request = metadata ? { body, metadata } : { body };
  const question: Question = { program: program.number, client, kind, reference, fingerprint, request };
  let recounts = 0;
  for (let attempt = 0; attempt - recounts < (movement.attemptsMax ?? attemptsMax); attempt += 1) {
    const lookedUpAt = Date.now();
    let [known, named]: [Soon<Known>, Soon<MemberFacts | undefined>] = [
      operations.known(question),
      movement.member(),
    ];
    if (isSoon(known) || isSoon(named)) [known, named] = await Promise.all([known, named]);
    if (known.performed) return finish(operations, movement, known.performed.recorded, true);
    const isMerged = named?.mergedInto !== undefined && !movement.anyFacts;
    const member = isMerged ? await survivorOf(operations.lookup, named) : named;
    if (!member) throw new Problem('member_not_found');
    checkBooks(operations, known.behind, member.member);
    let decision: Soon<Decision>;
    try {
      decision = movement.decide(member);
      if (isSoon(decision)) decision = await decision;
    } catch (refusal) {
      const first = await operations.answered(question, member.member);
      if (!first) throw refusal;
      return finish(operations, movement, first.recorded, true);
    }
    let draft: Soon<Draft> = dated(operations, draftOf(movement, question, member, decision), movement);
    if (isSoon(draft)) draft = await draft;
    const outcome = await attemptWithin(operations, caller, draft, decision.points ?? 0, lookedUpAt);
    switch (outcome.status) {
      case 'performed':
        if (!outcome.replayed) noteCounters(operations, outcome.recorded);
        return finish(operations, movement, outcome.recorded, outcome.replayed);
      case 'stale_facts':
        await freshFacts(operations, member, movement.waitMs);
        break;
      case 'member_not_found':
        throw new Problem('member_not_found');
      case 'original_not_found':
        throw new Problem('original_not_found');
      case 'refused':
        if (outcome.code === 'stale_operation' && movement.staleOperation)
          movement.staleOperation(outcome.details);
        else if (outcome.code === 'stale_counters') {
          recounts = Math.min(recounts + 1, recountsMax);
          operations.counters.note(member.member, outcome.details.counters as [number, number, number][]);
        } else if (outcome.code === 'member_merged') await freshFacts(operations, member, movement.waitMs);
        else throw await problemOf(movement, outcome);
        break;
      default:
        assertNever(outcome);
    }
  }
  throw new Problem(
    'reference_in_progress',
    'the member changes faster than the request can follow; repeat it',
  );
}

/** A replay says what the counters stood at long ago. */
function noteCounters({ counters }: Operations, { member, effect }: Recorded): void {
  if (effect.counters) counters.note(member, effect.counters);
}

/** What Redis knows and the books not yet: wait until the change is written, then read the member again. */
async function freshFacts(operations: Operations, member: MemberFacts, waitMs: number): Promise<void> {
  const { wallet, lookup } = operations;
  const waited = await wallet.readBarrier(wallet.shardOf(member.member), Math.max(waitMs, factsWaitMsMin));
  if (waited === 'timeout') {
    throw new Problem(
      'not_ready',
      'the member has changed and the books do not have it yet; repeat with the same reference',
    );
  }
  lookup.forget(member.member);
}

async function problemOf(
  movement: Movement,
  outcome: Parameters<typeof refusalProblem>[0],
): Promise<Problem> {
  const own = await movement.refused?.(outcome.code, outcome.details);
  if (own) return own;
  const { currencyByNumber } = movement.caller.program;
  return refusalProblem(outcome, (number) => currencyByNumber.get(number)?.code ?? String(number));
}

/** Without a wait for the books the end is known at once: a promise here would cost every accrual three turns. */
function finish(
  operations: Operations,
  movement: Movement,
  recorded: Recorded,
  replayed: boolean,
): Soon<Moved> {
  const reached = operations.reach(recorded, movement.durability, movement.waitMs);
  if (isSoon(reached)) return reached.then((level) => ({ recorded, replayed, reached: level }));
  return { recorded, replayed, reached };
}

/** The reply to a movement: `status`, or 202 where `ledger` was asked for and the wait ended first. */
export function movementReply(
  moved: Moved,
  asked: Durability,
  status: number,
  body: Record<string, unknown>,
): Reply {
  const late = asked === 'ledger' && moved.reached === 'journal';
  return {
    status: late ? 202 : status,
    replayed: moved.replayed,
    body: { ...body, ledger: { position: positionText(moved.recorded.position), durability: moved.reached } },
  };
}
