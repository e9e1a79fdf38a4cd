/**
 * Returns of orders that pools have paid for.
 *
 *   turn taken ──► return recorded ──► refund decided ──► refunded
 *        └──────► return refused or never made: the turn is given up
 *
 * The return takes the turns of all redemptions of pools that paid for the order, so how much had come back of each is known while it
 * is decided; how much of each comes back with it stands in its record, which is made once for its reference. The refund of the
 * pool follows from that record alone, made by whoever comes first: the request, a repeat of it, or upkeep.
 *
 * A part that somebody refunds by itself meanwhile is not missed (`refunds.ts`): it comes back once, and the return brings less.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { KeptPooled, PooledRedemption, PooledReturns, Reserved } from '#src/redemption/pooled.ts';
import { newOperation, type OperationHex } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { allBarriers } from '#src/wallet/originals.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { Collector } from './collecting.ts';
import type { PoolsContext } from './context.ts';
import { poolMovementId } from './ids.ts';
import {
  decideRefund,
  endTurns,
  leaveTurns,
  leftTurns,
  type OrderRefund,
  takeTurn,
  type Waiting,
} from './order-refund-rows.ts';
import { wasIn } from './places.ts';
import { sumOf } from './plan.ts';
import {
  orderOf,
  type PoolRedemption,
  paymentOf,
  readRedemption,
  redemptionsOfOrder,
} from './redemption-rows.ts';
import { openRefundOf } from './refund-rows.ts';
import { driveRefund, refundedOfPool } from './refunds.ts';

type Context = Pick<PoolsContext, 'operations' | 'pool' | 'programs'>;

/** Engine steps are of client 0. */
const engineClient = 0;
const askAgainMs = 25;
const resumeMs = 5_000;

/** A redemption as if its spender had paid all of it. */
function wholeOf(redemption: PoolRedemption): Recorded {
  const { price, worth, value } = paymentOf(redemption);
  const { redemption: operation, program, spender: member, madeAt: at } = redemption;
  return {
    ...{ operation, kind: 'capture', program, member, at, occurredAt: at, fingerprint: '' },
    order: orderOf(redemption) ?? '',
    position: { shard: 0, epoch: 0, seq: 0 },
    request: {
      body: { ...redemption.request, ...(value ? { value } : {}) },
      ...(worth ? { worth } : {}),
    },
    effect: {
      legs: price.map(([currency, points]) => ['redemption', currency, points, 0] as const),
      balances: [],
    },
  } as Recorded;
}

function keyOfReturn(program: number, client: number, reference: string): string {
  return referenceKeyOf(program, client, 'return', reference);
}

function refundOf(
  { number }: Pick<Program, 'number'>,
  client: number,
  returnKey: string,
  redemption: OperationHex,
  refund: OperationHex,
  madeAt: number,
): OrderRefund {
  const referenceKey = referenceKeyOf(number, engineClient, 'pool_refund', `${returnKey}/${redemption}`);
  return { refund, redemption, client, referenceKey, returnKey, madeAt };
}

/** Waits for its turn; refunds that are under way are driven to their end. */
async function turnOf(context: Context, wanted: OrderRefund, deadlineMs: number): Promise<OperationHex> {
  do {
    const taken = await takeTurn(context.pool, wanted);
    if (taken) return taken;
    const other = await openRefundOf(context.pool, wanted.redemption);
    if (other?.state === 'refunding') await driveRefund(context, other.refund, deadlineMs);
    else await delay(askAgainMs);
  } while (Date.now() < deadlineMs);
  throw new Problem(
    'reference_in_progress',
    'another refund of the pool’s redemption is under way; repeat it',
  );
}

async function noteOf(context: Context, redemption: OperationHex): Promise<string> {
  const found = await readRedemption(context.pool, redemption);
  if (!found) throw new Problem('not_found');
  const sums = sumOf([...(await refundedOfPool(context, found)).values()]);
  return sums.size === 0 ? '' : JSON.stringify(Object.fromEntries(sums));
}

interface KeptOfReturn {
  readonly pooled?: readonly KeptPooled[];
  readonly returnedBy?: number;
}

/** Turns what a return decided into refunds; answers those that bring anything back. */
async function decideRefunds(context: Context, returned: Recorded): Promise<OperationHex[]> {
  const { pooled = [], returnedBy = engineClient } = returned.request as KeptOfReturn;
  const { reference } = returned.request.body as { reference: string };
  const returnKey = keyOfReturn(returned.program, returnedBy, reference);
  const program = { number: returned.program };
  const refunds: OperationHex[] = [];
  for (const [redemption, refund, points] of pooled) {
    const decided = refundOf(program, returnedBy, returnKey, redemption, refund, returned.at);
    if (points.length === 0) await endTurns(context.pool, [decided.referenceKey]);
    else refunds.push(await decideRefund(context.pool, decided, points));
  }
  return refunds;
}

