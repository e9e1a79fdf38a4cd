/**
 * Refunds of a pool's redemption: what its members gave goes back to the lots that it came from, the last part first. Each step is
 * an ordinary refund of one member's part, under a reference made of refund and part, so that it is made once, however often and
 * by however many it is tried; how much of a part is left is known to the member's wallet alone, which others may have asked for a
 * refund of that part too. Refunds of one redemption are made one after the other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { leastEnds } from '#src/earning/activity.ts';
import { type Program, programNow } from '#src/earning/program.ts';
import { undoneOf } from '#src/earning/reversals.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { type OriginalState, untouched } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { tryStep, waitUntil } from '#src/members/engine.ts';
import { codeOf, leftToRefund, refundedValue, refundOf } from '#src/redemption/redemptions.ts';
import { memberId, newOperation, type OperationHex, operationId } from '#src/values.ts';
import { checkOriginalStore, checkPointsLimit, currencyNumber, referenceOf } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { byReference } from '#src/wallet/originals.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { PoolsContext } from './context.ts';
import { poolId, poolMovementId } from './ids.ts';
import { missingOf, type Price, sumOf } from './plan.ts';
import {
  type Part,
  type PoolRedemption,
  paymentOf,
  readRedemption,
  redemptionByKey,
} from './redemption-rows.ts';
import { priceView, redemptionInPath } from './redemptions.ts';
import {
  countRefunds,
  endRefund,
  insertRefund,
  leftRefunds,
  noteRefunded,
  openRefundOf,
  type PoolRefund,
  type RefundDraft,
  readRefund,
  refundByKey,
  refundedOf,
} from './refund-rows.ts';
import type { PoolRefundBody } from './schemas.ts';
import { type PoolSpending, waitMsMin } from './spending.ts';

type Context = Pick<PoolsContext, 'operations' | 'pool' | 'programs'>;

/** Each time somebody else has refunded the same part in between. */
const attemptsMax = 10;
const roundsMax = 100;
const askAgainMs = 25;
const resumeMs = 5_000;

const totalOf = (price: Price) => price.reduce((sum, [, points]) => sum + points, 0);
const paidParts = ({ parts }: PoolRedemption) => parts.filter(({ state }) => state === 'captured');

/** As much of `wanted` as is left, by currency. */
function within(left: Price, wanted: Price): [number, number][] {
  const most = new Map(left);
  return wanted
    .map(([currency, points]): [number, number] => [currency, Math.min(points, most.get(currency) ?? 0)])
    .filter(([, points]) => points > 0);
}

/** Gives back what a part can give of `wanted`; undefined where nothing of it is left. */
async function refundPart(
  { operations }: Context,
  program: Program,
  redemption: PoolRedemption,
  refund: PoolRefund,
  part: Part,
  wanted: Price,
): Promise<Recorded | undefined> {
  const capture = await operations.recorded(part.capture!, 1_000);
  if (!capture) throw new Problem('not_ready', 'the books are behind; repeat with the same reference');
  let state: OriginalState = untouched;
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const mine = within(leftToRefund(capture, state), wanted);
    // Only the wallet has said so, and when it did this refund had not taken anything from the part: nobody can any more.
    if (mine.length === 0) return undefined;
    const undone = refundOf(capture, state, mine);
    const value = refundedValue(capture, state, undone);
    const body = {
      pool: poolId(redemption.pool),
      redemption: poolMovementId('prd', redemption.redemption),
      refund: poolMovementId('prf', refund.refund),
    };
    const outcome = await tryStep(operations, {
      program,
      member: part.member,
      script: 'undo',
      kind: 'refund',
      reference: `${refund.refund}/${part.part}`,
      origins: [capture.operation],
      input: { accruals: [], redemptions: [undone], least: leastEnds(program), debt: false },
      request: { body, refunded: mine, undone: [undoneOf(undone)], ...(value ? { value } : {}) },
    });
    if (outcome.status === 'performed') return outcome.recorded;
    if (outcome.status !== 'refused' || outcome.code !== 'stale_operation')
      throw new Problem('outcome_unknown', `the wallet answered ${outcome.status}`);
    state = { version: Number(outcome.details.version), note: String(outcome.details.note) };
  }
  throw new Problem('reference_in_progress', 'the part is refunded faster than can be followed; repeat it');
}

