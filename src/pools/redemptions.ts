/**
 * `POST /v1/pools/:pool/redemptions`: the price is judged once, as if one member paid it; who pays how much of it is the pool's
 * policy. A refusal is kept with its reference, as a redemption is: the same request has the same answer for ever.
 */
import { DateTime } from 'luxon';
import { type Program, programNow } from '#src/earning/program.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { checkMoneyCurrency } from '#src/earning/rules/money.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import type { CurrentMember } from '#src/members/member-ref.ts';
import { judgedNow, judgedWorth } from '#src/redemption/judged.ts';
import { offered } from '#src/redemption/quotes.ts';
import {
  askedOf,
  checkPartsLimit,
  codeOf,
  numberedParts,
  partsView,
  spendableCurrency,
  sumOf as sumOfParts,
} from '#src/redemption/redemptions.ts';
import { memberId, newOperation, operationId } from '#src/values.ts';
import { lastValidDay } from '#src/wallet/balances.ts';
import { canonicalBody, checkStore, referenceOf } from '#src/wallet/fields.ts';
import { type Durability, differingPointer, type Recorded } from '#src/wallet/operations.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { Collector } from './collecting.ts';
import { currentMember, type PoolsContext, refuseInactive } from './context.ts';
import { type PoolNumber, parsePoolMovementId, poolId, poolMovementId } from './ids.ts';
import { openPlaces, type Pool, refuseDissolved } from './places.ts';
import { availableIn, type Price } from './plan.ts';
import { allows } from './policy.ts';
import { poolInPath, presentPool, withPool } from './pools.ts';
import { partWorth } from './pricing.ts';
import { readPurses } from './reading.ts';
import {
  insertRedemption,
  type Part,
  type PoolRedemption,
  type RedemptionDraft,
  readRedemption,
  redemptionByKey,
  spentOfDay,
} from './redemption-rows.ts';
import type { PoolQuoteBody, PoolRedemptionBody } from './schemas.ts';
import type { Turns } from './turns.ts';

export interface PoolSpending extends PoolsContext {
  readonly collector: Collector;
  readonly turns: Turns;
}

/** Also a caller who does not want to wait is told what became of it, where that is decided as fast as usual. */
const waitMsMin = 1_000;

function priceView(program: Program, price: Price): Record<string, unknown> {
  const { parts, ...rest } = partsView(
    program,
    price.map(([currency, points]) => ({ currency: codeOf(program, currency), points })),
  );
  return { ...rest, ...(parts ? { price: parts } : {}) };
}

export { priceView };

function lotsOf(program: Program, hold: Recorded | undefined): Record<string, unknown>[] {
  return (hold ? heldLegs(hold.effect) : []).map((leg) => ({
    currency: codeOf(program, leg[1]),
    points: leg[2],
    expiresOn: leg[6] === 0 ? null : lastValidDay(leg[6], program.timeZone),
  }));
}

const statusOf = {
  collecting: 'collecting',
  giving_back: 'refused',
  refused: 'refused',
  capturing: 'redeemed',
  redeemed: 'redeemed',
} as const;

/** A redemption as its rows and the ledger have it. */
async function view(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
): Promise<Record<string, unknown>> {
  const status = statusOf[redemption.state];
  const paying = status === 'redeemed' ? redemption.parts.filter(({ hold }) => hold !== undefined) : [];
  const parts = paying.filter(({ state }) => state === 'held' || state === 'captured');
  const holds = await context.operations.inBooks(parts.map(({ hold }) => hold!));
  const { order } = redemption.request as { order?: string };
  const value = redemption.worth?.value ?? (redemption.request.value as MoneyAmount | undefined);
  const durability: Durability = redemption.state === 'capturing' ? 'journal' : 'ledger';
  const partView = (part: Part) => {
    const own = partWorth(redemption, part);
    const worth = own.worth?.value ?? own.value;
    return {
      ...(part.capture ? { id: operationId('capture', part.capture) } : {}),
      member: memberId(part.member),
      ...priceView(program, part.points),
      ...(worth ? { value: worth } : {}),
      lots: lotsOf(
        program,
        holds.find(({ operation }) => operation === part.hold),
      ),
    };
  };
  return {
    object: 'poolRedemption',
    id: poolMovementId('prd', redemption.redemption),
    mode: program.mode,
    status,
    pool: poolId(redemption.pool),
    member: memberId(redemption.spender),
    ...priceView(program, redemption.price),
    ...(order === undefined ? {} : { order }),
    ...(value ? { value } : {}),
    ...(redemption.refusal ? { refusal: redemption.refusal.code } : {}),
    parts: parts.map(partView),
    ledger: { durability },
  };
}

/** What a redemption is to who asked for it. */
async function replyOf(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
  replayed: boolean,
): Promise<Reply> {
  const { refusal, state } = redemption;
  if (refusal) throw new Problem(refusal.code, refusal.detail, refusal.fields);
  if (state === 'collecting')
    throw new Problem('outcome_unknown', 'the points are being collected; repeat with the same reference');
  const body = await view(context, program, redemption);
  return { status: state === 'redeemed' ? 201 : 202, replayed, body };
}

