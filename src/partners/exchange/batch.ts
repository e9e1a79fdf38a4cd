/**
 * Exchanges with a partner that takes files: what waits to be sent goes out in a request file, what became of it comes back in a
 * reply file. Holding, capturing, releasing and crediting are those of every other exchange (`saga.ts`); only the call on the partner is
 * a line in a file.
 *
 * Both files have numbers without gaps. An exchange is `waiting` from the commit that has numbered its request file; the file is kept, sealed,
 * and written again as often as it is asked for, so one that was lost is sent once more and never made anew. A reply is taken whole
 * or not at all, and its number is used up in the same commit: a repeat changes nothing, a gap says which file is missing.
 */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { hexOf, inTransaction } from '#src/platform/postgres.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import {
  detailsMax,
  FileFault,
  type ReplyLine,
  type RequestLine,
  readReply,
  writeRequest,
} from './batch-format.ts';
import { noteBreak } from './breaks.ts';
import { partnerRefusal } from './partner-steps.ts';
import { usualPatience } from './policy.ts';
import { type Advance, advanceAll, beginCalls, type Change, lockExchanges, type Step } from './rows.ts';
import {
  type Exchange,
  exchangeId,
  isGivenUp,
  isTakenBack,
  parseExchangeId,
  partnerKind,
  partnerReference,
  type State,
} from './types.ts';

interface Context {
  readonly pool: pg.Pool;
  readonly identity: Identity;
}

export interface FilePartner {
  readonly partner: number;
  readonly program: number;
  readonly name: string;
}

/** What is asked for cannot be done; nothing was changed. */
export class BatchRefused extends Error {}

/** What is sealed for nobody is sealed for the program. */
const nobody = 0 as MemberNumber;
type Direction = 'request' | 'reply';

/** One file after the other: whoever else is at the partner's files waits. Answers the number of the last file. */
async function lastFile(
  tx: pg.PoolClient,
  { partner, name }: FilePartner,
  direction: Direction,
): Promise<number> {
  const { rows } = await tx.query<{ delivery: string }>(
    'select delivery from partner_endpoint where partner = $1 for update',
    [partner],
  );
  if (rows[0]?.delivery !== 'files') throw new BatchRefused(`${name} does not take exchanges in files`);
  const last = await tx.query<{ sequence: number }>(
    'select coalesce(max(sequence), 0)::int as sequence from exchange_file where partner = $1 and direction = $2',
    [partner, direction],
  );
  return last.rows[0]!.sequence;
}

function requestLine(exchange: Exchange): RequestLine {
  const { account, partnerPoints: points, partnerCurrency: currency, state } = exchange;
  return {
    kind: state === 'undoing' ? 'reversal' : partnerKind(exchange),
    reference: partnerReference(exchange.exchange),
    ...{ account, points, currency },
    occurredAt: new Date(exchange.occurredAt).toISOString(),
  };
}

/** Makes the next request file of what waits to be sent; undefined where nothing does. */
export function makeRequest(
  { pool, identity }: Context,
  partner: FilePartner,
): Promise<{ readonly sequence: number; readonly details: number } | undefined> {
  return inTransaction(pool, async (tx) => {
    const sequence = (await lastFile(tx, partner, 'request')) + 1;
    // What is in a file already is due in days; what rests is not due, and what was claimed by a worker is in seconds.
    const { rows } = await tx.query<{ exchange: OperationHex }>(
      `select ${hexOf('exchange')} as exchange from exchange
       where partner = $1 and state in ('ready', 'undoing') and (due_at is null or due_at < now() + interval '1 hour') order by exchange limit $2`,
      [partner.partner, detailsMax],
    );
    if (rows.length === 0) return undefined;
    const found = await lockExchanges(
      tx,
      identity,
      rows.map(({ exchange }) => exchange),
    );
    const leaseMs = usualPatience.pendingMsMax;
    await beginCalls(
      tx,
      found.map(({ exchange, state }) =>
        state === 'undoing'
          ? { exchange, from: ['undoing'], to: 'undoing', leaseMs, action: 'undo' }
          : { exchange, from: ['ready'], to: 'waiting', leaseMs, action: 'call' },
      ),
    );
    const head = { partner: partner.name, sequence, created: new Date().toISOString() };
    const { text, digest } = writeRequest(head, found.map(requestLine));
    await tx.query(
      `insert into exchange_file (partner, direction, sequence, details, digest, content_sealed) values ($1, 'request', $2, $3, $4, $5)`,
      [partner.partner, sequence, found.length, digest, identity.encrypt(partner.program, nobody, text)],
    );
    return { sequence, details: found.length };
  });
}

/** A request file as it was made. */
export async function requestFile(
  { pool, identity }: Context,
  { partner, program, name }: FilePartner,
  sequence: number,
): Promise<string> {
  const { rows } = await pool.query<{ content_sealed: Buffer | null }>(
    `select content_sealed from exchange_file where partner = $1 and direction = 'request' and sequence = $2`,
    [partner, sequence],
  );
  if (!rows[0]) throw new BatchRefused(`there is no request file ${sequence} of ${name}`);
  const { content_sealed: content } = rows[0];
  if (!content)
    throw new BatchRefused(`the request file ${sequence} of ${name} is so old that it is not kept any more`);
  return identity.decrypt(program, nobody, content);
}

const given: readonly State[] = ['waiting', 'in_review'];
const takenBack: readonly State[] = ['undoing', 'in_review'];

/** What a line says against what was asked for or decided: a person looks at it, and nothing is moved by it. */
type Contradiction = { readonly break: 'late_success' | 'late_refusal' | 'reply_differs' };

