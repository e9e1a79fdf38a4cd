/**
 * Returns: goods of an order come back, so what they earned is taken back and points that paid for them are given back,
 * in one record. What comes back is planned in `return-plan.ts`. Of points that a pool paid with, the record says how many come back;
 * a refund of the pool then brings them to the members they came from.
 */
import type pg from 'pg';
import { awardView } from '#src/earning/accruals.ts';
import { leastEnds } from '#src/earning/activity.ts';
import type { KeptAward } from '#src/earning/judge.ts';
import { type Program, presentVersion } from '#src/earning/program.ts';
import { membersOfAccruals, readOf, takenBackView, undoneOf } from '#src/earning/reversals.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { isOfOrder, type OriginalState, untouched } from '#src/earning/undoing.ts';
import { errorTable, Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { memberId, type OperationKind, operationId } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import {
  checkOccurredAt,
  checkOriginalStore,
  checkPointsLimit,
  durabilityOf,
  fault,
  referenceOf,
} from '#src/wallet/fields.ts';
import type { Durability, Recorded } from '#src/wallet/operations.ts';
import {
  checkWhole,
  grownOrder,
  type OrderRead,
  onWholeOrder,
  operationsOfOrder,
  sameOrder,
} from '#src/wallet/orders.ts';
import { findOriginal } from '#src/wallet/originals.ts';
import { type Decision, type Moved, movementReply, perform } from '#src/wallet/perform.ts';
import type { KeptPooled, PooledRedemption, PooledReturns, Reserved } from './pooled.ts';
import { codeOf, type RedemptionContext, sumOf } from './redemptions.ts';
import { type Order, planReturn, type ReturnPlan } from './return-plan.ts';
import type { ReturnBody } from './schemas.ts';

export interface ReturnContext extends RedemptionContext {
  readonly pool: pg.Pool;
  readonly pooled: PooledReturns;
}

/** Of an order what its return moves. */
const movedKinds: readonly OperationKind[] = ['accrual', 'redemption', 'capture'];

/** Parts of a pool's redemption come back with it, not each by itself. */
function isPartOfPool({ request }: Recorded): boolean {
  return (request.body as { pool?: string } | undefined)?.pool !== undefined;
}

interface FoundOrder extends Order, Pick<OrderRead, 'isWhole'> {
  /** Those of the redemptions that pools have made. */
  readonly pooled: readonly PooledRedemption[];
  /** Where its receipts are judged together. */
  readonly read: OrderRead['read'];
}

/** An order with what pools have paid for it, where its member is of their households. */
async function withPooled(
  { pooled: pools }: ReturnContext,
  order: Omit<FoundOrder, 'pooled'>,
  found: readonly PooledRedemption[],
  isNamed: boolean,
): Promise<FoundOrder> {
  const [first] = [...order.accruals, ...order.redemptions];
  const owner = first?.member ?? found[0]?.whole.member;
  const pooled: PooledRedemption[] = [];
  for (const each of found) {
    if (each.whole.member === owner || (await pools.isOfHousehold(each, owner!))) pooled.push(each);
    // Receipt numbers that start again each day: taking somebody else's points would be worse than asking.
    else if (!isNamed) throw fault('/order', 'belongs to several members; name the accrual instead');
  }
  const redemptions = [...order.redemptions, ...pooled.map(({ whole }) => whole)];
  return { ...order, redemptions: redemptions.sort((a, b) => a.at - b.at), pooled };
}

function partsOf(found: readonly Recorded[]): Pick<Order, 'accruals' | 'redemptions'> {
  const own = found.filter((each) => !isPartOfPool(each));
  return {
    accruals: own.filter(({ kind }) => kind === 'accrual'),
    redemptions: own.filter(({ kind }) => kind !== 'accrual'),
  };
}

/** Only where receipts are judged together it matters that none was added. */
function readFor(
  program: Program,
  accruals: readonly Recorded[],
  read: OrderRead['read'],
): OrderRead['read'] {
  return accruals.some((accrual) => isOfOrder(program, accrual)) ? read : undefined;
}

async function findOrder(
  context: ReturnContext,
  caller: Caller,
  body: ReturnBody,
  deadlineMs: number,
): Promise<FoundOrder> {
  const { program } = caller;
  if (body.accrual !== undefined) {
    const accrual = await findOriginal(context.operations, caller, body.accrual, undefined, ['accrual']);
    if (!accrual) throw new Problem('original_not_found');
    const { order } = accrual;
    const { found, read, isWhole } = await sameOrder(context, accrual, movedKinds);
    const { accruals, redemptions } = partsOf(found);
    return withPooled(
      context,
      { accruals, chosen: [accrual], redemptions, read: readFor(program, accruals, read), isWhole },
      order === '' ? [] : await context.pooled.ofOrder(program, order, deadlineMs),
      true,
    );
  }
  const asked = await operationsOfOrder(context, program.number, body.order!, movedKinds);
  const found = asked.found.filter((o) => !isPartOfPool(o));
  const pooled = await context.pooled.ofOrder(program, body.order!, deadlineMs);
  if (found.length + pooled.length === 0) throw new Problem('original_not_found');
  // Receipt numbers that start again each day: taking somebody else's points would be worse than asking.
  if (new Set(found.map((operation) => operation.member)).size > 1) {
    throw fault('/order', 'belongs to several members; name the accrual instead');
  }
  const { accruals, redemptions } = partsOf(found);
  const read = readFor(program, accruals, asked.read);
  const order = { accruals, chosen: accruals, redemptions, read, isWhole: asked.isWhole };
  return withPooled(context, order, pooled, false);
}

interface KeptReturn {
  readonly takenBack?: readonly KeptAward[];
  readonly refunded?: readonly {
    redemption: string;
    currency: number;
    points: number;
    value?: MoneyAmount;
  }[];
  readonly refundMoney?: MoneyAmount;
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  const kept = recorded.request as KeptReturn;
  return {
    object: 'return',
    id: operationId('return', recorded.operation),
    mode: program.mode,
    status: 'returned',
    member: memberId(recorded.member),
    ...(recorded.order ? { order: recorded.order } : {}),
    reversed: (kept.takenBack ?? []).map((award) => awardView(program, award)),
    refunded: (kept.refunded ?? []).map((row) => ({ ...row, currency: codeOf(program, row.currency) })),
    ...(kept.refundMoney ? { refundMoney: kept.refundMoney } : {}),
    ...takenBackView(program, recorded),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** What the script is asked for, and what is kept: of redemptions of pools only how much comes back of each, and by which refund. */
function decisionOf(
  program: Program,
  order: FoundOrder,
  plan: ReturnPlan,
  reserved: Reserved,
  isMoved: boolean,
): Decision {
  const ids = new Map(order.pooled.map(({ id, whole }) => [whole.operation, id]));
  const redemptions = plan.redemptions.filter(([operation]) => !ids.has(operation));
  const own = [...plan.accruals, ...redemptions];
  const pooled = plan.redemptions
    .filter(([operation]) => ids.has(operation))
    .map(([operation, , , parts]): KeptPooled => {
      const points = parts.map(([currency, of]) => [currency, of] as const);
      return [operation, reserved.refunds.get(operation)!, points];
    });
  const all = [...plan.accruals, ...plan.redemptions];
  return {
    points: all.reduce((sum, [, , , parts]) => sum + sumOf(parts), 0),
    origins: own.map(([operation]) => operation),
    order: ownerOf(order).order,
    input: {
      accruals: plan.accruals,
      redemptions,
      least: leastEnds(program),
      debt: presentVersion(program).definition.debtAllowed,
      moved: isMoved,
      ...readOf(order.read, isMoved),
    },
    keep: {
      takenBack: plan.awards,
      refunded: plan.refunded.map(({ redemption, currency, points, value }) => ({
        redemption: ids.get(redemption.operation) ?? operationId(redemption.kind, redemption.operation),
        currency,
        points,
        ...(value ? { value } : {}),
      })),
      ...(plan.money ? { refundMoney: plan.money } : {}),
      undone: own.map(undoneOf),
      ...(pooled.length > 0 ? { pooled } : {}),
    },
  };
}

/** Whose order it is: whoever bought, else whoever paid. */
function ownerOf({ accruals, redemptions, pooled }: FoundOrder): Recorded {
  const wholes = new Set(pooled.map(({ whole }) => whole));
  return accruals[0] ?? redemptions.find((each) => !wholes.has(each)) ?? redemptions[0]!;
}

/** Runs the return of an order whose turns are taken. */
function returnOf(
  context: ReturnContext,
  call: Call<ReturnBody>,
  order: FoundOrder,
  reserved: Reserved,
  durability: Durability,
): Promise<Moved> {
  const { caller, body } = call;
  const { program } = caller;
  const owner = ownerOf(order);
  const reference = referenceOf(call, body);
  const { durability: _asked, metadata, ...canonical } = { ...body, reference };
  const states = new Map<string, OriginalState>();
  return perform(context.operations, {
    caller,
    script: 'undo',
    kind: 'return',
    reference,
    named: canonical,
    body: canonical,
    metadata,
    occurredAt: body.occurredAt,
    durability,
    waitMs: call.waitMs,
    member: () => context.operations.lookup.member(program.number, owner.member),
    attemptsMax: 5 + order.accruals.length + order.redemptions.length,
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
      const memberOf = await membersOfAccruals(context, program, order.accruals, member);
      const stateOf = ({ operation }: Recorded) =>
        states.get(operation) ?? { ...untouched, note: reserved.notes.get(operation) ?? '' };
      const plan = planReturn(program, order, body, stateOf, memberOf);
      const decision = decisionOf(program, order, plan, reserved, member.member !== owner.member);
      checkPointsLimit(caller, decision.points!);
      return order.pooled.length === 0
        ? decision
        : { ...decision, keep: { ...decision.keep, returnedBy: caller.client } };
    },
  });
}

/** Whether an error says that nothing was done. */
function isRefusal(error: unknown): boolean {
  return error instanceof Problem && errorTable[error.code].applied !== 'unknown';
}

/** Also a caller who does not want to wait is told what came back of pools, where that is as fast as usual. */
const waitMsMin = 1_000;

/** `POST /v1/returns` */
export function returnGoods(context: ReturnContext, call: Call<ReturnBody>): Promise<Reply> {
  return onWholeOrder(() => returnOnce(context, call));
}

async function returnOnce(context: ReturnContext, call: Call<ReturnBody>): Promise<Reply> {
  const { caller, body } = call;
  const deadlineMs = Date.now() + Math.max(call.waitMs, waitMsMin);
  const order = await findOrder(context, caller, body, deadlineMs);
  for (const original of [...order.accruals, ...order.redemptions]) checkOriginalStore(caller, original);
  const durability = durabilityOf(body, 'ledger');
  const reserved = await context.pooled.reserve(caller, referenceOf(call, body), order.pooled, deadlineMs);
  let moved: Moved;
  try {
    moved = await returnOf(context, call, order, reserved, durability);
  } catch (error) {
    if (isRefusal(error)) await reserved.giveUp();
    throw error;
  }
  const isBack = await context.pooled.finish(moved.recorded, reserved, deadlineMs);
  const reached = isBack ? moved.reached : 'journal';
  return movementReply({ ...moved, reached }, durability, 201, view(caller.program, moved.recorded));
}
