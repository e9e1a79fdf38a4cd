/**
 * The callee's side of the protocol over the simulator's books: what a program does that keeps accounts, has links, takes
 * nothing that is not there, and answers each reference once. Amounts of `magic.ts` make it misbehave as networks and
 * programs do; its books stay right whatever it answers.
 *
 * A movement is `succeeded`, `pending` or `failed`. Points of a pending redemption are gone at once and come back when it fails;
 * those of a pending accrual come when it succeeds. Each function runs inside one database transaction of the books.
 */

import type { DayMovementsQuery, DayQuery } from '#src/partners/protocol/days.ts';
import type {
  AccrualRequest,
  MovementReply,
  MovementStatus,
  OperationQuery,
  RedemptionRequest,
  ReversalRequest,
  ValidationReply,
  ValidationRequest,
} from '#src/partners/protocol/schemas.ts';
import { dayPeriod } from '#src/partners/reconciliation/movement.ts';
import type { Account, Books, Movement, MovementDraft } from './books.ts';
import { dayMovementsOf, dayOf } from './days.ts';
import { type Behaviour, behaviourOf } from './magic.ts';
import { type Answer, problemOf, Refusal } from './refusal.ts';

export interface CalleeSettings {
  readonly currency: string;
  /** How long what is pending stays so. */
  readonly pendingMs: number;
  /** How far back a claim may lie. */
  readonly claimDays: number;
}

export interface Callee {
  validate(caller: string, body: ValidationRequest, now: number): Answer;
  accrue(caller: string, body: AccrualRequest, now: number): Answer;
  redeem(caller: string, body: RedemptionRequest, now: number): Answer;
  reverse(caller: string, body: ReversalRequest, now: number): Answer;
  inquire(caller: string, query: OperationQuery, now: number): Answer;
  day(caller: string, query: DayQuery, now: number): Answer;
  dayMovements(caller: string, query: DayMovementsQuery, now: number): Answer;
  /** A first send arrives that nobody answered: it is booked unless its reference is used by now. */
  arrive(caller: string, late: LateMovement, now: number): Answer;
}

export type LateMovement =
  | { readonly kind: 'accrual'; readonly body: AccrualRequest }
  | { readonly kind: 'redemption'; readonly body: RedemptionRequest };

type Given = AccrualRequest | RedemptionRequest;
type GivenKind = 'accrual' | 'redemption';

const dayMs = 86_400_000;
const aheadMsMax = 300_000;

const letters = (name: string) =>
  name
    .normalize('NFKC')
    .toUpperCase()
    .replaceAll(/\b(?:MR|MRS|MS)\b/g, '')
    .replaceAll(/[^\p{L}]+/gu, ' ')
    .trim();

/** The same words in any order. */
function isNameOf({ name }: Account, given: string): boolean {
  const words = (text: string) => letters(text).split(' ').toSorted().join(' ');
  return words(name) === words(given);
}