/** What was asked for is taken back: exactly that, or a person looks. What nobody asked for is a break. */
function reversalOf(exchange: Exchange, line: ReplyLine, step: Step): Advance | Contradiction | undefined {
  const { state, reviewOf, direction } = exchange;
  const hasSucceeded = line.status === 'succeeded';
  if (state !== 'undoing' && reviewOf !== 'undoing')
    return hasSucceeded && !isGivenUp(exchange) ? { break: 'late_refusal' } : undefined;
  if (hasSucceeded && !isTakenBack(exchange, line)) return { break: 'reply_differs' };
  const isOut = direction === 'out';
  const back = { to: isOut ? 'releasing' : 'reversed', dueMs: isOut ? 0 : null, tries: 0 } as const;
  const change = hasSucceeded
    ? { ...back, isInDoubt: false }
    : ({ to: 'in_review', reviewOf: 'undoing', dueMs: null } as const);
  return { exchange: exchange.exchange, change: { ...change, from: takenBack }, step };
}

function changeOf(exchange: Exchange, line: ReplyLine): Advance | Contradiction | undefined {
  const { state, reviewOf, direction } = exchange;
  const isOut = direction === 'out';
  const { kind, status, word, points, currency } = line;
  const step = (action: 'call' | 'undo', more: object = {}) => ({
    action,
    outcome: status,
    detail: { word, by: 'file', ...more },
  });
  const id = exchange.exchange;
  const again = { dueMs: 0, isInDoubt: false, tries: 0 };
  if (kind === 'reversal') return reversalOf(exchange, line, step('undo', { points }));
  const isOpen = state === 'waiting' || (state === 'in_review' && reviewOf === 'waiting');
  if (!isOpen) {
    if (status === 'succeeded') return isGivenUp(exchange) ? { break: 'late_success' } : undefined;
    return isGivenUp(exchange) ? undefined : { break: 'late_refusal' };
  }
  if (status === 'failed') {
    const to = isOut ? 'releasing' : 'refused';
    const change = {
      ...again,
      to,
      from: given,
      dueMs: isOut ? 0 : null,
      refusal: partnerRefusal(word),
    } as const;
    return { exchange: id, change, step: step('call') };
  }
  if (points !== exchange.partnerPoints || currency !== exchange.partnerCurrency)
    return { break: 'reply_differs' };
  const change = {
    ...again,
    to: isOut ? 'capturing' : 'crediting',
    from: given,
    partnerOperation: word,
  } as const;
  return { exchange: id, change, step: step('call', { points }) };
}

async function contradict(
  tx: pg.PoolClient,
  present: Exchange,
  line: ReplyLine,
  kind: Contradiction['break'],
): Promise<void> {
  await noteBreak(tx, present, kind, { ...line, by: 'file' });
  if (kind !== 'reply_differs') return;
  const { exchange, state } = present;
  const isReversal = line.kind === 'reversal';
  const change: Change = {
    to: 'in_review',
    reviewOf: state,
    from: ['waiting', 'undoing'],
    dueMs: null,
    partnerOperation: isReversal ? undefined : line.word,
  };
  const action = isReversal ? 'undo' : 'call';
  const step = { action, outcome: 'reply_differs', detail: { ...line, by: 'file' } } as const;
  // Of what is in review already only the step is written.
  await advanceAll(tx, [{ exchange, change, step }]);
}

export interface Taken {
  readonly sequence: number;
  readonly details: number;
  /** Lines that changed nothing, because it was decided so before. */
  readonly known: number;
  /** Lines that do not fit: breaks. */
  readonly breaks: number;
}

/** Takes the next reply file as a whole; the worker does what follows. Throws a `FileFault` or `BatchRefused`, and nothing is changed. */
export function takeReply({ pool, identity }: Context, partner: FilePartner, bytes: Buffer): Promise<Taken> {
  const { head, details, digest } = readReply(bytes, partner.name);
  return inTransaction(pool, async (tx) => {
    const next = (await lastFile(tx, partner, 'reply')) + 1;
    if (head.sequence < next) throw new BatchRefused(`the reply file ${head.sequence} was taken before`);
    if (head.sequence > next)
      throw new BatchRefused(`the reply file ${next} is missing before ${head.sequence}`);
    const ids = details.map(({ reference }) => parseExchangeId(reference));
    const found = await lockExchanges(
      tx,
      identity,
      ids.filter((id) => id !== undefined),
    );
    const byId = new Map(found.map((exchange) => [exchangeId(exchange.exchange), exchange]));
    const [advances, contradictions] = [[] as Advance[], [] as [Exchange, ReplyLine, Contradiction][]];
    for (const [i, line] of details.entries()) {
      const exchange = byId.get(line.reference);
      if (exchange?.partner !== partner.partner || !exchange.wasSent)
        throw new FileFault(i + 2, `${line.reference} was never sent`);
      if (line.kind !== 'reversal' && line.kind !== partnerKind(exchange))
        throw new FileFault(i + 2, `${line.reference} is no ${line.kind}`);
      const change = changeOf(exchange, line);
      if (change && 'break' in change) contradictions.push([exchange, line, change]);
      else if (change) advances.push(change);
    }
    await advanceAll(tx, advances);
    for (const [exchange, line, change] of contradictions) await contradict(tx, exchange, line, change.break);
    await tx.query(
      `insert into exchange_file (partner, direction, sequence, details, digest) values ($1, 'reply', $2, $3, $4)`,
      [partner.partner, head.sequence, details.length, digest],
    );
    const breaks = contradictions.length;
    return {
      sequence: head.sequence,
      details: details.length,
      known: details.length - advances.length - breaks,
      breaks,
    };
  });
}
