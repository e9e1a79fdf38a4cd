/**
 * Reversals: an accrual is taken back, whole or by line. A till that never learned whether its accrual arrived reverses it
 * by reference with `voidIfMissing`: where there is none, the reference is used up, so a late copy earns nothing.
 */
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import type { Decided } from '#src/members/judged-member.ts';
import type { OperationHex, Soon } from '#src/values.ts';
import { memberId, operationId } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import {
  checkOccurredAt,
  checkOriginalStore,
  checkPointsLimit,
  durabilityOf,
  fault,
  referenceOf,
} from '#src/wallet/fields.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import {
  checkWhole,
  grownOrder,
  type OrderRead,
  type OrdersContext,
  onWholeOrder,
  sameOrder,
} from '#src/wallet/orders.ts';
import { findOriginal } from '#src/wallet/originals.ts';
import { type Decision, movementReply, perform } from '#src/wallet/perform.ts';
import type { EarningContext } from './accruals.ts';
import { awardView, someMember } from './accruals.ts';
import type { KeptAward } from './judge.ts';
import { takeBackOfOrder } from './order-awards.ts';
import { type Program, presentVersion, versionAt } from './program.ts';
import type { JudgedMember } from './rules/types.ts';
import type { ReversalBody } from './schemas.ts';
import {
  afterReturn,
  asksOfMember,
  isOfOrder,
  type OriginalState,
  type Undone,
  untouched,
} from './undoing.ts';

export interface ReversalContext extends EarningContext, OrdersContext {}

interface Sum {
  readonly currency: string;
  readonly points: number;
}

/** Of the points that were to be taken back those that the member had no more, by currency: spent, or ended unused. */
export function takenBackView(
  program: Program,
  { effect: { shortfall = [], expired = [] } }: Recorded,
): { shortfall: Sum[]; expired: Sum[] } {
  const sums = (rows: readonly (readonly [currency: number, points: number, ...unknown[]])[]): Sum[] => {
    const byCurrency = new Map<number, number>();
    for (const [currency, points] of rows) byCurrency.set(currency, (byCurrency.get(currency) ?? 0) + points);
    return [...byCurrency].map(([currency, points]) => ({
      currency: program.currencyByNumber.get(currency)?.code ?? String(currency),
      points,
    }));
  };
  return { shortfall: sums(shortfall), expired: sums(expired) };
}