/** Refuses a member that the pool's policy does not let spend, or not so much. */
async function checkSpender(
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

function checkPoolable(caller: Caller, price: Price): void {
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
  readonly request: Readonly<Record<string, unknown>>;
}

function wantedOf(context: PoolSpending, call: Call<PoolRedemptionBody>): Wanted {
  const { caller, body } = call;
  const { member, metadata, ...rest } = body;
  const pool = poolInPath(call);
  const reference = referenceOf(call, rest);
  const canonical = { ...canonicalBody(caller, rest, reference), pool: poolId(pool) };
  return {
    pool,
    body,
    reference,
    referenceKey: referenceKeyOf(caller.program.number, caller.client, 'pool_redemption', reference),
    fingerprint: context.operations.fingerprint({ ...canonical, member }),
    request: { ...canonical, ...(metadata ? { metadata } : {}) },
  };
}

/** The redemption that the reference stands for. Throws where it stands for another request. */
async function knownRedemption(
  context: PoolSpending,
  { referenceKey, fingerprint, request }: Wanted,
): Promise<PoolRedemption | undefined> {
  const known = await redemptionByKey(context.pool, referenceKey);
  if (!known || known.fingerprint === fingerprint) return known;
  const { metadata: _, ...first } = known.request;
  const { metadata: __, ...now } = request;
  throw new Problem('reference_reused', undefined, {
    id: poolMovementId('prd', known.redemption),
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
  const { pool, referenceKey, fingerprint, request } = wanted;
  return {
    redemption: newOperation(0, Date.now()),
    ...{ program: program.number, pool, spender: spender.facts.member, client: caller.client },
    ...{ referenceKey, fingerprint, request, worth, price, points: sumOfParts(price) },
    day: DateTime.fromMillis(madeAt, { zone: program.timeZone }).toISODate()!,
    madeAt,
  };
}

/** `POST /v1/pools/:pool/redemptions` */
export async function redeemOfPool(context: PoolSpending, call: Call<PoolRedemptionBody>): Promise<Reply> {
  const { caller } = call;
  const { program } = caller;
  const deadlineMs = Date.now() + Math.max(call.waitMs, waitMsMin);
  const wanted = wantedOf(context, call);
  const finish = async (begun: PoolRedemption, replayed: boolean) => {
    const ended = await driven(context, begun, deadlineMs);
    return replyOf(context, program, ended, replayed);
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
      if (outcome === 'begun') await context.collector.drive(draft.redemption, deadlineMs, 'decided');
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

/** A redemption driven to its end, or as far as it comes: where it is decided, what follows only takes longer. */
async function driven(
  { collector, pool }: PoolSpending,
  redemption: PoolRedemption,
  deadlineMs: number,
): Promise<PoolRedemption> {
  try {
    return await collector.drive(redemption.redemption, deadlineMs, 'ended');
  } catch (error) {
    if (!(error instanceof Problem) || error.code === 'internal') throw error;
    const present = await readRedemption(pool, redemption.redemption);
    if (!present || present.state === 'collecting')
      throw new Problem('outcome_unknown', undefined, {}, { cause: error });
    return present;
  }
}

/** The redemption that a path names. */
export async function redemptionInPath(
  context: PoolSpending,
  { params }: Pick<Call, 'params'>,
  program: Program,
): Promise<PoolRedemption> {
  const pool = poolInPath({ params });
  const id = parsePoolMovementId('prd', params.redemption ?? '');
  const redemption = id && (await readRedemption(context.pool, id));
  if (!redemption || redemption.pool !== pool || redemption.program !== program.number)
    throw new Problem('not_found');
  return redemption;
}

/** `GET /v1/pools/:pool/redemptions/:redemption` */
export async function showRedemption(context: PoolSpending, call: Call): Promise<Reply> {
  const { program } = call.caller;
  const redemption = await redemptionInPath(context, call, program);
  return { status: 200, body: await view(context, program, redemption) };
}

/** `POST /v1/pools/:pool/redemptions/quote` */
export async function quotePool(context: PoolSpending, call: Call<PoolQuoteBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const { purchase } = body;
  if (purchase) checkStore(caller, purchase.store);
  const number = poolInPath(call);
  const currency = spendableCurrency(caller, body.currency, '/currency');
  checkPoolable(caller, [[currency.number, 1]]);
  const pool = await presentPool(context, program, number);
  const spender = await currentMember(context, program, body.member, '/member');
  await checkSpender(context.pool, pool, spender);
  const judged = await judgedNow(context, program, [currency.code], spender.facts);
  const purses = await readPurses(context, program, await openPlaces(context.pool, number));
  const available = availableIn(purses, currency.number);
  if (purchase) checkMoneyCurrency(judged.version.definition, purchase.currency, '/purchase/currency');
  const offer = offered(context, program, currency.code, available, judged, purchase);
  const maySpend = purses.some((purse) => purse.member === spender.facts.member);
  return {
    status: 200,
    body: {
      object: 'redemptionQuote',
      mode: program.mode,
      currency: currency.code,
      available,
      ...offer,
      ...(maySpend ? {} : { maximum: 0, limitedBy: 'member', best: { points: 0 } }),
    },
  };
}
