/** Redemptions and their refunds. A refund puts points back into the lots they came from, with the original expiry. */

import { leastEnds } from '#src/earning/activity.ts';
import type { Currency, Program } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { undoneOf } from '#src/earning/reversals.ts';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import { type OriginalState, type Undone, untouched } from '#src/earning/undoing.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { heldLegs, walletLegs } from '#src/ledger/postings.ts';
import type { MemberRef } from '#src/members/member-ref.ts';
import { memberId, operationId, type Soon } from '#src/values.ts';
import { balancesAfter, lastValidDay } from '#src/wallet/balances.ts';
import {
  canonicalBody,
  checkOriginalStore,
  checkPointsLimit,
  checkStore,
  currencyNumber,
  durabilityOf,
  partsOf,
  referenceOf,
} from '#src/wallet/fields.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Operations, Recorded } from '#src/wallet/operations.ts';
import { findOriginal } from '#src/wallet/originals.ts';
import { movementReply, perform } from '#src/wallet/perform.ts';
import { type JudgingContext, judgedWorth } from './judged.ts';
import type { Asked, AskedPart } from './pricing.ts';
import type { RedemptionBody, RefundBody } from './schemas.ts';
import { shownValue, worthBack, worthOf } from './worth.ts';

export interface RedemptionContext extends JudgingContext {
  readonly operations: Operations;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
}

export interface Part {
  readonly currency: string;
  readonly points: number;
}

export function codeOf(program: Program, currency: number): string {
  return program.currencyByNumber.get(currency)?.code ?? String(currency);
}

/** Points that an operation took out of circulation, by currency: what its redemption legs say. */
export function redeemedParts(program: Program, recorded: Recorded): Part[] {
  return redeemedNumbers(recorded).map(([currency, points]) => ({
    currency: codeOf(program, currency),
    points,
  }));
}

/** `points` and `currency` of a reply, and `parts` where there are several currencies. */
export function partsView(
  program: Program,
  parts: readonly Part[],
): { points: number; currency: string; parts?: readonly Part[] } {
  const [first] = parts;
  const points = first?.points ?? 0;
  const currency = first?.currency ?? program.mainCurrency.code;
  return parts.length > 1 ? { points, currency, parts } : { points, currency };
}

/** The lots that an operation took from, with what it took. */
export function lotsView(program: Program, recorded: Recorded): Record<string, unknown>[] {
  const legs =
    recorded.kind === 'capture'
      ? heldLegs(recorded.effect).map((leg) => ({ currency: leg[1], points: -leg[2], expiresAt: leg[6] }))
      : walletLegs(recorded.effect)
          .filter((leg) => leg[2] < 0)
          .map((leg) => ({ currency: leg[1], points: -leg[2], expiresAt: leg[5] }));
  return legs.map(({ currency, points, expiresAt }) => ({
    currency: codeOf(program, currency),
    points,
    expiresOn: expiresAt === 0 ? null : lastValidDay(expiresAt, program.timeZone),
  }));
}

/** The order, and what the points are worth: by the rules, or as the caller said where there are none. */
export function valueView(recorded: Recorded): Record<string, unknown> {
  const value = shownValue(recorded);
  return { ...(recorded.order ? { order: recorded.order } : {}), ...(value ? { value } : {}) };
}