/** Drives a refund to its end, or as far as it comes until the deadline. */
export async function driveRefund(
  context: Context,
  id: OperationHex,
  deadlineMs: number,
): Promise<PoolRefund> {
  const { operations, pool: database } = context;
  for (let round = 0; round < roundsMax; round += 1) {
    const refund = await readRefund(database, id);
    const redemption = refund && (await readRedemption(database, refund.redemption));
    if (!redemption) throw new Problem('not_found');
    if (refund.state !== 'refunding') return refund;
    const program = context.programs.get(redemption.program);
    if (!program) throw new Problem('not_ready', 'the program of the redemption is not loaded');
    const asked = new Set(refund.parts.map(({ part }) => part));
    let isMoved = false;
    for (const part of paidParts(redemption)
      .filter((each) => !asked.has(each.part))
      .toReversed()) {
      const wanted = missingOf(
        refund.wanted,
        refund.parts.map(({ points }) => points),
      );
      if (wanted.length === 0) break;
      const recorded = await refundPart(context, program, redemption, refund, part, wanted);
      if (!recorded) continue;
      if ((await operations.reach(recorded, 'ledger', waitUntil(deadlineMs))) !== 'ledger') return refund;
      const points = recorded.request.refunded as Price;
      await noteRefunded(database, id, { part: part.part, operation: recorded.operation, points });
      isMoved = true;
      break;
    }
    if (!isMoved) await endRefund(database, id);
  }
  throw new Problem('reference_in_progress');
}

/** Drives refunds that nobody has worked on for two seconds. */
export async function resumeRefunds(
  context: Context,
  limit: number,
): Promise<{ finished: number; failed: number }> {
  let [finished, failed] = [0, 0];
  for (const refund of await leftRefunds(context.pool, limit)) {
    const driven = await driveRefund(context, refund, Date.now() + resumeMs).catch(() => undefined);
    if (!driven) failed += 1;
    else if (driven.state === 'refunded') finished += 1;
  }
  return { finished, failed };
}

async function view(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
  refund: PoolRefund,
): Promise<Record<string, unknown>> {
  const made = await context.operations.inBooks(refund.parts.map(({ operation }) => operation));
  const parts = refund.parts.map(({ part, operation, points }) => {
    const of = redemption.parts.find((each) => each.part === part)!;
    const recorded = made.find((each) => each.operation === operation);
    const value = recorded?.request.value as MoneyAmount | undefined;
    return {
      id: operationId('refund', operation),
      redemption: operationId('capture', of.capture!),
      member: memberId(of.member),
      ...priceView(program, points),
      ...(value ? { value } : {}),
    };
  });
  const [first] = parts.flatMap(({ value }) => value ?? []);
  const amount = parts.reduce((sum, { value }) => sum + (value?.amount ?? 0), 0);
  return {
    object: 'poolRefund',
    id: poolMovementId('prf', refund.refund),
    mode: program.mode,
    status: 'refunded',
    pool: poolId(redemption.pool),
    redemption: poolMovementId('prd', redemption.redemption),
    ...priceView(program, [...sumOf(refund.parts.map(({ points }) => points))]),
    ...(first ? { value: { ...first, amount } } : {}),
    parts,
    ledger: { durability: 'ledger' },
  };
}

async function replyOf(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
  refund: PoolRefund,
  replayed: boolean,
): Promise<Reply> {
  if (refund.state !== 'refunded')
    throw new Problem('outcome_unknown', 'the points are on their way back; repeat with the same reference');
  if (refund.parts.length === 0) throw new Problem('refund_exceeds_redemption');
  return { status: 201, replayed, body: await view(context, program, redemption, refund) };
}

/** What has come back of each part, whoever gave it back, by the books as they are after everything that was acknowledged. */
export async function refundedOfPool(
  { operations, pool }: Context,
  redemption: PoolRedemption,
): Promise<ReadonlyMap<OperationHex, Price>> {
  const parts = paidParts(redemption);
  const { wallet } = operations;
  const shards = [...new Set(parts.map(({ member }) => wallet.shardOf(member)))];
  const waited = await Promise.all(shards.map((shard) => wallet.readBarrier(shard, waitMsMin)));
  if (waited.includes('timeout')) throw new Problem('not_ready', 'the books are behind; ask again');
  return refundedOf(
    pool,
    parts.map(({ capture }) => capture!),
  );
}

/** What is left to refund of all parts together. */
async function leftOf(context: Context, redemption: PoolRedemption): Promise<Price> {
  const refunded = await refundedOfPool(context, redemption);
  return missingOf(paymentOf(redemption).price, [...refunded.values()]);
}

function wantedOf(caller: Caller, body: PoolRefundBody, left: Price): Price {
  if (body.points === undefined) {
    if (left.length === 0) throw new Problem('refund_exceeds_redemption');
    return left;
  }
  const { program } = caller;
  const code = body.currency ?? codeOf(program, left[0]?.[0] ?? program.mainCurrency.number);
  const number = currencyNumber(caller, code);
  const has = left.find(([currency]) => currency === number)?.[1] ?? 0;
  if (has < body.points) throw new Problem('refund_exceeds_redemption');
  return [[number, body.points]];
}