/** Brings refunds to their end. False: some of them have not reached the books by the deadline. */
async function driveRefunds(
  context: Context,
  refunds: readonly OperationHex[],
  deadlineMs: number,
): Promise<boolean> {
  let isBack = true;
  for (const refund of refunds) {
    const { state } = await driveRefund(context, refund, deadlineMs);
    isBack &&= state === 'refunded';
  }
  return isBack;
}

export function createPooledReturns(context: Context & { readonly collector: Collector }): PooledReturns {
  const { pool: database } = context;
  return {
    async ofOrder({ number }, order, deadlineMs) {
      const found: PooledRedemption[] = [];
      for (const each of await redemptionsOfOrder(database, number, order)) {
        const { redemption } = each;
        const ended =
          each.state === 'capturing' ? await context.collector.drive(redemption, deadlineMs, 'ended') : each;
        if (ended.state === 'capturing')
          throw new Problem('not_ready', 'the redemption is on its way to the ledger; repeat it');
        if (ended.state === 'redeemed')
          found.push({ id: poolMovementId('prd', redemption), whole: wholeOf(ended) });
      }
      return found;
    },
    async isOfHousehold({ whole }, member) {
      const redemption = await readRedemption(database, whole.operation);
      return redemption !== undefined && (await wasIn(database, redemption.pool, member));
    },
    async reserve({ program, client }, reference, redemptions, deadlineMs): Promise<Reserved> {
      const returnKey = keyOfReturn(program.number, client, reference);
      const refunds = new Map<OperationHex, OperationHex>();
      const notes = new Map<OperationHex, string>();
      const giveUp = async () => {
        if (refunds.size > 0) await leaveTurns(database, [...refunds.values()]);
      };
      // Always in one order, so that two returns never wait for each other.
      const sorted = redemptions.map(({ whole }) => whole.operation).sort();
      try {
        for (const redemption of sorted) {
          const made = newOperation(0, Date.now());
          const wanted = refundOf(program, client, returnKey, redemption, made, programNow(program));
          refunds.set(redemption, await turnOf(context, wanted, deadlineMs));
        }
        for (const redemption of sorted) notes.set(redemption, await noteOf(context, redemption));
      } catch (error) {
        await giveUp();
        throw error;
      }
      return { refunds, notes, giveUp };
    },
    async finish(returned, { refunds }, deadlineMs) {
      const decided = await decideRefunds(context, returned);
      const { pooled = [] } = returned.request as KeptOfReturn;
      const named = new Set(pooled.map(([redemption]) => redemption));
      const others = [...refunds].filter(([redemption]) => !named.has(redemption));
      if (others.length > 0)
        await leaveTurns(
          database,
          others.map(([, refund]) => refund),
        );
      try {
        return await driveRefunds(context, decided, deadlineMs);
      } catch (error) {
        // The return is made. What follows from it is finished by a repeat, or by upkeep.
        if (error instanceof Problem && error.code !== 'internal') return false;
        throw error;
      }
    },
  };
}

/** What became of the return of a turn that nobody is at: its record is found in the books, or it was never made. */
async function resume(context: Context, { referenceKey, returnKey, isOld }: Waiting): Promise<boolean> {
  const { operations } = context;
  // Nothing is given up before the books hold what every journal holds.
  if (isOld) await allBarriers(operations, 1_000);
  const { operation } = await operations.lookup.reference(returnKey);
  const returned = operation && (await operations.recorded(operation, 1_000));
  if (!returned && !isOld) return false;
  const refunds = returned ? await decideRefunds(context, returned) : [];
  // Either it was never made, or it has nothing to do with this redemption.
  await endTurns(context.pool, [referenceKey]);
  return driveRefunds(context, refunds, Date.now() + resumeMs);
}

/** Goes on with turns that nobody has been at for two seconds. */
export async function resumeReturns(
  context: Context,
  limit: number,
): Promise<{ finished: number; failed: number }> {
  let [finished, failed] = [0, 0];
  for (const waiting of await leftTurns(context.pool, limit)) {
    const isDone = await resume(context, waiting).catch(() => undefined);
    if (isDone === undefined) failed += 1;
    else if (isDone) finished += 1;
  }
  return { finished, failed };
}