/** The fields in one order, so that the same body is the same text. */
function canonical(body: object): string {
  const fields = Object.entries(body).filter(([, value]) => value !== undefined);
  return JSON.stringify(fields.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function viewOf(movement: Movement): MovementReply {
  const {
    kind,
    reference,
    status,
    account,
    points,
    currency,
    occurredAt,
    originalReference,
    shortfall,
    reason,
  } = movement;
  return {
    object: 'partnerOperation',
    id: `sim_${movement.movement}`,
    ...{ kind, reference, status, account },
    points: status === 'failed' ? 0 : points,
    ...{ currency, occurredAt, at: new Date(movement.at).toISOString() },
    ...(originalReference === null ? {} : { originalReference }),
    ...(shortfall > 0 ? { shortfall } : {}),
    ...(reason === null ? {} : { reason }),
  };
}

function told(movement: Movement, isReplay: boolean): Answer {
  const httpStatus = movement.status === 'pending' ? 202 : isReplay ? 200 : 201;
  return { httpStatus, body: viewOf(movement), ...(isReplay ? { isReplay } : {}) };
}

const fault = () => problemOf(new Refusal('internal', 'the simulator cannot tell what became of it'));

export function createCallee(books: Books, { currency, pendingMs, claimDays }: CalleeSettings): Callee {
  function accountOf(name: string): Account {
    const account = books.account(name);
    if (!account) throw new Refusal('member_not_found', 'no such account');
    return account;
  }

  function checkTime(occurredAt: string, now: number): void {
    const at = Date.parse(occurredAt);
    if (at > now + aheadMsMax) throw new Refusal('occurred_at_in_future', 'it happened in the future');
    if (at < now - claimDays * dayMs)
      throw new Refusal('occurred_at_too_old', `claims end after ${claimDays} days`);
  }

  /** The first answer of a reference, where it was used. */
  function known(
    caller: string,
    kind: Movement['kind'],
    reference: string,
    body: string,
  ): Answer | undefined {
    const movement = books.find(caller, kind, reference);
    if (!movement) return undefined;
    if (movement.body !== body)
      throw new Refusal('reference_reused', 'the reference stands for another movement');
    return told(movement, true);
  }

  /** What was pending long enough succeeds or fails. */
  function settle(now: number): void {
    for (const { movement, kind, account, points, becomes } of books.due(now)) {
      const hasFailed = becomes === 'failed';
      books.resolve(movement, becomes!, hasFailed ? 'simulated' : null);
      if (kind === 'accrual' && !hasFailed) books.addPoints(account, points);
      if (kind === 'redemption' && hasFailed) books.addPoints(account, points);
    }
  }

  function checkAllowed(kind: GivenKind, body: Given, now: number): void {
    const account = accountOf(body.account);
    if (body.currency !== undefined && body.currency !== currency)
      throw new Refusal('currency_unknown', `accounts here have ${currency}`);
    checkTime(body.occurredAt, now);
    if (account.status !== 'active')
      throw new Refusal('member_not_active', `the account is ${account.status}`);
    const name = 'name' in body ? body.name : undefined;
    if (!account.linked) {
      if (kind === 'redemption' || name === undefined)
        throw new Refusal('member_not_linked', 'the account is not linked with the caller');
      if (!isNameOf(account, name))
        throw new Refusal('member_not_found', 'the name is not that of the account');
    }
    if (kind === 'redemption' && account.points < body.points)
      throw new Refusal('insufficient_points', `the account has ${account.points} points`, {
        available: account.points,
      });
  }

  function pendingOf(behaviour: Behaviour, now: number): Pick<MovementDraft, 'status' | 'becomes' | 'dueAt'> {
    const becomes: MovementStatus | null =
      behaviour === 'pending_success' ? 'succeeded' : behaviour === 'pending_failure' ? 'failed' : null;
    if (behaviour !== 'pending' && becomes === null)
      return { status: 'succeeded', becomes: null, dueAt: null };
    return { status: 'pending', becomes, dueAt: becomes && now + pendingMs };
  }

  function book(caller: string, kind: GivenKind, body: Given, text: string, now: number): Movement {
    const state = pendingOf(behaviourOf(body.points), now);
    const { reference, account, points, occurredAt } = body;
    if (kind === 'redemption') books.addPoints(account, -points);
    else if (state.status === 'succeeded') books.addPoints(account, points);
    const original = { originalKind: null, originalReference: null };
    const rest = { currency, occurredAt, at: now, reason: null, shortfall: 0, ...original, ...state };
    return books.book({ caller, kind, reference, body: text, account, points, ...rest });
  }

  /** What a repeat has to be the same as. */
  function textOf(body: Given): string {
    const { name: _, ...lasting } = { name: undefined, ...body };
    return canonical({ ...lasting, currency });
  }

  function arrive(caller: string, { kind, body }: LateMovement, now: number): Answer {
    books.noteArrived(caller, kind, body.reference);
    const text = textOf(body);
    const repeated = known(caller, kind, body.reference, text);
    if (repeated) return repeated;
    checkAllowed(kind, body, now);
    return told(book(caller, kind, body, text, now), false);
  }

  function move(caller: string, kind: GivenKind, body: Given, now: number): Answer {
    const text = textOf(body);
    const repeated = known(caller, kind, body.reference, text);
    if (repeated) return repeated;
    checkAllowed(kind, body, now);
    const behaviour = behaviourOf(body.points);
    if (behaviour === 'refuses') throw new Refusal('member_not_active', 'the simulator refuses this amount');
    if (behaviour === 'never_tells' || behaviour === 'fails_unbooked') {
      const isUntold = behaviour === 'never_tells';
      if (books.noteUnbooked(caller, kind, body.reference, isUntold) || isUntold) return fault();
    }
    if (behaviour === 'late_copy' || behaviour === 'late_copy_refused') {
      if (books.noteLate(caller, kind, body.reference)) return { ...fault(), isDropped: true, isLate: true };
      if (behaviour === 'late_copy_refused')
        throw new Refusal('member_not_active', 'the simulator refuses what is sent again');
    }
    const movement = book(caller, kind, body, text, now);
    switch (behaviour) {
      case 'fails_booked':
        return fault();
      case 'arrives_twice':
        return known(caller, kind, body.reference, text)!;
      case 'drops_reply':
        return { ...told(movement, false), isDropped: true };
      default:
        return told(movement, false);
    }
  }

  /** The original of a reversal; where it never arrived and is to be voided, its reference is used up. */
  function originalOf(caller: string, body: ReversalRequest, now: number): Movement {
    const { originalKind: kind, originalReference: reference } = body;
    const found = books.find(caller, kind, reference);
    if (found?.status === 'pending')
      throw new Refusal(
        'reference_in_progress',
        'the original is pending; it can be taken back once it is decided',
      );
    if (found) return found;
    if (!body.voidIfMissing) throw new Refusal('original_not_found', 'what is to be reversed was never done');
    const { account } = accountOf(body.account!);
    const nothing = {
      points: 0,
      shortfall: 0,
      becomes: null,
      dueAt: null,
      originalKind: null,
      originalReference: null,
    };
    const rest = {
      currency,
      occurredAt: body.occurredAt,
      at: now,
      status: 'failed',
      reason: 'voided',
    } as const;
    return books.book({ caller, kind, reference, body: '', account, ...rest, ...nothing });
  }

  function reverse(caller: string, body: ReversalRequest, now: number): Answer {
    const text = canonical(body);
    const repeated = known(caller, 'reversal', body.reference, text);
    if (repeated) return repeated;
    checkTime(body.occurredAt, now);
    const original = originalOf(caller, body, now);
    const whole = original.status === 'succeeded' ? original.points : 0;
    const left = whole - original.reversed;
    const points = body.points ?? left;
    if (points > left || (points === 0 && whole > 0))
      throw new Refusal('reversal_exceeds_original', `${left} points are left of the original`, { left });
    const { account, kind: originalKind, reference: originalReference } = original;
    const by = originalKind === 'accrual' ? -points : points;
    const had = accountOf(account).points;
    const shortfall = Math.max(0, -(had + by)) - Math.max(0, -had);
    books.addPoints(account, by);
    books.addReversed(original.movement, points);
    const { reference, occurredAt } = body;
    const state = { status: 'succeeded', reason: null, becomes: null, dueAt: null } as const;
    const rest = { currency, occurredAt, at: now, originalKind, originalReference, ...state };
    const draft = { caller, kind: 'reversal', reference, body: text, account, points } as const;
    return told(books.book({ ...draft, ...rest, shortfall: Math.max(0, shortfall) }), false);
  }

  function validate(body: ValidationRequest): Answer {
    const found = books.account(body.account);
    if (!found || (body.name !== undefined && !isNameOf(found, body.name)))
      throw new Refusal('member_not_found', 'no such account, or the name is another');
    if (body.code !== undefined) {
      if (found.code !== body.code) throw new Refusal('link_code_invalid', 'the code is wrong or used');
      books.link(found.account, body.callerAccount!);
    }
    const { account, status, memberSince } = found;
    const name = body.name === undefined ? 'not_compared' : 'full';
    const linked = found.linked || body.code !== undefined;
    const reply: ValidationReply = { object: 'partnerMember', account, status, name, linked, memberSince };
    return { httpStatus: 200, body: reply };
  }

  function inquire(caller: string, { kind, reference }: OperationQuery): Answer {
    const movement = books.find(caller, kind, reference);
    if (movement) {
      const isWhole = kind !== 'reversal' && movement.status === 'succeeded';
      return {
        httpStatus: 200,
        body: { ...viewOf(movement), ...(isWhole ? { reversed: movement.reversed } : {}) },
      };
    }
    if (books.isUntold(caller, kind, reference)) return fault();
    throw new Refusal('not_found', 'the reference was never used');
  }

  function bookedOn(caller: string, day: string): Movement[] {
    const period = dayPeriod(day);
    if (!period) throw new Refusal('validation_failed', 'there is no such day');
    return books.ofDay(caller, period.from, period.until);
  }

  function after<Request>(
    answer: (caller: string, request: Request, now: number) => Answer,
  ): (caller: string, request: Request, now: number) => Answer {
    return (caller, request, now) => {
      settle(now);
      return answer(caller, request, now);
    };
  }

  return {
    validate: after((_, body) => validate(body)),
    accrue: after((caller, body, now) => move(caller, 'accrual', body, now)),
    redeem: after((caller, body, now) => move(caller, 'redemption', body, now)),
    reverse: after(reverse),
    inquire: after(inquire),
    day: after((caller, query) => ({ httpStatus: 200, body: dayOf(bookedOn(caller, query.day), query) })),
    dayMovements: after((caller, query) => ({
      httpStatus: 200,
      body: dayMovementsOf(bookedOn(caller, query.day), query),
    })),
    arrive: after(arrive),
  };
}
