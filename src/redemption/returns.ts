/**
 * Returns: goods of an order come back, so what they earned is taken back and points that paid for them are given back,
 * in one record. What comes back is planned in `return-plan.ts`.
 */
import type pg from 'pg';
import { awardView } from '#src/earning/accruals.ts';
import { leastEnds } from '#src/earning/activity.ts';
import type { KeptAward } from '#src/earning/judge.ts';
import { type Program, presentVersion } from '#src/earning/program.ts';
import { memberOfAccrual, shortfallView, undoneOf } from '#src/earning/reversals.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import type { JudgedMember } from '#src/earning/rules/types.ts';
import { type OriginalState, untouched } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { memberId, type OperationHex, type OperationKind, operationId } from '#src/values.ts';
import { balancesAfter } from '#src/wallet/balances.ts';
import {
  checkOccurredAt,
  checkOriginalStore,
  checkPointsLimit,
  durabilityOf,
  fault,
  referenceOf,
} from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { allBarriers, findOriginal } from '#src/wallet/originals.ts';
import { movementReply, perform } from '#src/wallet/perform.ts';
import { codeOf, type RedemptionContext, sumOf } from './redemptions.ts';
import { type Order, planReturn } from './return-plan.ts';
import type { ReturnBody } from './schemas.ts';

export interface ReturnContext extends RedemptionContext {
  readonly pool: pg.Pool;
}

const operationsOfOrderMax = 200;

async function operationsOfOrder(
  context: ReturnContext,
  program: Program,
  order: string,
): Promise<Recorded[]> {
  const kinds: OperationKind[] = ['accrual', 'redemption', 'capture'];
  const result = await context.pool.query<{ operation: OperationHex }>(
    `select replace(operation::text, '-', '') as operation from operation
     where program = $1 and order_reference = $2 and kind = any($3) order by at, operation limit $4`,
    [program.number, order, kinds, operationsOfOrderMax],
  );
  return context.operations.inBooks(result.rows.map((row) => row.operation));
}

/** Everything of an order, complete for the members that it names; an unknown order is looked for in all journals. */
async function completeOrder(context: ReturnContext, program: Program, order: string): Promise<Recorded[]> {
  const { wallet } = context.operations;
  const found = await operationsOfOrder(context, program, order);
  if (found.length === 0) await allBarriers(context.operations, 1_000);
  for (const shard of new Set(found.map((operation) => wallet.shardOf(operation.member)))) {
    if ((await wallet.readBarrier(shard, 1_000)) === 'timeout') {
      throw new Problem('not_ready', 'the books are behind; ask again');
    }
  }
  return operationsOfOrder(context, program, order);
}

async function findOrder(context: ReturnContext, caller: Caller, body: ReturnBody): Promise<Order> {
  const { program } = caller;
  if (body.accrual !== undefined) {
    const accrual = await findOriginal(context.operations, caller, body.accrual, undefined, ['accrual']);
    if (!accrual) throw new Problem('original_not_found');
    const of = accrual.order === '' ? [] : await completeOrder(context, program, accrual.order);
    const paid = of.filter((o) => o.kind !== 'accrual' && o.member === accrual.member);
    const accruals = of.filter((o) => o.kind === 'accrual' && o.member === accrual.member);
    const own = accruals.find((o) => o.operation === accrual.operation) ?? accrual;
    return { accruals: accruals.length > 0 ? accruals : [own], chosen: [own], redemptions: paid };
  }
  const found = await completeOrder(context, program, body.order!);
  if (found.length === 0) throw new Problem('original_not_found');
  // Receipt numbers that start again each day: taking somebody else's points would be worse than asking.
  if (new Set(found.map((operation) => operation.member)).size > 1) {
    throw fault('/order', 'belongs to several members; name the accrual instead');
  }
  const accruals = found.filter((o) => o.kind === 'accrual');
  return {
    accruals,
    chosen: accruals,
    redemptions: found.filter((o) => o.kind !== 'accrual'),
  };
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
    shortfall: shortfallView(program, recorded),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** `POST /v1/returns` */
export async function returnGoods(context: ReturnContext, call: Call<ReturnBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const reference = referenceOf(call, body);
  const order = await findOrder(context, caller, body);
  const owner = (order.accruals[0] ?? order.redemptions[0])!;
  for (const original of [...order.accruals, ...order.redemptions]) checkOriginalStore(caller, original);
  const durability = durabilityOf(body, 'ledger');
  const { durability: _asked, metadata, ...canonical } = { ...body, reference };
  const states = new Map<string, OriginalState>();
  const moved = await perform(context.operations, {
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
    async decide(member) {
      checkOccurredAt(caller, body.occurredAt);
      const judged = new Map<Recorded, JudgedMember>();
      for (const accrual of order.accruals)
        judged.set(accrual, await memberOfAccrual(context, program, accrual, member));
      const stateOf = (original: Recorded) => states.get(original.operation) ?? untouched;
      const decided = planReturn(program, order, body, stateOf, (accrual) => judged.get(accrual)!);
      const all = [...decided.accruals, ...decided.redemptions];
      const points = all.reduce((sum, [, , , parts]) => sum + sumOf(parts), 0);
      checkPointsLimit(caller, points);
      return {
        points,
        origins: all.map(([operation]) => operation),
        order: owner.order,
        input: {
          accruals: decided.accruals,
          redemptions: decided.redemptions,
          least: leastEnds(program),
          debt: presentVersion(program).definition.debtAllowed,
          moved: member.member !== owner.member,
        },
        keep: {
          takenBack: decided.awards,
          refunded: decided.refunded.map(({ redemption, currency, points, value }) => ({
            redemption: operationId(redemption.kind, redemption.operation),
            currency,
            points,
            ...(value ? { value } : {}),
          })),
          ...(decided.money ? { refundMoney: decided.money } : {}),
          undone: all.map(undoneOf),
        },
      };
    },
  });
  return movementReply(moved, durability, 201, view(program, moved.recorded));
}
