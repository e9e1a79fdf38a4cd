/**
 * Takes points of a pool, at once or to be held first: the price is judged once, as if one member paid it; who pays how much of it is
 * the pool's policy. A refusal is kept with its reference, as what is taken is: the same request has the same answer for ever.
 */
import { DateTime } from 'luxon';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller } from '#src/http/route.ts';
import type { CurrentMember } from '#src/members/member-ref.ts';
import { judgedWorth } from '#src/redemption/judged.ts';
import { askedOf, checkPartsLimit, numberedParts, sumOf as sumOfParts } from '#src/redemption/redemptions.ts';
import { newOperation, type OperationHex } from '#src/values.ts';
import { canonicalBody, referenceOf } from '#src/wallet/fields.ts';
import { differingPointer } from '#src/wallet/operations.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { Collector } from './collecting.ts';
import { currentMember, type PoolsContext, refuseInactive } from './context.ts';
import { type PoolNumber, poolId, poolMovementId } from './ids.ts';
import { openPlaces, type Pool, refuseDissolved } from './places.ts';
import type { Price } from './plan.ts';
import { allows } from './policy.ts';
import { poolInPath, presentPool, withPool } from './pools.ts';
import {
  insertRedemption,
  type PoolRedemption,
  type RedemptionDraft,
  readRedemption,
  redemptionByKey,
  spentOfDay,
} from './redemption-rows.ts';
import type { PoolRedemptionBody } from './schemas.ts';
import type { Turns } from './turns.ts';

export interface PoolSpending extends PoolsContext {
  readonly collector: Collector;
  readonly turns: Turns;
}

/** Also a caller who does not want to wait is told what became of it, where that is decided as fast as usual. */
export const waitMsMin = 1_000;

/** Refuses a member that the pool's policy does not let spend, or not so much. */
export async function checkSpender(
  db: Parameters<typeof openPlaces>[0],
  pool: Pool,
  { facts: { member } }: CurrentMember,
): Promise<void> {
  refuseDissolved(pool);
  const place = (await openPlaces(db, pool.pool)).find((each) => each.member === member);
  if (!place) throw new Problem('spender_not_allowed', 'the member is not in the pool');
  if (!allows(pool.policy, { isHead: member === pool.head, maySpend: place.maySpend })) {
    const detail = `the policy lets ${pool.policy.spenders === 'head' ? 'the head' : 'listed members'} spend`;
    throw new Problem('spender_not_allowed', detail);
  }
}

async function checkDay(
  db: Parameters<typeof openPlaces>[0],
  { pool, policy }: Pool,
  draft: RedemptionDraft,
): Promise<void> {
  const { memberPointsPerDayMax: limit } = policy;
  if (limit === undefined) return;
  const used = await spentOfDay(db, pool, draft.spender, draft.day);
  if (used + draft.points <= limit) return;
  throw new Problem('pool_limit', 'the member may not spend so much of the pool in a day', {
    limitedBy: 'day',
    limit,
    used,
    required: draft.points,
  });
}

export function checkPoolable(caller: Caller, price: Price): void {
  for (const [i, [number]] of price.entries()) {
    const currency = caller.program.currencyByNumber.get(number)!;
    if (currency.poolable) continue;
    const pointer = price.length > 1 ? `/parts/${i}/currency` : '/currency';
    throw new Problem('currency_unknown', `${currency.code} cannot be spent together`, {
      errors: [{ pointer, detail: 'is not poolable' }],
    });
  }
}

interface Wanted {
  readonly pool: PoolNumber;
  readonly body: PoolRedemptionBody;
  readonly reference: string;
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly holdForMs: number | undefined;
  readonly request: Readonly<Record<string, unknown>>;
}

function wantedOf(
  context: PoolSpending,
  call: Call<PoolRedemptionBody>,
  holdForMs: number | undefined,
): Wanted {
  const { caller, body } = call;
  const { member, metadata, ...rest } = body;
  const kind = holdForMs === undefined ? 'pool_redemption' : 'pool_hold';
  const pool = poolInPath(call);
  const reference = referenceOf(call, rest);
  const canonical = { ...canonicalBody(caller, rest, reference), pool: poolId(pool) };
  return {
    pool,
    body,
    reference,
    referenceKey: referenceKeyOf(caller.program.number, caller.client, kind, reference),
    holdForMs,
    fingerprint: context.operations.fingerprint({ ...canonical, member }),
    request: { ...canonical, ...(metadata ? { metadata } : {}) },
  };
}

