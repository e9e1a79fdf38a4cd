/**
 * Holds of a pool: its points are reserved in the wallets of its members, until they are captured (all or a part; the rest goes
 * back), released, or their time has come. What is held is a promise, whoever leaves the pool meanwhile. A capture takes the first
 * parts first, so the rest goes back to those who were asked last.
 */

import type { Program } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { fault, referenceOf } from '#src/wallet/fields.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { PoolsContext } from './context.ts';
import { endHold } from './hold-rows.ts';
import { parsePoolMovementId, poolMovementId } from './ids.ts';
import { poolInPath } from './pools.ts';
import { capturedParts, capturedPayment } from './pricing.ts';
import { type PoolRedemption, paymentOf, readRedemption, redemptionByEndKey } from './redemption-rows.ts';
import { partsOf, paymentView } from './redemptions.ts';
import type { PoolCaptureBody, PoolHoldBody } from './schemas.ts';
import { driven, type PoolSpending, takeOfPool, waitMsMin } from './spending.ts';

/** How a hold stands: its time may have come before anybody has written it. */
function statusOf({ holdEnd, holdUntil = 0, refusal }: PoolRedemption, program: Program): string {
  if (refusal) return 'refused';
  return holdEnd ?? (holdUntil <= programNow(program) ? 'expired' : 'held');
}

async function view(
  context: PoolsContext,
  program: Program,
  hold: PoolRedemption,
): Promise<Record<string, unknown>> {
  const status = statusOf(hold, program);
  const { points } = paymentOf(hold);
  return {
    object: 'poolHold',
    id: poolMovementId('phd', hold.redemption),
    status,
    ...paymentView(program, hold, paymentOf(hold)),
    expiresAt: new Date(hold.holdUntil!).toISOString(),
    ...(status === 'captured'
      ? { released: hold.points - points, redemption: { id: poolMovementId('prd', hold.redemption) } }
      : {}),
    parts: status === 'held' || status === 'captured' ? await partsOf(context, program, hold) : [],
    ledger: { durability: hold.state === 'capturing' || hold.state === 'releasing' ? 'journal' : 'ledger' },
  };
}

/** `POST /v1/pools/:pool/holds`; a repeat shows how the hold stands. */
export async function holdOfPool(context: PoolSpending, call: Call<PoolHoldBody>): Promise<Reply> {
  const { redemption, replayed } = await takeOfPool(context, call, call.body.expiresInSeconds * 1_000);
  return { status: 201, replayed, body: await view(context, call.caller.program, redemption) };
}

/** The hold that a path names. */
async function holdInPath({ pool: database }: PoolsContext, call: Call): Promise<PoolRedemption> {
  const id = parsePoolMovementId('phd', call.params.hold ?? '');
  const hold = id && (await readRedemption(database, id));
  if (hold?.holdUntil === undefined || hold.program !== call.caller.program.number)
    throw new Problem('not_found');
  if (hold.pool !== poolInPath(call) || hold.state === 'collecting') throw new Problem('not_found');
  return hold;
}

/** `GET /v1/pools/:pool/holds/:hold` */
export async function showHold(context: PoolsContext, call: Call): Promise<Reply> {
  return { status: 200, body: await view(context, call.caller.program, await holdInPath(context, call)) };
}

function endedProblem(hold: PoolRedemption, program: Program): Problem {
  const status = statusOf(hold, program);
  if (status === 'expired') return new Problem('hold_expired');
  const redemption = status === 'captured' ? { redemption: poolMovementId('prd', hold.redemption) } : {};
  return new Problem('hold_already_resolved', undefined, { resolution: status, ...redemption });
}

function checkCapture(hold: PoolRedemption, points: number | undefined): void {
  if (points === undefined) return;
  if (hold.price.length > 1) throw fault('/points', 'a hold in several currencies is captured whole');
  if (points > hold.points) throw fault('/points', 'more points than the hold has');
}

/** `POST /v1/pools/:pool/holds/:hold/capture` and `/release` */
export async function settleHold(
  context: PoolSpending,
  call: Call<PoolCaptureBody>,
  mode: 'capture' | 'release',
): Promise<Reply> {
  const { caller, body } = call;
  const { program, client } = caller;
  const deadlineMs = Date.now() + Math.max(call.waitMs, waitMsMin);
  const { redemption } = await holdInPath(context, call);
  const reference = referenceOf(call, body);
  const { points } = body;
  const endKey = referenceKeyOf(program.number, client, `pool_${mode}`, reference);
  const fingerprint = context.operations.fingerprint({ hold: redemption, reference, points });

  async function ended(): Promise<boolean> {
    const known = await redemptionByEndKey(context.pool, endKey);
    if (known && (known.redemption !== redemption || known.endFingerprint !== fingerprint))
      throw new Problem('reference_reused', undefined, { id: poolMovementId('phd', known.redemption) });
    return known !== undefined;
  }
  const isReplay = await ended();
  if (!isReplay) {
    const holdEnd = mode === 'capture' ? 'captured' : 'released';
    const end = { holdEnd, endKey, fingerprint, at: programNow(program) } as const;
    const isMade = await endHold(context.pool, redemption, end, (held) => {
      checkCapture(held, points);
      const payment = capturedPayment(held, points);
      const parts = held.parts.filter(({ state }) => state === 'held');
      return { payment, parts: capturedParts(parts, payment.price) };
    });
    if (!isMade && !(await ended())) throw endedProblem(await holdInPath(context, call), program);
  }
  const hold = await driven(context, redemption, deadlineMs);
  const isWritten = hold.state === 'redeemed' || hold.state === 'released';
  return { status: isWritten ? 200 : 202, replayed: isReplay, body: await view(context, program, hold) };
}