async function redemptionOf(
  context: PoolSpending,
  call: Call<PoolRefundBody>,
  deadlineMs: number,
): Promise<PoolRedemption> {
  const { caller, params, body } = call;
  const { program, client } = caller;
  let redemption: PoolRedemption | undefined;
  if (params.redemption === byReference) {
    const reference = body.originalReference;
    if (reference === undefined) {
      const errors = [{ pointer: '/originalReference', detail: 'is required by reference' }];
      throw new Problem('validation_failed', '/originalReference: is required by reference', { errors });
    }
    const key = referenceKeyOf(program.number, client, 'pool_redemption', reference);
    const found = await redemptionByKey(context.pool, key);
    redemption = found && poolId(found.pool) === params.pool ? found : undefined;
  } else {
    redemption = await redemptionInPath(context, call, program).catch(() => undefined);
  }
  if (redemption?.state === 'capturing')
    redemption = await context.collector.drive(redemption.redemption, deadlineMs, 'ended');
  if (redemption?.state === 'capturing')
    throw new Problem('not_ready', 'the redemption is on its way to the ledger; repeat it');
  if (redemption?.state !== 'redeemed') throw new Problem('original_not_found');
  checkOriginalStore(caller, { request: { body: redemption.request } });
  return redemption;
}

async function knownRefund(
  context: PoolsContext,
  { referenceKey, fingerprint }: Pick<RefundDraft, 'referenceKey' | 'fingerprint'>,
): Promise<PoolRefund | undefined> {
  const known = await refundByKey(context.pool, referenceKey);
  if (known && known.fingerprint !== fingerprint)
    throw new Problem('reference_reused', undefined, { id: poolMovementId('prf', known.refund) });
  return known;
}

/** Begins a refund of what is left when those of the same redemption that are under way are at their end. */
async function begin(
  context: PoolSpending,
  draft: Omit<RefundDraft, 'wanted'>,
  wantedNow: () => Promise<Price>,
  deadlineMs: number,
): Promise<PoolRefund | undefined> {
  const { pool: database } = context;
  while (Date.now() < deadlineMs) {
    const before = await countRefunds(database, draft.redemption);
    const other = await openRefundOf(database, draft.redemption);
    // One that waits for a return is decided by whoever makes that.
    if (other?.state === 'waiting') await delay(askAgainMs);
    else if (other) await driveRefund(context, other.refund, deadlineMs);
    else if (await insertRefund(database, { ...draft, wanted: await wantedNow() }, before))
      return readRefund(database, draft.refund);
    const known = await knownRefund(context, draft);
    if (known) return known;
  }
  throw new Problem('reference_in_progress', 'another refund of it is under way; repeat it');
}

/** `POST /v1/pools/:pool/redemptions/:redemption/refunds` */
export async function refundOfPool(context: PoolSpending, call: Call<PoolRefundBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program, client } = caller;
  const deadlineMs = Date.now() + Math.max(call.waitMs, waitMsMin);
  const reference = referenceOf(call, body);
  const redemption = await redemptionOf(context, call, deadlineMs);
  const { points, currency, metadata } = body;
  const canonical = { redemption: redemption.redemption, reference, points, currency };
  const key = {
    referenceKey: referenceKeyOf(program.number, client, 'pool_refund', reference),
    fingerprint: context.operations.fingerprint(canonical),
  };
  const finish = async (refund: PoolRefund, replayed: boolean) =>
    replyOf(context, program, redemption, await driveRefund(context, refund.refund, deadlineMs), replayed);
  const known = await knownRefund(context, key);
  if (known) return finish(known, true);

  const refund = newOperation(0, Date.now());
  const work = async () => {
    const request = { ...canonical, ...(metadata ? { metadata } : {}) };
    const draft = { ...key, refund, redemption: redemption.redemption, client, request };
    const wantedNow = async () => {
      const wanted = wantedOf(caller, body, await leftOf(context, redemption));
      checkPointsLimit(caller, totalOf(wanted));
      return wanted;
    };
    return begin(context, { ...draft, madeAt: programNow(program) }, wantedNow, deadlineMs);
  };
  const counted = {
    points: points ?? paymentOf(redemption).points,
    isRetry: async () => (await knownRefund(context, key)) !== undefined,
  };
  const begun = await context.operations.dailyLimit.within(
    caller,
    counted,
    work,
    (made) => made?.refund === refund,
  );
  if (!begun) throw new Problem('reference_in_progress');
  return finish(begun, begun.refund !== refund);
}