function view(program: Program, recorded: Recorded, accrual: OperationHex): Record<string, unknown> {
  return {
    object: 'reversal',
    id: operationId('reversal', recorded.operation),
    mode: program.mode,
    status: 'reversed',
    member: memberId(recorded.member),
    accrual: operationId('accrual', accrual),
    awards: ((recorded.request.takenBack as KeptAward[] | undefined) ?? []).map((award) =>
      awardView(program, award),
    ),
    ...takenBackView(program, recorded),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** What an operation was decided on, for whoever judges it again. */
export function decidedBy({
  member,
  position,
  at,
  request,
}: Pick<Recorded, 'member' | 'position' | 'at' | 'request'>): Decided {
  return { member, position, at, segmentRun: request.segmentRun as number | undefined };
}

/** What rules may know of the member of an accrual, where they ask; its tier and segments are those of then. */
export function memberOfAccrual(
  context: Pick<EarningContext, 'judgedMember'>,
  program: Program,
  accrual: Recorded,
  member: MemberFacts,
): Soon<JudgedMember> {
  if (!asksOfMember(program, accrual)) return someMember;
  return context.judgedMember(program, member, { at: accrual.occurredAt, decided: decidedBy(accrual) });
}

/** Members as the rules of several accruals knew them. */
export async function membersOfAccruals(
  context: Pick<EarningContext, 'judgedMember'>,
  program: Program,
  accruals: readonly Recorded[],
  member: MemberFacts,
): Promise<(accrual: Recorded) => JudgedMember> {
  const judged = new Map<Recorded, JudgedMember>();
  for (const accrual of accruals)
    judged.set(accrual, await memberOfAccrual(context, program, accrual, member));
  return (accrual) => judged.get(accrual)!;
}

/** Uses up the reference of an accrual that never arrived; answers the empty accrual, or the real one if it came first. */
async function voidAccrual(context: EarningContext, call: Call<ReversalBody>): Promise<Recorded> {
  const { caller, body } = call;
  const { member, originalReference } = body;
  if (member === undefined) throw fault('/member', 'is required with voidIfMissing');
  const canonical = { reference: originalReference!, void: true };
  const moved = await perform(context.operations, {
    caller,
    script: 'accrue',
    kind: 'accrual',
    reference: originalReference!,
    named: canonical,
    body: canonical,
    occurredAt: body.occurredAt,
    durability: 'ledger',
    waitMs: call.waitMs,
    member: () => context.resolveMember(caller.program, member),
    decide: () => ({
      input: { awards: [] },
      keep: { awards: [], programVersion: versionAt(caller.program, body.occurredAt).version },
    }),
  });
  return moved.recorded;
}

async function originalOf(context: EarningContext, call: Call<ReversalBody>): Promise<Recorded> {
  const { caller, body, params } = call;
  const find = () =>
    findOriginal(context.operations, caller, params.id!, body.originalReference, ['accrual']);
  const found = await find();
  if (found) return found;
  if (!body.voidIfMissing || body.originalReference === undefined) throw new Problem('original_not_found');
  // Asked before the reference is used up: taking lines back from nothing would be refused afterwards.
  if (body.lines !== undefined)
    throw fault('/lines', 'cannot be taken back from a receipt that is not there');
  try {
    return await voidAccrual(context, call);
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'reference_reused') throw error;
    const late = await find();
    if (!late) throw error;
    return late;
  }
}

/** What the script is told was read. Of a member that was merged since no receipt comes any more. */
export function readOf(read: OrderRead['read'], isMoved: boolean): { readonly read?: OrderRead['read'] } {
  return read && !isMoved ? { read } : {};
}

/** The receipts that are judged together: those of its order, where an award of it counts once for all of them. */
async function receiptsOf(context: ReversalContext, program: Program, accrual: Recorded): Promise<OrderRead> {
  if (!isOfOrder(program, accrual)) return { found: [accrual], read: undefined, isWhole: true };
  return sameOrder(context, accrual, ['accrual']);
}

/** The decision to take `lines` back from one of the receipts. */
function decisionOf(
  caller: Caller,
  accrual: Recorded,
  receipts: readonly Recorded[],
  lines: ReversalBody['lines'],
  stateOf: (receipt: Recorded) => OriginalState,
  memberOf: (receipt: Recorded) => JudgedMember,
): Pick<Decision, 'origins' | 'keep'> & { readonly points: number; readonly accruals: readonly Undone[] } {
  const { program } = caller;
  const after = afterReturn(accrual, stateOf(accrual), lines);
  if (!after) throw new Problem('reversal_exceeds_accrual');
  const taken = takeBackOfOrder(program, receipts, new Map([[accrual, after]]), stateOf, memberOf);
  for (const receipt of taken.keys()) checkOriginalStore(caller, receipt);
  const others = receipts.filter((each) => each !== accrual);
  const accruals = [accrual, ...others].map((receipt): Undone => {
    const { version, note } = stateOf(receipt);
    return taken.get(receipt)?.undone ?? [receipt.operation, version, note, []];
  });
  const awards = [...taken.values()].flatMap((back) => back.awards);
  return {
    points: awards.reduce((sum, { points }) => sum + points, 0),
    origins: accruals.map(([operation]) => operation),
    accruals,
    keep: { takenBack: awards, undone: accruals.map(undoneOf) },
  };
}

/** `POST /v1/accruals/:id/reversals` */
export function reverse(context: ReversalContext, call: Call<ReversalBody>): Promise<Reply> {
  return onWholeOrder(() => reverseOnce(context, call));
}

async function reverseOnce(context: ReversalContext, call: Call<ReversalBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const reference = referenceOf(call, body);
  const accrual = await originalOf(context, call);
  checkOriginalStore(caller, accrual);
  const durability = durabilityOf(body, 'journal');
  const canonical = { accrual: accrual.operation, reference, occurredAt: body.occurredAt, lines: body.lines };
  const order = await receiptsOf(context, program, accrual);
  const { found: receipts, read } = order;
  const states = new Map<string, OriginalState>();
  const moved = await perform(context.operations, {
    caller,
    script: 'undo',
    kind: 'reversal',
    reference,
    named: canonical,
    body: canonical,
    metadata: body.metadata,
    occurredAt: body.occurredAt,
    durability,
    waitMs: call.waitMs,
    // The points went to the accrual's own member; after a merge they are taken from the survivor.
    member: () => context.operations.lookup.member(program.number, accrual.member),
    attemptsMax: 4 + receipts.length,
    staleOperation(details) {
      states.set(String(details.operation), {
        version: Number(details.version),
        note: String(details.note),
      });
    },
    refused: grownOrder,
    async decide(member) {
      checkOccurredAt(caller, body.occurredAt);
      checkWhole(order);
      const memberOf = await membersOfAccruals(context, program, receipts, member);
      const stateOf = ({ operation }: Recorded) => states.get(operation) ?? untouched;
      const { accruals, points, ...decided } = decisionOf(
        caller,
        accrual,
        receipts,
        body.lines,
        stateOf,
        memberOf,
      );
      checkPointsLimit(caller, points);
      const isMoved = member.member !== accrual.member;
      return {
        ...decided,
        points,
        order: accrual.order,
        input: {
          accruals,
          redemptions: [],
          debt: presentVersion(program).definition.debtAllowed,
          moved: isMoved,
          ...readOf(read, isMoved),
        },
      };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded, accrual.operation));
}

/** What is kept of an original's part: which, the note, the points. The books recompute its state from these. */
export function undoneOf([operation, , note, parts]: Undone): unknown {
  return [operation, note, parts];
}
