/**
 * Points that a partner gives to a member or takes from one: movements of the partner's client like any other, once for ever by
 * their reference, between the member's wallet and the account `partner` of that partner. No rule judges them.
 *
 * A partner believes an answer and acts on it in books of its own, so `succeeded` is said only of what stands in the ledger: what
 * only the journal has so far is `pending` (202), and an inquiry or the same call again tells when it is written.
 */
import type { z } from 'zod';
import { type Currency, type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { movedToPartner } from '#src/ledger/postings.ts';
import type { JudgedMembers } from '#src/members/judged-member.ts';
import { membersByNumber, profileOfRow } from '#src/members/records.ts';
import { lotPartyFor } from '#src/partners/contracts/arithmetic.ts';
import { drawBefore } from '#src/partners/contracts/drawing.ts';
import type { Contract, Partner } from '#src/partners/contracts/types.ts';
import type {
  accrualRequest,
  MovementKind,
  MovementReply,
  redemptionRequest,
} from '#src/partners/protocol/schemas.ts';
import { type EpochMs, type MemberNumber, memberId, operationId } from '#src/values.ts';
import { checkPointsLimit } from '#src/wallet/fields.ts';
import type { Durability, Recorded } from '#src/wallet/operations.ts';
import { type Moved, perform } from '#src/wallet/perform.ts';
import { checkLinked, isLinked, memberOfAccount } from './accounts.ts';
import { countAttempt } from './attempts.ts';
import { contractAt, currencyOf, type InboundContext, partnerOf } from './context.ts';
import { expiryOf } from './expiry.ts';
import { compareNames, namesIn } from './names.ts';

export interface MovementContext extends InboundContext {
  readonly judgedMember: JudgedMembers;
}

const dayMs = 86_400_000;
const aheadMsMax = 5 * 60_000;

/** What the engine keeps of a partner's movement beside its body. */
export interface KeptOfPartner {
  readonly partner: number;
  readonly contract: number;
}

/** Refuses what lies in the future or came later than the contract takes late claims. */
export function checkClaim(program: Program, { claimDays }: Contract, occurredAt: EpochMs): void {
  const now = programNow(program);
  if (occurredAt > now + aheadMsMax) {
    throw new Problem('occurred_at_in_future', undefined, {
      errors: [{ pointer: '/occurredAt', detail: 'lies more than five minutes ahead' }],
    });
  }
  if (occurredAt < now - claimDays * dayMs) {
    throw new Problem('occurred_at_too_old', undefined, {
      errors: [{ pointer: '/occurredAt', detail: `lies more than ${claimDays} days back` }],
    });
  }
}

/** Points that an operation moved between member and partner. */
export function pointsOf(recorded: Recorded): number {
  return Math.abs(movedToPartner(recorded.effect)?.parts[0]?.[1] ?? 0);
}

interface KeptBody {
  readonly reference: string;
  readonly currency: string;
  readonly occurredAt: string;
  readonly originalReference?: string;
  readonly void?: true;
}

/** A movement as its partner sees it; a function of what is recorded alone. */
export function movementView(recorded: Recorded, reached: Durability): MovementReply {
  const body = recorded.request.body as KeptBody;
  const shortfall = recorded.effect.shortfall?.[0]?.[1] ?? 0;
  const status = body.void ? 'failed' : reached === 'ledger' ? 'succeeded' : 'pending';
  return {
    object: 'partnerOperation',
    id: operationId(recorded.kind, recorded.operation),
    kind: recorded.kind as MovementKind,
    reference: body.reference,
    status,
    account: memberId(recorded.member),
    points: pointsOf(recorded),
    currency: body.currency,
    occurredAt: body.occurredAt,
    at: new Date(recorded.at).toISOString(),
    ...(body.originalReference === undefined ? {} : { originalReference: body.originalReference }),
    ...(shortfall > 0 ? { shortfall } : {}),
    ...(body.void ? { reason: 'voided' } : {}),
  };
}

/** 201, or 202 where the ledger has it only in a moment. */
export function partnerReply({ recorded, replayed, reached }: Moved): Reply {
  return { status: reached === 'ledger' ? 201 : 202, replayed, body: movementView(recorded, reached) };
}

/** Refuses points for an account that is neither linked nor named as its member is. */
async function checkMayGive(
  { pool, identity }: InboundContext,
  program: Program,
  client: number,
  member: MemberNumber,
  { account, name }: { readonly account: string; readonly name?: string | undefined },
): Promise<void> {
  if (await isLinked(pool, client, member)) return;
  if (name === undefined) throw new Problem('member_not_linked');
  const attempt = await countAttempt(pool, identity, program, client, account);
  const row = (await membersByNumber(pool, program, [member])).get(member);
  const kept = row ? namesIn(profileOfRow(identity, program, row).attributes) : [];
  const comparison = compareNames(name, kept);
  if (comparison === 'not_compared') throw new Problem('member_not_linked');
  if (comparison === 'differs') throw new Problem('member_not_found');
  await attempt.succeeded();
}

/** Draws from the blocks of a prepaid partner; refuses where they are empty. */
async function checkPrepaid(
  { pool }: InboundContext,
  { number: partner }: Partner,
  contract: Contract,
  { reference, points }: { readonly reference: string; readonly points: number },
  at: EpochMs,
): Promise<void> {
  const isDrawn = await drawBefore(pool, { partner, contract, kind: 'accrual', reference, points, at });
  if (!isDrawn)
    throw new Problem(
      'limit_exceeded',
      'The blocks of points that were bought in advance have not so many left.',
    );
}

function keptOf(partner: Partner, contract: Contract): KeptOfPartner {
  return { partner: partner.number, contract: contract.version };
}

/**
 * What a partner asks for at one of its members, but for what is decided about it. `rest` is kept with the currency's own code; the
 * account is told apart by it and not kept.
 */
function asked<Rest extends object>(
  context: MovementContext,
  { caller, body, waitMs }: Call<z.output<typeof accrualRequest> | z.output<typeof redemptionRequest>>,
  currency: Currency,
  rest: Rest,
) {
  const { account, reference, occurredAt } = body;
  const canonical = { ...rest, currency: currency.code };
  return {
    ...{ caller, reference, waitMs, body: canonical, named: { ...canonical, account } },
    occurredAt: Date.parse(occurredAt),
    durability: 'ledger' as const,
    member: () => memberOfAccount(context, caller.program, account),
  };
}

/** `POST /v1/partner/accruals` */
export async function accrue(
  context: MovementContext,
  call: Call<z.output<typeof accrualRequest>>,
): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const { account: _, name: __, currency: code, ...rest } = body;
  const partner = await partnerOf(context, caller);
  const currency = program.currencyByNumber.get(currencyOf(program, code).number)!;
  const movement = asked(context, call, currency, rest);
  const { occurredAt } = movement;
  const moved = await perform(context.operations, {
    ...movement,
    script: 'accrue',
    kind: 'accrual',
    async decide(facts) {
      const contract = contractAt(partner, programNow(program));
      checkClaim(program, contract, occurredAt);
      checkPointsLimit(caller, body.points);
      await checkMayGive(context, program, caller.client, facts.member, body);
      await checkPrepaid(context, partner, contract, body, programNow(program));
      const expiresAt = await expiryOf(context.judgedMember, program, currency, occurredAt, facts);
      const award = { currency: currency.code, points: body.points, availableAt: 0, expiresAt };
      return {
        points: body.points,
        // The lots name no funder: who gave them is said by the account's party.
        input: {
          awards: [[currency.number, body.points, expiresAt, 0, lotPartyFor(partner.number, contract)]],
          account: 'partner',
          party: partner.number,
        },
        keep: {
          ...keptOf(partner, contract),
          awards: [{ ...award, rule: `partner:${partner.name}`, funder: partner.name }],
        },
      };
    },
  });
  return partnerReply(moved);
}

/** `POST /v1/partner/redemptions` */
export async function redeem(
  context: MovementContext,
  call: Call<z.output<typeof redemptionRequest>>,
): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const { account: _, currency: code, ...rest } = body;
  const partner = await partnerOf(context, caller);
  const currency = program.currencyByNumber.get(currencyOf(program, code).number)!;
  if (!currency.spendable) throw new Problem('currency_unknown', `${currency.code} cannot be spent.`);
  const movement = asked(context, call, currency, rest);
  const { occurredAt } = movement;
  const moved = await perform(context.operations, {
    ...movement,
    script: 'spend',
    kind: 'redemption',
    async decide(facts) {
      const contract = contractAt(partner, programNow(program));
      checkClaim(program, contract, occurredAt);
      checkPointsLimit(caller, body.points);
      await checkLinked(context.pool, caller.client, facts.member);
      return {
        points: body.points,
        input: { parts: [[currency.number, body.points]], account: 'partner', party: partner.number },
        keep: { ...keptOf(partner, contract) },
      };
    },
  });
  return partnerReply(moved);
}
