/**
 * What is asked of a partner, and what its answers lead to; `saga.ts` says what the states mean. Every change names the states it
 * may be made from, so that of two processes which hear of the same call, one decides, and the other finds it decided.
 */
import { isRefusal } from '#src/partners/protocol/outcomes.ts';
import type { MovementReply } from '#src/partners/protocol/schemas.ts';
import type { OperationHex } from '#src/values.ts';
import { recordBreak } from './breaks.ts';
import type { InquiryAnswer, Movement, MovementAnswer, Slot } from './calling.ts';
import type { ExchangeContext } from './context.ts';
import { leaseMs, type Patience, retryAfterMs } from './policy.ts';
import { type Change, changedBy, postpone, readExchange, rest, type Step } from './rows.ts';
import {
  type Exchange,
  isGivenUp,
  isTakenBack,
  partnerKind,
  partnerReference,
  type Refusal,
  type State,
  undoReference,
} from './types.ts';

/** What a step leads to: the exchange as it stands now, or true where that has to be read; false: it has to wait. */
export type Onward = Exchange | boolean;

export interface PartnerSteps {
  /** Sends it for the first time, or goes on with what was sent before. */
  call(exchange: Exchange): Promise<Onward>;
  /** Takes it back there. */
  undo(exchange: Exchange): Promise<Onward>;
}

const open: readonly State[] = ['calling', 'waiting'];
/** Until somebody has said where the partner is called. */
const nowhereMs = 10_000;
/** Not all that wait for a partner come in one moment. */
const spreadMs = 500;
/** Beyond it an inquiry comes every two minutes. */
const pendingTriesMax = 8;

function movementOf(exchange: Exchange): Movement {
  const body = {
    reference: partnerReference(exchange.exchange),
    account: exchange.account,
    points: exchange.partnerPoints,
    currency: exchange.partnerCurrency,
    occurredAt: new Date(exchange.occurredAt).toISOString(),
    purpose: 'exchange',
  };
  return exchange.direction === 'out' ? { call: 'accrue', body } : { call: 'redeem', body };
}

/** Takes back at the partner what an exchange has done there, or sees to it that it never will. */
function undoingOf(exchange: Exchange): Movement {
  const original = partnerReference(exchange.exchange);
  return {
    call: 'reverse',
    body: {
      reference: undoReference(exchange.exchange),
      originalKind: partnerKind(exchange),
      originalReference: original,
      account: exchange.account,
      occurredAt: new Date(exchange.occurredAt).toISOString(),
      voidIfMissing: true,
    },
  };
}

function traceOf(answer: MovementAnswer | InquiryAnswer): Readonly<Record<string, unknown>> {
  const { httpStatus, ms } = answer;
  const code = 'code' in answer ? { code: answer.code } : {};
  // Of what was taken back there, how much it was: nothing where the movement never arrived.
  const points = 'reply' in answer ? { points: answer.reply.points } : {};
  return { ...code, ...points, ...(httpStatus === undefined ? {} : { httpStatus }), ms };
}

export function partnerRefusal(reason: string): Refusal {
  return { code: 'exchange_refused', detail: `the exchange was refused: ${reason}`, fields: { reason } };
}

/** A repeat was refused, and what was sent before it may still arrive: that is undone there before anything else is. */
function undoneFor(reason: string, patience: Patience): Omit<Change, 'from'> {
  return { to: 'undoing', dueMs: leaseMs(patience), refusal: partnerRefusal(reason), tries: 0 };
}

const isOverdue = ({ createdAt }: Exchange, mostMs: number) => Date.now() - createdAt > mostMs;