function view(program: Program, recorded: Recorded): Record<string, unknown> {
  return {
    object: 'redemption',
    id: operationId(recorded.kind, recorded.operation),
    mode: program.mode,
    status: 'redeemed',
    member: memberId(recorded.member),
    ...partsView(program, redeemedParts(program, recorded)),
    ...valueView(recorded),
    lots: lotsView(program, recorded),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** A currency that members may spend. */
export function spendableCurrency(caller: Caller, code: string | undefined, pointer: string): Currency {
  const currency = caller.program.currencyByNumber.get(currencyNumber(caller, code, pointer))!;
  if (!currency.spendable) {
    throw new Problem('currency_unknown', undefined, { errors: [{ pointer, detail: 'cannot be spent' }] });
  }
  return currency;
}

type AskedBody = Pick<RedemptionBody, 'points' | 'currency' | 'parts' | 'purchase' | 'value'>;

/** Refuses a store that the key may not act for, and answers what the price asks for. */
export function askedOf(caller: Caller, body: AskedBody): Asked {
  // A price without a receipt names no store; the key's own stand for it.
  if (body.purchase) checkStore(caller, body.purchase.store);
  const parts = partsOf(caller, body).map(([, points], i): AskedPart => {
    const [at, code] = body.parts ? [`/parts/${i}`, body.parts[i]!.currency] : ['', body.currency];
    return { currency: spendableCurrency(caller, code, `${at}/currency`), points, pointer: `${at}/points` };
  });
  return { parts, purchase: body.purchase, value: body.value };
}

/** The parts of a price by currency number, as scripts take them. */
export function numberedParts({ parts }: Asked): [number, number][] {
  return parts.map(({ currency, points }) => [currency.number, points]);
}

/** Refuses a part over the key's limit. */
export function checkPartsLimit(caller: Caller, parts: readonly (readonly [number, number])[]): void {
  for (const [, points] of parts) checkPointsLimit(caller, points);
}

/** Points of all parts together, as they count towards a key's limit. */
export function sumOf(parts: readonly (readonly [number, number, number?])[]): number {
  return parts.reduce((sum, [, points]) => sum + points, 0);
}

/** `POST /v1/redemptions` */
export async function redeem(context: RedemptionContext, call: Call<RedemptionBody>): Promise<Reply> {
  const { caller } = call;
  const { member, durability: level, metadata, ...rest } = call.body;
  const asked = askedOf(caller, call.body);
  const parts = numberedParts(asked);
  const reference = referenceOf(call, rest);
  const durability = durabilityOf({ durability: level }, 'ledger');
  const canonical = canonicalBody(caller, rest, reference);
  const moved = await perform(context.operations, {
    caller,
    script: 'spend',
    kind: 'redemption',
    reference,
    named: { ...canonical, member },
    body: canonical,
    metadata,
    durability,
    waitMs: call.waitMs,
    member: () => context.resolveMember(caller.program, member),
    async decide(facts) {
      checkPartsLimit(caller, parts);
      const worth = await judgedWorth(context, caller.program, asked, facts);
      return {
        order: rest.order ?? rest.purchase?.order,
        points: sumOf(parts),
        input: { parts, account: 'redemption', party: 0 },
        ...(worth ? { keep: { worth } } : {}),
      };
    },
  });
  return movementReply(moved, durability, 201, view(caller.program, moved.recorded));
}

/** Points refunded so far, by currency number; kept as the note beside a redemption's state. */
export type RefundedSoFar = Record<string, number>;

/** Currency numbers and points of what a redemption took. */
export function redeemedNumbers(recorded: Recorded): [number, number][] {
  const sums = new Map<number, number>();
  for (const leg of recorded.effect.legs)
    if (leg[0] === 'redemption') sums.set(leg[1], (sums.get(leg[1]) ?? 0) + leg[2]);
  return [...sums];
}

export function parseRefunded(note: string): RefundedSoFar {
  return note === '' ? {} : (JSON.parse(note) as RefundedSoFar);
}

/** PURE. The part of `undo.lua`'s input that refunds `parts` of a redemption. */
export function refundOf(
  redemption: Recorded,
  state: OriginalState,
  parts: readonly (readonly [number, number])[],
): Undone {
  const refunded = { ...parseRefunded(state.note) };
  for (const [currency, points] of parts) refunded[currency] = (refunded[currency] ?? 0) + points;
  return [redemption.operation, state.version, JSON.stringify(refunded), parts.map(([c, p]) => [c, p])];
}

/** PURE. What is left to refund of a redemption, by currency number. */
export function leftToRefund(redemption: Recorded, state: OriginalState): [number, number][] {
  const refunded = parseRefunded(state.note);
  return redeemedNumbers(redemption)
    .map(([number, points]): [number, number] => [number, points - (refunded[number] ?? 0)])
    .filter(([, points]) => points > 0);
}

/** PURE. The money that refunded points stood for when they were redeemed; undefined where nobody said. */
export function refundedValue(
  redemption: Recorded,
  state: OriginalState,
  undone: Undone,
): MoneyAmount | undefined {
  const worth = worthOf(redemption, redeemedNumbers(redemption));
  if (!worth) return undefined;
  const amount = worthBack(worth, parseRefunded(state.note), parseRefunded(undone[2]));
  return { amount, currency: worth.currency };
}

interface KeptRefund {
  readonly refunded?: readonly [number, number][];
  readonly value?: MoneyAmount;
}

function refundView(program: Program, recorded: Recorded, redemption: Recorded): Record<string, unknown> {
  const { refunded: kept = [], value } = recorded.request as KeptRefund;
  const parts = kept.map(([currency, points]) => ({ currency: codeOf(program, currency), points }));
  return {
    object: 'refund',
    id: operationId('refund', recorded.operation),
    mode: program.mode,
    status: 'refunded',
    member: memberId(recorded.member),
    redemption: operationId(redemption.kind, redemption.operation),
    points: parts[0]?.points ?? 0,
    currency: parts[0]?.currency ?? program.mainCurrency.code,
    parts,
    ...(value ? { value } : {}),
    balances: balancesAfter(program, recorded.effect.balances),
  };
}

/** What is to be refunded: all that is left, or points of one currency. */
function wantedOf(
  caller: Caller,
  body: RefundBody,
  redemption: Recorded,
  state: OriginalState,
): [number, number][] {
  const left = leftToRefund(redemption, state);
  if (body.points === undefined) return left;
  const { program } = caller;
  const code = body.currency ?? codeOf(program, left[0]?.[0] ?? program.mainCurrency.number);
  return [[currencyNumber(caller, code), body.points]];
}

/** `POST /v1/redemptions/:id/refunds` */
export async function refund(context: RedemptionContext, call: Call<RefundBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const reference = referenceOf(call, body);
  const redemption = await findOriginal(context.operations, caller, call.params.id!, body.originalReference, [
    'redemption',
    'capture',
  ]);
  if (!redemption) throw new Problem('original_not_found');
  checkOriginalStore(caller, redemption);
  const durability = durabilityOf(body, 'ledger');
  const canonical = {
    redemption: redemption.operation,
    reference,
    points: body.points,
    currency: body.currency,
  };
  let state: OriginalState = untouched;
  const moved = await perform(context.operations, {
    caller,
    script: 'undo',
    kind: 'refund',
    reference,
    named: canonical,
    body: canonical,
    metadata: body.metadata,
    occurredAt: programNow(program),
    durability,
    waitMs: call.waitMs,
    member: () => context.operations.lookup.member(program.number, redemption.member),
    staleOperation(details) {
      state = { version: Number(details.version), note: String(details.note) };
    },
    decide(member) {
      const wanted = wantedOf(caller, body, redemption, state);
      if (wanted.length === 0) throw new Problem('refund_exceeds_redemption');
      const undone = refundOf(redemption, state, wanted);
      const value = refundedValue(redemption, state, undone);
      checkPointsLimit(caller, sumOf(wanted));
      return {
        points: sumOf(wanted),
        origins: [redemption.operation],
        order: redemption.order,
        input: {
          accruals: [],
          redemptions: [undone],
          least: leastEnds(program),
          debt: false,
          moved: member.member !== redemption.member,
        },
        keep: { refunded: wanted, undone: [undoneOf(undone)], ...(value ? { value } : {}) },
      };
    },
  });
  return movementReply(moved, durability, 201, refundView(program, moved.recorded, redemption));
}
