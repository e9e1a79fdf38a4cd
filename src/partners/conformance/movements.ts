/** Movements as a well-behaved caller makes them, and the words to tell of those that go wrong. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { inquiryOf, outcomeOf } from '#src/partners/protocol/outcomes.ts';
import type { MovementKind, MovementReply } from '#src/partners/protocol/schemas.ts';
import { type Client, Fault, type MovementCall, type Sent } from './client.ts';

export interface BenchSettings {
  readonly account: string;
  readonly name: string;
  readonly currency: string | undefined;
  /** How long something pending is waited for. */
  readonly pendingMs: number;
  /** How long points are watched that must not move. */
  readonly watchMs: number;
}

export const pollMs = 100;

export const kindOf: Readonly<Record<MovementCall, MovementKind>> = {
  accrue: 'accrual',
  redeem: 'redemption',
  reverse: 'reversal',
};

export const a: Readonly<Record<MovementKind, string>> = {
  accrual: 'an accrual',
  redemption: 'a redemption',
  reversal: 'a reversal',
};

/** With its article, at the beginning of a sentence. */
export const A: Readonly<Record<MovementKind, string>> = {
  accrual: 'An accrual',
  redemption: 'A redemption',
  reversal: 'A reversal',
};

/** An answer, as a person would retell it. */
export function retold({ httpStatus, code, body }: Sent): string {
  if (code !== undefined) return `${httpStatus} ${code}`;
  const { status, reason } = (body ?? {}) as { status?: unknown; reason?: unknown };
  const said = typeof status === 'string' ? ` ${status}` : ' and no document of the protocol';
  return `${httpStatus}${said}${typeof reason === 'string' ? ` (${reason})` : ''}`;
}

export function createMovements(client: Client, settings: BenchSettings) {
  const run = randomUUID().slice(0, 8);
  let references = 0;

  const reference = () => `conformance/${run}/${++references}`;
  const occurredAt = () => new Date().toISOString();
  const currency = settings.currency === undefined ? {} : { currency: settings.currency };

  const accrual = (points: number) => ({
    ...{ reference: reference(), account: settings.account, points, ...currency },
    occurredAt: occurredAt(),
  });
  const reversal = (originalKind: 'accrual' | 'redemption', originalReference: string, points?: number) => ({
    ...{ reference: reference(), originalKind, originalReference },
    ...(points === undefined ? {} : { points }),
    occurredAt: occurredAt(),
  });

  /** What became of a movement, once it is decided. */
  async function decided(kind: MovementKind, named: string): Promise<MovementReply> {
    const deadline = performance.now() + settings.pendingMs;
    for (;;) {
      const sent = await client.inquire(kind, named);
      const inquiry = inquiryOf(sent.httpStatus, sent.body);
      if (typeof inquiry.found === 'string')
        throw new Fault(`An inquiry for ${a[kind]} that was answered is answered with ${retold(sent)}.`);
      if (inquiry.found.status !== 'pending') return inquiry.found;
      if (performance.now() > deadline)
        throw new Fault(`${A[kind]} is still pending after ${settings.pendingMs} ms.`);
      await delay(pollMs);
    }
  }

  /** Makes a movement that has to succeed with exactly what was asked for. */
  async function move(
    call: MovementCall,
    body: { reference: string; points?: number },
  ): Promise<MovementReply> {
    const sent = await client.call(call, body);
    const answer = outcomeOf(sent.httpStatus, sent.body);
    const kind = kindOf[call];
    if (answer.outcome !== 'succeeded' && answer.outcome !== 'pending')
      throw new Fault(`A good ${kind} was answered with ${retold(sent)}.`);
    const reply = answer.outcome === 'pending' ? await decided(kind, body.reference) : answer.reply;
    if (reply.status !== 'succeeded')
      throw new Fault(`A good ${kind} has failed: ${reply.reason ?? 'no reason'}.`);
    if (reply.kind !== kind || reply.reference !== body.reference)
      throw new Fault(`${A[kind]} was answered with another one: ${reply.kind} ${reply.reference}.`);
    if (body.points !== undefined && reply.points !== body.points)
      throw new Fault(`${A[kind]} of ${body.points} points was answered with ${reply.points} points.`);
    return reply;
  }

  /** Takes points if they are there. */
  async function taken(points: number): Promise<string | undefined> {
    const body = accrual(points);
    const sent = await client.call('redeem', body);
    const { outcome } = outcomeOf(sent.httpStatus, sent.body);
    if (outcome === 'pending') {
      const reply = await decided('redemption', body.reference);
      return reply.status === 'succeeded' ? body.reference : undefined;
    }
    if (outcome === 'succeeded') return body.reference;
    if (sent.code === 'insufficient_points') return undefined;
    throw new Fault(
      `A redemption was answered with ${retold(sent)}; it has to succeed or be refused with insufficient_points.`,
    );
  }

  async function giveBack(originals: readonly string[]): Promise<void> {
    for (const original of originals) await move('reverse', reversal('redemption', original));
  }

  return { reference, accrual, redemption: accrual, reversal, decided, move, taken, giveBack };
}
