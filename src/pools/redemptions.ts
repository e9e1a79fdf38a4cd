/** Redemptions of a pool, read and answered, and what one could be. How points are taken stands in `spending.ts`. */
import type { Program } from '#src/earning/program.ts';
import { checkMoneyCurrency } from '#src/earning/rules/money.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import { judgedNow } from '#src/redemption/judged.ts';
import { offered } from '#src/redemption/quotes.ts';
import { codeOf, partsView, spendableCurrency } from '#src/redemption/redemptions.ts';
import { memberId, operationId } from '#src/values.ts';
import { lastValidDay } from '#src/wallet/balances.ts';
import { checkStore } from '#src/wallet/fields.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { currentMember, type PoolsContext } from './context.ts';
import { parsePoolMovementId, poolId, poolMovementId } from './ids.ts';
import { openPlaces } from './places.ts';
import { availableIn, type Price } from './plan.ts';
import { poolInPath, presentPool } from './pools.ts';
import { partWorth } from './pricing.ts';
import { readPurses } from './reading.ts';
import {
  orderOf,
  type Payment,
  type PoolRedemption,
  paymentOf,
  type RedemptionState,
  readRedemption,
} from './redemption-rows.ts';
import type { PoolQuoteBody, PoolRedemptionBody } from './schemas.ts';
import { checkPoolable, checkSpender, type PoolSpending, takeOfPool } from './spending.ts';

/** `points` and `currency` of a price, and `price` where it is in several. */
export function priceView(program: Program, price: Price): Record<string, unknown> {
  const { parts, ...rest } = partsView(
    program,
    price.map(([currency, points]) => ({ currency: codeOf(program, currency), points })),
  );
  return { ...rest, ...(parts ? { price: parts } : {}) };
}

/** The lots that pay: those of the hold, as far as the price goes; a capture takes them in the same order. */
function lotsOf(program: Program, hold: Recorded | undefined, price: Price): Record<string, unknown>[] {
  const left = new Map(price);
  return (hold ? heldLegs(hold.effect) : []).flatMap((leg) => {
    const points = Math.min(leg[2], left.get(leg[1]) ?? 0);
    left.set(leg[1], (left.get(leg[1]) ?? 0) - points);
    if (points === 0) return [];
    const expiresOn = leg[6] === 0 ? null : lastValidDay(leg[6], program.timeZone);
    return [{ currency: codeOf(program, leg[1]), points, expiresOn }];
  });
}

/** The parts that pay, or are held to. */
export async function partsOf(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
): Promise<Record<string, unknown>[]> {
  const parts = redemption.parts.filter(({ state }) => state === 'held' || state === 'captured');
  const holds = await context.operations.inBooks(parts.map(({ hold }) => hold!));
  return parts.map((part) => {
    const own = partWorth(redemption, part);
    const worth = own.worth?.value ?? own.value;
    const made = holds.find(({ operation }) => operation === part.hold);
    return {
      ...(part.capture ? { id: operationId('capture', part.capture) } : {}),
      member: memberId(part.member),
      ...priceView(program, part.points),
      ...(worth ? { value: worth } : {}),
      lots: lotsOf(program, made, part.points),
    };
  });
}

/** What both a redemption and a hold show of themselves. */
export function paymentView(
  program: Program,
  redemption: PoolRedemption,
  { price, worth, value = worth?.value }: Payment,
): Record<string, unknown> {
  const order = orderOf(redemption);
  const shown = worth?.value ?? value;
  return {
    mode: program.mode,
    pool: poolId(redemption.pool),
    member: memberId(redemption.spender),
    ...priceView(program, price),
    ...(order === undefined ? {} : { order }),
    ...(shown ? { value: shown } : {}),
  };
}

const statusOf: Readonly<Partial<Record<RedemptionState, string>>> = {
  collecting: 'collecting',
  giving_back: 'refused',
  refused: 'refused',
  capturing: 'redeemed',
  redeemed: 'redeemed',
};

/** A redemption as its rows and the ledger have it. */
async function view(
  context: PoolsContext,
  program: Program,
  redemption: PoolRedemption,
): Promise<Record<string, unknown>> {
  const { state, refusal } = redemption;
  const isPaid = state === 'capturing' || state === 'redeemed';
  return {
    object: 'poolRedemption',
    id: poolMovementId('prd', redemption.redemption),
    status: statusOf[state],
    ...paymentView(program, redemption, paymentOf(redemption)),
    ...(refusal ? { refusal: refusal.code } : {}),
    parts: isPaid ? await partsOf(context, program, redemption) : [],
    ledger: { durability: state === 'capturing' ? 'journal' : 'ledger' },
  };
}

/** `POST /v1/pools/:pool/redemptions` */
export async function redeemOfPool(context: PoolSpending, call: Call<PoolRedemptionBody>): Promise<Reply> {
  const { redemption, replayed } = await takeOfPool(context, call);
  const body = await view(context, call.caller.program, redemption);
  return { status: redemption.state === 'redeemed' ? 201 : 202, replayed, body };
}

/** The redemption that a path names; a hold is one from its capture on. */
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
  if (redemption.holdUntil !== undefined && redemption.holdEnd !== 'captured') throw new Problem('not_found');
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
