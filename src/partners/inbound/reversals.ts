/**
 * What a partner takes back of its own movements: in any pieces and order, never more than they were, and what is still left is
 * decided by the wallet's script.
 *
 * Points of an accrual that the member has spent meanwhile become debt, whatever the program allows otherwise: the partner
 * takes back exactly what it takes back, in its books as in ours, and what the member owes is ours alone to wait for.
 */
import type { z } from 'zod';
import { type Program, programNow } from '#src/earning/program.ts';
import { type OriginalState, type Undone, untouched } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { movedToPartner } from '#src/ledger/postings.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { reversalRequest } from '#src/partners/protocol/schemas.ts';
import type { OperationKind } from '#src/values.ts';
import { checkPointsLimit } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { findByReference } from '#src/wallet/originals.ts';
import { perform } from '#src/wallet/perform.ts';
import { memberOfAccount } from './accounts.ts';
import { contractAt, type InboundContext, partnerOf } from './context.ts';
import { checkClaim, partnerReply, pointsOf } from './movements.ts';

type Body = z.output<typeof reversalRequest>;

const readMs = 1_000;

/** The partner's own movement of a reference, once it is in the books. */
export async function ownMovement(
  context: InboundContext,
  caller: Caller,
  kind: OperationKind,
  reference: string,
): Promise<Recorded | undefined> {
  const operation = await findByReference(context.operations, caller, [kind], reference);
  const recorded = operation && (await context.operations.recorded(operation, readMs));
  if (recorded?.program !== caller.program.number || recorded.request.partner === undefined) return undefined;
  return recorded;
}

/** Uses the reference of a movement that never arrived up; answers the empty one. */
async function voided(context: InboundContext, call: Call<Body>, partner: Partner): Promise<Recorded> {
  const { caller, body } = call;
  const { program } = caller;
  const reference = body.originalReference;
  const canonical = {
    reference,
    currency: program.mainCurrency.code,
    occurredAt: body.occurredAt,
    void: true as const,
  };
  const moved = await perform(context.operations, {
    caller,
    // Moves nothing, whatever has become of the member since: a suspended one's points are voided like everybody's.
    script: 'receive',
    kind: body.originalKind,
    reference,
    // Not its time: a second attempt to void it is made later.
    named: { reference, void: true },
    body: canonical,
    occurredAt: Date.parse(body.occurredAt),
    durability: 'ledger',
    waitMs: call.waitMs,
    member: () => memberOfAccount(context, program, body.account!),
    decide: () => ({
      input: { lots: [], debts: [], back: true },
      keep: {
        partner: partner.number,
        contract: contractAt(partner, programNow(program)).version,
        awards: [],
      },
    }),
  });
  return moved.recorded;
}

async function originalOf(context: InboundContext, call: Call<Body>, partner: Partner): Promise<Recorded> {
  const { caller, body } = call;
  const find = () => ownMovement(context, caller, body.originalKind, body.originalReference);
  const found = await find();
  if (found) return found;
  if (!body.voidIfMissing) throw new Problem('original_not_found');
  try {
    return await voided(context, call, partner);
  } catch (error) {
    // It arrived meanwhile.
    if (!(error instanceof Problem) || error.code !== 'reference_reused') throw error;
    const late = await find();
    // It was refused a moment ago, which the wallet remembers for some minutes: then it is voided, and not before.
    if (!late) throw new Problem('reference_in_progress', 'the original was just refused; void it later');
    return late;
  }
}

interface TakenBack {
  readonly undone: Undone;
  readonly points: number;
}

function takenBefore({ note }: OriginalState): number {
  return note === '' ? 0 : ((JSON.parse(note) as { taken?: number[] }).taken?.[0] ?? 0);
}

/** PURE. What is taken back of an original, in the form that `undo.lua` and the books take. */
function takeBack(original: Recorded, state: OriginalState, wanted: number | undefined): TakenBack {
  const moved = movedToPartner(original.effect);
  const [currency, whole] = [moved?.parts[0]?.[0], pointsOf(original)];
  const before = takenBefore(state);
  const left = whole - before;
  const points = wanted ?? left;
  // Of what was voided nothing is left, and nothing is taken.
  if (points > left || (points === 0 && whole > 0))
    throw new Problem('reversal_exceeds_original', undefined, { left, required: points });
  const taken = before + points;
  // As returns have it, so that whoever reads what came back of an accrual can read this too.
  const note = JSON.stringify({ amounts: {}, quantities: {}, all: taken === whole, taken: [taken] });
  const parts = currency === undefined || points === 0 ? [] : [[currency, points] as const];
  return { undone: [original.operation, state.version, note, parts], points };
}

function inputOf(original: Recorded, partner: Partner, undone: Undone, moved: boolean) {
  const isAccrual = original.kind === 'accrual';
  return {
    accruals: isAccrual ? [undone] : [],
    redemptions: isAccrual ? [] : [undone],
    debt: true,
    moved,
    account: 'partner',
    party: partner.number,
  };
}

function currencyOfOriginal(program: Program, original: Recorded): string {
  return (original.request.body as { currency?: string }).currency ?? program.mainCurrency.code;
}

/** `POST /v1/partner/reversals` */
export async function reverse(context: InboundContext, call: Call<Body>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const { originalKind, originalReference, reference, points, account } = body;
  const partner = await partnerOf(context, caller);
  const occurredAt = Date.parse(body.occurredAt);
  const original = await originalOf(context, call, partner);
  const named = { reference, originalKind, originalReference, points, occurredAt: body.occurredAt };
  let state: OriginalState = untouched;
  const moved = await perform(context.operations, {
    caller,
    script: 'undo',
    kind: 'reversal',
    reference,
    named: { ...named, account },
    body: { ...named, currency: currencyOfOriginal(program, original) },
    occurredAt,
    durability: 'ledger',
    waitMs: call.waitMs,
    // After a merge the survivor has the points.
    member: () => context.operations.lookup.member(program.number, original.member),
    staleOperation(details) {
      state = { version: Number(details.version), note: String(details.note) };
    },
    decide(member) {
      const contract = contractAt(partner, programNow(program));
      checkClaim(program, contract, occurredAt);
      const taken = takeBack(original, state, points);
      checkPointsLimit(caller, taken.points);
      const { undone } = taken;
      const [operation, , note, parts] = undone;
      return {
        points: taken.points,
        origins: [original.operation],
        input: inputOf(original, partner, undone, member.member !== original.member),
        keep: {
          partner: partner.number,
          contract: contract.version,
          undone: [[operation, note, parts]],
        },
      };
    },
    refused: (code) =>
      code === 'reversal_exceeds_accrual' || code === 'refund_exceeds_redemption'
        ? new Problem('reversal_exceeds_original')
        : undefined,
  });
  return partnerReply(moved);
}
