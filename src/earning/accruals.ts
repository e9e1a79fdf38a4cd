/**
 * Accruals: a receipt, flight, activity or grant becomes awarded points. The decision is pure (`judge.ts`); this file
 * brings member, rules and wallet together and renders the recorded operation.
 */
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import type { JudgedMembers } from '#src/members/judged-member.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { type EpochMs, isSoon, memberId, operationId, type Soon } from '#src/values.ts';
import { availableDay, balancesAfter, lastValidDay } from '#src/wallet/balances.ts';
import {
  checkOccurredAt,
  checkPointsLimit,
  checkStore,
  durabilityOf,
  referenceOf,
} from '#src/wallet/fields.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Durability, Operations, Recorded } from '#src/wallet/operations.ts';
import { type Decision, type Moved, movementReply, perform } from '#src/wallet/perform.ts';
import {
  type AccrualSubject,
  type Asked,
  accrueInput,
  judge,
  type KeptAward,
  keptAssumption,
  keptAwards,
  looksAtMember,
  writtenAward,
} from './judge.ts';
import { type Program, type ProgramVersion, programNow, versionAt } from './program.ts';
import { type JudgedMember, nobody } from './rules/types.ts';
import type { AccrualBody } from './schemas.ts';

export interface EarningContext {
  readonly operations: Operations;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
  /** Enrols whoever is not known yet; the answer is the member. */
  enrolMember(program: Program, ref: MemberRef): Promise<MemberFacts>;
  /** What rules may know of a member. */
  readonly judgedMember: JudgedMembers;
  /** A rule failed while it ran; everything else was given without it. */
  ruleFailed(program: Program, rule: string, reason: string): void;
}

/** An award as a caller sees it. */
export function awardView(
  program: Program,
  award: Pick<KeptAward, 'currency' | 'points' | 'rule' | 'availableAt' | 'expiresAt'>,
): Record<string, unknown> {
  return {
    currency: award.currency,
    points: award.points,
    rule: award.rule,
    ...(award.availableAt > 0 ? { availableOn: availableDay(award.availableAt, program.timeZone) } : {}),
    ...(award.expiresAt > 0 ? { expiresOn: lastValidDay(award.expiresAt, program.timeZone) } : {}),
  };
}

/** Refuses what the key or the program never allows. */
export function checkSubject(caller: Caller, body: AccrualSubject, at: EpochMs): void {
  checkStore(caller, body.purchase?.store);
  const { moneyCurrencies } = versionAt(caller.program, at).definition;
  if (body.purchase && moneyCurrencies && !moneyCurrencies.includes(body.purchase.currency)) {
    throw new Problem('money_currency_not_accepted', undefined, {
      errors: [{ pointer: '/purchase/currency', detail: 'the program does not accept receipts in it' }],
    });
  }
  if (body.grant?.currency !== undefined && !caller.program.currencyByCode.has(body.grant.currency)) {
    throw new Problem('currency_unknown', undefined, {
      errors: [{ pointer: '/grant/currency', detail: 'is not a currency of the program' }],
    });
  }
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  return {
    object: 'accrual',
    id: operationId('accrual', recorded.operation),
    mode: program.mode,
    status: 'accrued',
    member: memberId(recorded.member),
    ...(recorded.order ? { order: recorded.order } : {}),
    awards: keptAwards(recorded)
      .filter(({ points }) => points > 0)
      .map((award) => awardView(program, award)),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** The member that is known, or becomes one now. */
async function enrolled(
  context: EarningContext,
  program: Program,
  ref: MemberRef,
  known: Soon<MemberFacts | undefined>,
): Promise<MemberFacts> {
  return (await known) ?? context.enrolMember(program, ref);
}

/** What an accrual asks for: an answer as soon as the journal has it, unless it wants the books. */
export function durabilityOfAccrual(body: Pick<AccrualBody, 'durability'>): Durability {
  return durabilityOf(body, 'journal');
}

/** Runs one accrual; `body` has been parsed. Throws at once what needs nobody's answer. */
export function accrue(
  context: EarningContext,
  call: Pick<Call, 'caller' | 'waitMs' | 'idempotencyKey'>,
  body: AccrualBody,
): Promise<Moved> {
  const { caller } = call;
  const { program } = caller;
  const { member, durability: _, metadata, enrol, ...subject } = body;
  checkSubject(caller, body, body.occurredAt);
  const reference = referenceOf(call, body);
  const canonical = { ...subject, reference };
  return perform(context.operations, {
    caller,
    script: 'accrue',
    kind: 'accrual',
    reference,
    named: { ...canonical, member },
    body: canonical,
    metadata,
    occurredAt: body.occurredAt,
    durability: durabilityOfAccrual(body),
    waitMs: call.waitMs,
    member() {
      const known = context.resolveMember(program, member);
      return enrol ? enrolled(context, program, member, known) : known;
    },
    decide(facts) {
      checkOccurredAt(caller, body.occurredAt);
      const version = versionAt(program, body.occurredAt);
      const decided = (judged: JudgedMember) =>
        decisionOf(context, caller, version, {
          subject,
          member: judged,
          counters: context.operations.counters.of(facts.member),
          occurredAt: body.occurredAt,
          postedAt: programNow(program),
        });
      if (!looksAtMember(version)) return decided(someMember);
      const judged = context.judgedMember(program, facts, { at: body.occurredAt });
      return isSoon(judged) ? judged.then(decided) : decided(judged);
    },
  });
}

/** A member of whom no rule wants to know anything. */
export const someMember: JudgedMember = { ...nobody, isKnown: true };

/** What the script is asked for, and what is kept. */
function decisionOf(
  context: EarningContext,
  caller: Caller,
  version: ProgramVersion,
  asked: Asked,
): Decision {
  const { program } = caller;
  const judgement = judge(program, version, asked);
  for (const { rule, reason } of judgement.failures) context.ruleFailed(program, rule, reason);
  const points = judgement.awards.reduce((sum, award) => sum + award.points, 0);
  checkPointsLimit(caller, points);
  const { assumptions } = judgement;
  return {
    points,
    order: asked.subject.purchase?.order,
    input: accrueInput(program, version, judgement),
    keep: {
      awards: judgement.awards.map(writtenAward),
      programVersion: version.version,
      // Whoever judges it again must not guess it from the clock: a process hears of a run some time after it has ended.
      ...(version.definition.segments ? { segmentRun: program.segmentRun ?? 0 } : {}),
      ...(assumptions.length > 0 ? { assumptions: assumptions.map(keptAssumption) } : {}),
    },
  };
}

/** The reply to `POST /v1/accruals`. */
export function accrualReplyOf(program: Program, moved: Moved, durability: Durability): Reply {
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}