/** The redemption that the reference stands for. Throws where it stands for another request. */
async function knownRedemption(
  context: PoolSpending,
  { referenceKey, fingerprint, request, holdForMs }: Wanted,
): Promise<PoolRedemption | undefined> {
  const known = await redemptionByKey(context.pool, referenceKey);
  if (!known || known.fingerprint === fingerprint) return known;
  const { metadata: _, ...first } = known.request;
  const { metadata: __, ...now } = request;
  throw new Problem('reference_reused', undefined, {
    id: poolMovementId(holdForMs === undefined ? 'prd' : 'phd', known.redemption),
    pointer: differingPointer(first, JSON.parse(JSON.stringify(now))) || '/member',
  });
}

async function draftOf(
  context: PoolSpending,
  caller: Caller,
  wanted: Wanted,
  spender: CurrentMember,
): Promise<RedemptionDraft> {
  const { program } = caller;
  const asked = askedOf(caller, wanted.body);
  const price = numberedParts(asked);
  checkPoolable(caller, price);
  checkPartsLimit(caller, price);
  const worth = await judgedWorth(context, program, asked, spender.facts);
  const madeAt = programNow(program);
  const { pool, referenceKey, fingerprint, request, holdForMs } = wanted;
  return {
    redemption: newOperation(0, Date.now()),
    ...{ program: program.number, pool, spender: spender.facts.member, client: caller.client },
    ...{ referenceKey, fingerprint, request, worth, price, points: sumOfParts(price) },
    day: DateTime.fromMillis(madeAt, { zone: program.timeZone }).toISODate()!,
    madeAt,
    holdUntil: holdForMs === undefined ? undefined : madeAt + holdForMs,
  };
}

/** What was taken, and whether the reference had been used for it before. */
export interface Taken {
  readonly redemption: PoolRedemption;
  readonly replayed: boolean;
}

/** A redemption driven to its end, or as far as it comes: where it is decided, what follows only takes longer. */
export async function driven(
  { collector, pool }: PoolSpending,
  redemption: OperationHex,
  deadlineMs: number,
  until: 'decided' | 'ended' = 'ended',
): Promise<PoolRedemption> {
  try {
    return await collector.drive(redemption, deadlineMs, until);
  } catch (error) {
    if (!(error instanceof Problem) || error.code === 'internal') throw error;
    const present = await readRedemption(pool, redemption);
    if (!present || present.state === 'collecting')
      throw new Problem('outcome_unknown', undefined, {}, { cause: error });
    return present;
  }
}

/** Takes the points that a request asks for, all or none. Throws the Problem that a refusal is. */
export async function takeOfPool(
  context: PoolSpending,
  call: Call<PoolRedemptionBody>,
  holdForMs?: number,
): Promise<Taken> {
  const { caller } = call;
  const { program } = caller;
  const deadlineMs = Date.now() + Math.max(call.waitMs, waitMsMin);
  const wanted = wantedOf(context, call, holdForMs);
  const finish = async ({ redemption: begun }: PoolRedemption, replayed: boolean): Promise<Taken> => {
    const redemption = await driven(context, begun, deadlineMs);
    const { refusal, state } = redemption;
    if (refusal) throw new Problem(refusal.code, refusal.detail, refusal.fields);
    if (state === 'collecting')
      throw new Problem('outcome_unknown', 'the points are being collected; repeat with the same reference');
    return { redemption, replayed };
  };
  const known = await knownRedemption(context, wanted);
  if (known) return finish(known, true);
  const pool = await presentPool(context, program, wanted.pool);
  const spender = await currentMember(context, program, wanted.body.member, '/member');
  refuseInactive(spender, '/member');
  if (spender.reading.isFrozen) throw new Problem('spending_frozen', undefined, { pointer: '/member' });
  await checkSpender(context.pool, pool, spender);
  const draft = await draftOf(context, caller, wanted, spender);

  const begin = () =>
    withPool(context, program, wanted.pool, async (tx, present) => {
      if (await redemptionByKey(tx, draft.referenceKey)) return 'known' as const;
      await checkSpender(tx, present, spender);
      await checkDay(tx, present, draft);
      return (await context.turns.isFree(tx, draft.pool)) && (await insertRedemption(tx, draft))
        ? ('begun' as const)
        : ('waits' as const);
    });
  const work = async () => {
    const begun = await context.turns.take(draft.pool, deadlineMs, async () => {
      const outcome = await begin();
      if (outcome === 'begun') await driven(context, draft.redemption, deadlineMs, 'decided');
      return outcome;
    });
    if (begun === 'begun') return readRedemption(context.pool, draft.redemption);
    return knownRedemption(context, wanted);
  };
  const isRetry = async () => (await knownRedemption(context, wanted)) !== undefined;
  const counted = { points: draft.points, isRetry };
  const isNew = (made: PoolRedemption | undefined) =>
    made?.redemption === draft.redemption && made.refusal === undefined;
  const made = await context.operations.dailyLimit.within(caller, counted, work, isNew);
  if (!made) throw new Problem('reference_in_progress');
  return finish(made, made.redemption !== draft.redemption);
}