export function createPartnerSteps(context: ExchangeContext): PartnerSteps {
  const { pool, patience, calls, identity, gathered } = context;

  const waitMs = ({ tries }: Pick<Exchange, 'tries'>) => retryAfterMs(patience, tries, Math.random());

  /** What a partner says against what was decided by now is a break. */
  async function contradicted(id: OperationHex, to: State, { detail = {} }: Step): Promise<void> {
    const present = await readExchange(pool, identity, id);
    if (!present) return;
    const isDone = ['capturing', 'crediting', 'completed'].includes(present.state);
    if ((to === 'capturing' || to === 'crediting') && isGivenUp(present))
      await recordBreak(context, present, 'late_success', detail);
    if ((to === 'releasing' || to === 'refused' || to === 'undoing') && isDone)
      await recordBreak(context, present, 'late_refusal', detail);
  }

  async function settle(
    present: Exchange,
    change: Omit<Change, 'from'>,
    step: Step,
    from = open,
  ): Promise<Onward> {
    const { exchange } = present;
    const made = { ...change, from };
    if (await gathered.advance({ exchange, change: made, step })) return changedBy(present, made);
    await contradicted(exchange, change.to, step);
    return true;
  }

  function review(exchange: Exchange, step: Step, from = open, partnerOperation?: string): Promise<Onward> {
    const change = { to: 'in_review', reviewOf: exchange.state, dueMs: null, partnerOperation } as const;
    return settle(exchange, change, { ...step, detail: { ...step.detail, next: 'in_review' } }, from);
  }

  /** It has certainly not happened there, and never will. */
  function refused(
    exchange: Exchange,
    reason: string,
    step: Step,
    from = open,
    ifTries?: number,
  ): Promise<Onward> {
    const isOut = exchange.direction === 'out';
    const [to, dueMs] = isOut ? (['releasing', leaseMs(patience)] as const) : (['refused', null] as const);
    const [refusal, checkMs] = [partnerRefusal(reason), exchange.wasSent ? patience.checksMs[0] : undefined];
    const change = { to, dueMs, refusal, checkMs, ifTries, isInDoubt: false, tries: 0 };
    return settle(exchange, change, step, from);
  }

  /** The partner says something else than what it was asked for, so nobody knows what it has done. */
  async function differs(
    exchange: Exchange,
    { points, currency, reversed = 0, id, kind, reference }: MovementReply,
    step: Step,
    from = open,
  ): Promise<Onward> {
    const said = { points, currency, reversed, id, kind, reference };
    await recordBreak(context, exchange, 'reply_differs', said);
    const written = { ...step, outcome: 'reply_differs', detail: { ...step.detail, ...said } };
    // Only its own movement is one that the partner has done: what it says of another is none of this exchange.
    const isOurs = kind === partnerKind(exchange) && reference === partnerReference(exchange.exchange);
    return review(exchange, written, from, isOurs ? id : undefined);
  }

  /** The partner says that it has done it: exactly what was asked for, or nobody knows what. */
  async function succeeded(exchange: Exchange, reply: MovementReply, step: Step): Promise<Onward> {
    const fits =
      reply.points === exchange.partnerPoints &&
      reply.currency === exchange.partnerCurrency &&
      reply.reference === partnerReference(exchange.exchange) &&
      reply.kind === partnerKind(exchange) &&
      (reply.reversed ?? 0) === 0;
    if (!fits) return differs(exchange, reply, step);
    const to = exchange.direction === 'out' ? 'capturing' : 'crediting';
    const change = { dueMs: leaseMs(patience), partnerOperation: reply.id, isInDoubt: false, tries: 0 };
    return settle(exchange, { ...change, to }, step);
  }

  async function pending(exchange: Exchange, step: Step): Promise<Onward> {
    if (isOverdue(exchange, patience.pendingMsMax)) return review(exchange, step);
    const tries = Math.min(exchange.tries + 1, pendingTriesMax);
    await settle(exchange, { to: 'waiting', dueMs: waitMs({ tries }), tries, isInDoubt: false }, step);
    return false;
  }

  /** Nobody knows what became of it. */
  async function doubted(exchange: Exchange, step: Step): Promise<Onward> {
    if (exchange.tries >= patience.doubtsMax) return review(exchange, step);
    await settle(exchange, { to: 'calling', dueMs: waitMs(exchange), isInDoubt: true }, step);
    return false;
  }

  /** This send has certainly done nothing; whether an earlier one has, is as it was before. */
  async function notDone(exchange: Exchange, step: Step): Promise<Onward> {
    if (exchange.isInDoubt) return doubted(exchange, step);
    const ifTries = exchange.tries;
    if (isOverdue(exchange, patience.giveUpMs))
      return refused(exchange, 'partner_unavailable', step, open, ifTries);
    await settle(exchange, { to: 'ready', dueMs: waitMs(exchange), isInDoubt: false, ifTries }, step);
    return false;
  }

  /** What goes out and comes back in files waits for them (`batch.ts`); one that is in a file and never answered is parked. */
  async function byFiles(exchange: Exchange, waitMs: number): Promise<undefined> {
    const { state, wasSent, tries, createdAt } = exchange;
    const isInFile = state === 'undoing' ? tries > 0 : state !== 'ready' && wasSent;
    if (!isInFile) await rest(pool, exchange);
    else if (isOverdue(exchange, patience.pendingMsMax))
      await review(exchange, { action: 'inquire', outcome: 'no_reply_file' }, [state]);
    else {
      const leftMs = createdAt + patience.pendingMsMax - Date.now();
      await postpone(pool, exchange.exchange, Math.max(waitMs, leftMs));
    }
  }

  /** A slot at the partner; without one the exchange waits, or is given up where nothing of it was ever sent. */
  async function slotFor(exchange: Exchange): Promise<Slot | undefined> {
    const endpoint = await context.endpoints.of(exchange.partner);
    const slot = endpoint ? calls.take(endpoint) : { waitMs: nowhereMs };
    if (!('waitMs' in slot)) return slot;
    if (endpoint?.delivery === 'files') return byFiles(exchange, slot.waitMs);
    const isFree = exchange.state === 'ready' && !exchange.isInDoubt;
    if (isFree && isOverdue(exchange, patience.giveUpMs))
      await refused(exchange, 'partner_unavailable', { action: 'call', outcome: 'given_up' }, ['ready']);
    else await postpone(pool, exchange.exchange, slot.waitMs + spreadMs * Math.random());
    return undefined;
  }

  async function send(slot: Slot, exchange: Exchange, action: 'call' | 'undo', movement: Movement) {
    const [from, to]: [readonly State[], State] =
      action === 'undo' ? [['undoing'], 'undoing'] : [['ready', ...open], 'calling'];
    const call = { exchange: exchange.exchange, from, to, leaseMs: leaseMs(patience), action };
    const begun = await gathered.beginCall(call);
    if (!begun) return undefined;
    const answer = await slot.move(movement);
    const { step, tries, wasInDoubt: isInDoubt } = begun;
    const present: Exchange = { ...exchange, state: to, tries, isInDoubt, wasSent: true };
    const written: Step = { action, outcome: answer.outcome, detail: traceOf(answer), step };
    return { answer, present, written };
  }

  async function callAt(slot: Slot, exchange: Exchange): Promise<Onward> {
    const sent = await send(slot, exchange, 'call', movementOf(exchange));
    // Somebody else has decided meanwhile: what is in the row now goes on.
    if (!sent) return true;
    const { answer, present, written } = sent;
    switch (answer.outcome) {
      case 'succeeded':
        return succeeded(present, answer.reply, written);
      case 'pending':
        return pending(present, written);
      case 'failed':
        return refused(present, answer.code, written);
      case 'refused':
        // What was pending before, and has left the partner's books since, is in doubt as well.
        if (present.isInDoubt || exchange.state === 'waiting')
          return settle(present, undoneFor(answer.code, patience), written);
        return refused(present, answer.code, written, open, present.tries);
      case 'not_done':
        return notDone(present, written);
      case 'stands':
      case 'unknown':
        return doubted(present, written);
    }
  }

  async function inquireAt(slot: Slot, exchange: Exchange): Promise<Onward> {
    const answer = await slot.inquire(partnerKind(exchange), partnerReference(exchange.exchange));
    const step: Step = { action: 'inquire', outcome: answer.outcome, detail: traceOf(answer) };
    switch (answer.outcome) {
      case 'found': {
        const { reply } = answer;
        const said = { ...step, outcome: reply.status };
        if (reply.status === 'pending') return pending(exchange, said);
        if (reply.status === 'failed') return refused(exchange, reply.reason ?? 'failed', said);
        return succeeded(exchange, reply, said);
      }
      case 'nothing':
      case 'unknown':
        // It never arrived, or is still on its way, or nobody says: the same reference again does no harm, and is the question. The
        // doubt stays, because of what may still be on its way.
        await settle(exchange, { to: exchange.state, dueMs: leaseMs(patience) }, step);
        return callAt(slot, exchange);
    }
  }

  async function within(exchange: Exchange, work: (slot: Slot) => Promise<Onward>): Promise<Onward> {
    const slot = await slotFor(exchange);
    if (!slot) return false;
    try {
      return await work(slot);
    } finally {
      slot.leave();
    }
  }

  /** The partner says that it has taken it back: exactly this, or nobody knows what. */
  async function takenBack(exchange: Exchange, reply: MovementReply, step: Step): Promise<Onward> {
    const from: readonly State[] = ['undoing'];
    const { originalReference = partnerReference(exchange.exchange) } = reply;
    const fits =
      reply.kind === 'reversal' &&
      reply.reference === undoReference(exchange.exchange) &&
      originalReference === partnerReference(exchange.exchange) &&
      isTakenBack(exchange, reply);
    if (!fits) return differs(exchange, reply, step, from);
    const [to, dueMs] =
      exchange.direction === 'out'
        ? (['releasing', leaseMs(patience)] as const)
        : // What the partner never said that it has done was not taken back, but refused.
          ([exchange.refusal && !exchange.partnerOperation ? 'refused' : 'reversed', null] as const);
    const change = { to, dueMs, isInDoubt: false, checkMs: patience.checksMs[0] };
    return settle(exchange, change, step, from);
  }

  async function undoAt(slot: Slot, exchange: Exchange): Promise<Onward> {
    const sent = await send(slot, exchange, 'undo', undoingOf(exchange));
    if (!sent) return true;
    const { answer, present, written } = sent;
    const from: readonly State[] = ['undoing'];
    if (answer.outcome === 'succeeded') return takenBack(present, answer.reply, written);
    const isHopeless = isRefusal(answer.outcome) || present.tries >= patience.doubtsMax;
    if (isHopeless) return review(present, written, from);
    await settle(present, { to: 'undoing', dueMs: waitMs(present) }, written, from);
    return false;
  }

  return {
    call: (exchange) =>
      within(exchange, (slot) =>
        exchange.state !== 'ready' && (exchange.isInDoubt || exchange.state === 'waiting')
          ? inquireAt(slot, exchange)
          : callAt(slot, exchange),
      ),
    undo: (exchange) => within(exchange, (slot) => undoAt(slot, exchange)),
  };
}
