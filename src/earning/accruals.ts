/**
 * Accruals: a receipt, flight, activity or grant becomes awarded points. The decision is pure (`rules.ts`); this file
 * brings member, rules and wallet together and renders the recorded operation.
 */
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { memberId, operationId, type Soon } from '#src/values.ts';
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
import { type Moved, movementReply, perform } from '#src/wallet/perform.ts';
import { type Program, type ProgramVersion, versionAt, versionNumbered } from './program.ts';
import { type Award, type Evaluation, eligibleTotal, evaluate, partyOf } from './rules.ts';
import type { AccrualBody } from './schemas.ts';

export interface EarningContext {
  readonly operations: Operations;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
  /** Enrols whoever is not known yet; the answer is the member. */
  enrolMember(program: Program, ref: MemberRef): Promise<MemberFacts>;
}

type Subject = Pick<AccrualBody, 'purchase' | 'flight' | 'activity' | 'grant'>;

/** PURE. What a subject earns under the rules of a version. */
export function judge(
  program: Program,
  { definition }: ProgramVersion,
  subject: Subject,
  occurredAt: number,
): Evaluation {
  if (subject.grant) {
    const currency = subject.grant.currency ?? program.mainCurrency.code;
    const award = {
      currency,
      points: subject.grant.points,
      rule: subject.grant.product,
      funder: 'program',
      availableAt: 0,
      expiresAt: 0,
    };
    return {
      awards: [award],
      rules: [
        { rule: award.rule, outcome: 'applied', base: award.points, rounding: 'floor', points: award.points },
      ],
    };
  }
  // Rules on flights and activities come with the program file; until then nothing is earned for them.
  if (!subject.purchase) return { awards: [], rules: [] };
  return evaluate(program, definition, eligibleTotal(subject.purchase), occurredAt);
}

/** An award as a caller sees it. */
export function awardView(
  program: Program,
  award: Pick<Award, 'currency' | 'points' | 'rule' | 'availableAt' | 'expiresAt'>,
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
function check(caller: Caller, body: AccrualBody): void {
  checkStore(caller, body.purchase?.store);
  const { moneyCurrencies } = versionAt(caller.program, body.occurredAt).definition;
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

/** The awards that a recorded accrual kept. */
export function keptAwards(recorded: Recorded): Award[] {
  return (recorded.request.awards as Award[] | undefined) ?? [];
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  return {
    object: 'accrual',
    id: operationId('accrual', recorded.operation),
    mode: program.mode,
    status: 'accrued',
    member: memberId(recorded.member),
    ...(recorded.order ? { order: recorded.order } : {}),
    awards: keptAwards(recorded).map((award) => awardView(program, award)),
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
  check(caller, body);
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
    decide() {
      checkOccurredAt(caller, body.occurredAt);
      const version = versionAt(program, body.occurredAt);
      const { awards } = judge(program, version, subject, body.occurredAt);
      const points = awards.reduce((sum, award) => sum + award.points, 0);
      checkPointsLimit(caller, points);
      return {
        points,
        order: body.purchase?.order,
        input: {
          awards: awards.map((award) => [
            program.currencyByCode.get(award.currency)!.number,
            award.points,
            award.expiresAt,
            award.availableAt,
            partyOf(program.definition, award.funder),
          ]),
        },
        keep: { awards, programVersion: version.version },
      };
    },
  });
}

/** The reply to `POST /v1/accruals`. */
export function accrualReplyOf(program: Program, moved: Moved, durability: Durability): Reply {
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}

/** Why an accrual gave what it gave, recomputed from the receipt by the rules of the program. */
export function explainAccrual(program: Program, recorded: Recorded): Record<string, unknown> | undefined {
  if (recorded.kind !== 'accrual') return undefined;
  const body = recorded.request.body as Subject | undefined;
  if (!body) return undefined;
  const version = versionNumbered(program, recorded.request.programVersion, recorded.occurredAt);
  return {
    programVersion: version.version,
    judgedAt: new Date(recorded.occurredAt).toISOString(),
    rules: judge(program, version, body, recorded.occurredAt).rules,
  };
}
