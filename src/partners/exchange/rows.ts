/**
 * The rows of exchanges; every change of state stands here. `saga.ts` says what the states mean.
 *
 * A state is left by one statement that names the states it may be left from, and the step that led to it is written with it.
 * Whoever comes second changes nothing and is told so.
 */

import type { Identity } from '#src/members/identity.ts';
import type { Direction } from '#src/partners/contracts/types.ts';
import { epochMsOf, hexOf, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import type { Action, Asked, Exchange, HistoryStep, Refusal, State, Terms } from './types.ts';

type Sealing = Pick<Identity, 'encrypt' | 'decrypt'>;

interface ExchangeRow {
  readonly exchange: OperationHex;
  readonly program: number;
  readonly member: MemberNumber;
  readonly partner: number;
  readonly direction: Direction;
  readonly currency: number;
  readonly own_points: number;
  readonly partner_currency: string;
  readonly partner_points: number;
  readonly account_sealed: Buffer;
  readonly terms: Terms;
  readonly quoted_at: EpochMs;
  readonly quote_expires_at: EpochMs;
  readonly day: string;
  readonly occurred_at: EpochMs | null;
  readonly client: number | null;
  readonly reference_key: string | null;
  readonly fingerprint: string | null;
  readonly request: Record<string, unknown> | null;
  readonly state: State;
  readonly review_of: State | null;
  readonly refusal: Refusal | null;
  readonly in_doubt: boolean;
  readonly tries: number;
  readonly hold: OperationHex | null;
  readonly moved: OperationHex | null;
  readonly partner_operation: string | null;
  readonly was_sent: boolean;
  readonly checks: number;
  readonly created_at: EpochMs;
  readonly card: string | null;
}

const columns = `${hexOf('exchange')} as exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
  account_sealed, terms, quoted_at, quote_expires_at, day::text, occurred_at, client, ${hexOf('reference_key')} as reference_key, fingerprint, request,
  state, review_of, refusal, in_doubt, tries, ${hexOf('hold')} as hold, ${hexOf('moved')} as moved, partner_operation, sent_at is not null as was_sent, checks,
  ${epochMsOf('created_at')} as created_at, card`;

function askedOf(row: ExchangeRow): Asked | undefined {
  const { client, reference_key: referenceKey, fingerprint, request } = row;
  if (client === null || referenceKey === null || fingerprint === null) return undefined;
  return { client, referenceKey, fingerprint, request: request ?? {} };
}

function exchangeOf(sealing: Sealing, row: ExchangeRow): Exchange {
  return {
    exchange: row.exchange,
    program: row.program,
    member: row.member,
    partner: row.partner,
    direction: row.direction,
    currency: row.currency,
    ownPoints: row.own_points,
    partnerCurrency: row.partner_currency,
    partnerPoints: row.partner_points,
    account:
      row.account_sealed.length === 0 ? '' : sealing.decrypt(row.program, row.member, row.account_sealed),
    terms: row.terms,
    quotedAt: row.quoted_at,
    quoteExpiresAt: row.quote_expires_at,
    day: row.day,
    asked: askedOf(row),
    occurredAt: row.occurred_at ?? 0,
    state: row.state,
    reviewOf: row.review_of ?? undefined,
    refusal: row.refusal ?? undefined,
    isInDoubt: row.in_doubt,
    tries: row.tries,
    hold: row.hold ?? undefined,
    moved: row.moved ?? undefined,
    partnerOperation: row.partner_operation ?? undefined,
    wasSent: row.was_sent,
    checks: row.checks,
    createdAt: row.created_at,
    card: row.card ?? undefined,
  };
}

export async function readExchange(
  db: Queryable,
  sealing: Sealing,
  exchange: OperationHex,
): Promise<Exchange | undefined> {
  const { rows } = await db.query<ExchangeRow>({
    name: 'exchange',
    text: `select ${columns} from exchange where exchange = $1`,
    values: [exchange],
  });
  return rows[0] && exchangeOf(sealing, rows[0]);
}

/** Those of the exchanges that there are, in the order of their ids; nobody else changes them until the database transaction ends. */
export async function lockExchanges(
  db: Queryable,
  sealing: Sealing,
  exchanges: readonly OperationHex[],
): Promise<Exchange[]> {
  const { rows } = await db.query<ExchangeRow>(
    `select ${columns} from exchange e where e.exchange = any($1::uuid[]) order by e.exchange for update`,
    [exchanges],
  );
  return rows.map((row) => exchangeOf(sealing, row));
}

/** The exchanges that references stand for, by the key of the reference. */
export async function exchangesByKey(
  db: Queryable,
  sealing: Sealing,
  referenceKeys: readonly string[],
): Promise<ReadonlyMap<string, Exchange>> {
  const { rows } = await db.query<ExchangeRow>({
    name: 'exchanges-by-key',
    text: `select ${columns} from exchange where reference_key = any($1::uuid[])`,
    values: [referenceKeys],
  });
  return new Map(rows.map((row) => [row.reference_key!, exchangeOf(sealing, row)]));
}

/** What a step has led to. */
export interface Step {
  readonly action: Action;
  readonly outcome: string;
  readonly detail?: Readonly<Record<string, unknown>>;
  /** The row that was written when it began. */
  readonly step?: number | undefined;
}

export interface Change {
  readonly to: State;
  /** The states it may be left from. */
  readonly from: readonly State[];
  /** When somebody has to go on; null: nobody has to. */
  readonly dueMs: number | null;
  /** Only as long as nobody has sent it again since this try. */
  readonly ifTries?: number | undefined;
  readonly reviewOf?: State | undefined;
  readonly refusal?: Refusal | undefined;
  readonly isInDoubt?: boolean | undefined;
  readonly tries?: number | undefined;
  readonly hold?: OperationHex | undefined;
  readonly moved?: OperationHex | undefined;
  readonly partnerOperation?: string | undefined;
  /** When the partner is asked once more. */
  readonly checkMs?: number | undefined;
}

export interface Advance {
  readonly exchange: OperationHex;
  readonly change: Change;
  readonly step: Step;
}

/** When it last went on. To be sent and sent again is none: a partner that answers every send with a word of ours, such as 403, is a standstill. */
const wentOnAt = `case when e.state = g."to" or (e.state in ('ready', 'calling') and g."to" in ('ready', 'calling')) then e.changed_at else now() end`;

/**
 * When somebody has to go on with it. A lease that was taken moments ago is left as it is: steps follow one another in milliseconds, and a
 * time that stays lets PostgreSQL change the row without a word to its indexes.
 */
const dueAt = (
  ms: string,
) => `case when e.due_at between now() + ${ms} * interval '0.85 millisecond' and now() + ${ms} * interval '1 millisecond'
  then e.due_at else now() + ${ms} * interval '1 millisecond' end`;

const advanceQuery = `
  with given as (
    select * from json_to_recordset($1) as g (exchange uuid, "to" text, "from" text[], review_of text, refusal json,
      in_doubt boolean, tries integer, hold uuid, moved uuid, partner_operation text, due_ms float8, check_ms float8, if_tries integer,
      action text, outcome text, detail json, step bigint)
  ), changed as (
    update exchange e set state = g."to", review_of = g.review_of, refusal = coalesce(g.refusal, e.refusal),
      in_doubt = coalesce(g.in_doubt, e.in_doubt), tries = coalesce(g.tries, e.tries), hold = coalesce(g.hold, e.hold),
      moved = coalesce(g.moved, e.moved), partner_operation = coalesce(g.partner_operation, e.partner_operation),
      due_at = ${dueAt('g.due_ms')},
      check_at = coalesce(now() + g.check_ms * interval '1 millisecond', e.check_at),
      faults = case when e.state = g."to" then e.faults else 0 end, changed_at = ${wentOnAt}
    from given g
    where e.exchange = g.exchange and e.state = any(g."from") and (g.if_tries is null or e.tries = g.if_tries)
    returning e.exchange
  ), ended as (
    update exchange_step s set ended_at = clock_timestamp(), outcome = g.outcome, detail = g.detail
    from given g where s.step = g.step
  ), noted as (
    insert into exchange_step (exchange, ended_at, action, outcome, detail)
    select exchange, clock_timestamp(), action, outcome, detail from given where step is null
  )
  select ${hexOf('exchange')} as exchange from changed`;

/**
 * Changes states and writes the steps, of each exchange once; false for one that is in none of its states, of which only the step was
 * written.
 */
export async function advanceAll(db: Queryable, advances: readonly Advance[]): Promise<boolean[]> {
  const given = advances.map(({ exchange, change, step }) => ({
    ...{ exchange, to: change.to, from: change.from, review_of: change.reviewOf, refusal: change.refusal },
    ...{ in_doubt: change.isInDoubt, tries: change.tries, hold: change.hold, moved: change.moved },
    ...{ partner_operation: change.partnerOperation, due_ms: change.dueMs, check_ms: change.checkMs },
    ...{ if_tries: change.ifTries, ...step },
  }));
  const { rows } = await db.query<{ exchange: OperationHex }>({
    name: 'exchanges-advance',
    text: advanceQuery,
    values: [JSON.stringify(given)],
  });
  const changed = new Set(rows.map(({ exchange }) => exchange));
  return advances.map(({ exchange }) => changed.has(exchange));
}

/** Changes a state and writes the step; false where the exchange is in none of the states, and only the step was written. */
export async function advance(
  db: Queryable,
  exchange: OperationHex,
  change: Change,
  step: Step,
): Promise<boolean> {
  return (await advanceAll(db, [{ exchange, change, step }]))[0]!;
}

/** What an exchange is after a change that was made. */
export function changedBy(exchange: Exchange, change: Change): Exchange {
  return {
    ...exchange,
    state: change.to,
    reviewOf: change.reviewOf,
    refusal: change.refusal ?? exchange.refusal,
    isInDoubt: change.isInDoubt ?? exchange.isInDoubt,
    tries: change.tries ?? exchange.tries,
    hold: change.hold ?? exchange.hold,
    moved: change.moved ?? exchange.moved,
    partnerOperation: change.partnerOperation ?? exchange.partnerOperation,
  };
}

export interface Begun {
  readonly step: number;
  /** Before this send. */
  readonly wasInDoubt: boolean;
  /** With this one. */
  readonly tries: number;
}

export interface BeginCall {
  readonly exchange: OperationHex;
  readonly from: readonly State[];
  readonly to: State;
  readonly leaseMs: number;
  readonly action: Action;
}

const beginCallQuery = `
  with given as (
    select * from json_to_recordset($1) as g (exchange uuid, "to" text, "from" text[], "leaseMs" float8, action text)
  ), changed as (
    update exchange e set state = g."to", was_in_doubt = in_doubt, in_doubt = true, tries = tries + 1, sent_at = now(),
      faults = case when e.state = g."to" then e.faults else 0 end,
      due_at = ${dueAt('g."leaseMs"')}, changed_at = ${wentOnAt}
    from given g where e.exchange = g.exchange and e.state = any(g."from") returning e.exchange, was_in_doubt, tries, g.action
  ), noted as (
    insert into exchange_step (exchange, action, outcome) select exchange, action, 'sent' from changed returning step, exchange)
  select ${hexOf('exchange')} as exchange, step, was_in_doubt as "wasInDoubt", tries from noted join changed using (exchange)`;

/**
 * Writes down that something is about to be sent, before it is: from here on the exchange cannot be cancelled, and whoever
 * finds the step without an end knows that it may have happened. Of each exchange once; undefined where it is in another state by now.
 */
export async function beginCalls(db: Queryable, calls: readonly BeginCall[]): Promise<(Begun | undefined)[]> {
  const { rows } = await db.query<Begun & { exchange: OperationHex }>({
    name: 'exchanges-begin-call',
    text: beginCallQuery,
    values: [JSON.stringify(calls)],
  });
  const begun = new Map(rows.map(({ exchange, ...row }) => [exchange, row]));
  return calls.map(({ exchange }) => begun.get(exchange));
}

/** Leaves an exchange to whoever comes next, later: nothing was done. */
export async function postpone(db: Queryable, exchange: OperationHex, dueMs: number): Promise<void> {
  await db.query({
    name: 'exchange-postpone',
    text: `update exchange set due_at = now() + $2 * interval '1 millisecond' where exchange = $1 and due_at is not null`,
    values: [exchange, dueMs],
  });
}

/**
 * Leaves an exchange to the next request file of its partner: no worker looks at it until then. Not one that is in a file by now, which is
 * known by its tries, and not where the partner does not take files any more: whoever changes that sets what rests in motion, and waits
 * for who is about to rest. Such exchanges stay due when whoever did it has said.
 */
export async function rest(
  db: Queryable,
  { exchange, partner, state, tries }: Pick<Exchange, 'exchange' | 'partner' | 'state' | 'tries'>,
): Promise<void> {
  await db.query(
    `with p as (select partner from partner_endpoint where partner = $2 and delivery = 'files' for share)
     update exchange e set due_at = null from p
     where e.exchange = $1 and e.partner = p.partner and e.state = $3 and e.tries = $4 and e.due_at is not null`,
    [exchange, partner, state, tries],
  );
}

/** How a hold stands in the books; undefined where they do not have it. */
export async function holdStatus(db: Queryable, hold: OperationHex): Promise<string | undefined> {
  const { rows } = await db.query<{ status: string }>('select status from hold where hold = $1', [hold]);
  return rows[0]?.status;
}

const historyMax = 200;

/** Steps of exchanges, oldest first, at most so many of each. */
export async function historiesOf(
  db: Queryable,
  exchanges: readonly OperationHex[],
): Promise<ReadonlyMap<OperationHex, HistoryStep[]>> {
  const { rows } = await db.query<{
    exchange: OperationHex;
    at: EpochMs;
    ended_at: EpochMs | null;
    action: Action;
    outcome: string;
    detail: Record<string, unknown> | null;
  }>({
    name: 'exchanges-histories',
    text: `select ${hexOf('g.exchange')} as exchange, s.* from unnest($1::uuid[]) as g (exchange) cross join lateral (
       select ${epochMsOf('at')} as at, ${epochMsOf('ended_at')} as ended_at, action, outcome, detail
       from exchange_step s where s.exchange = g.exchange order by step limit ${historyMax}) s`,
    values: [exchanges],
  });
  const histories = new Map<OperationHex, HistoryStep[]>(exchanges.map((exchange) => [exchange, []]));
  for (const { exchange, ended_at: endedAt, detail, ...row } of rows)
    histories.get(exchange)!.push({ ...row, endedAt: endedAt ?? undefined, detail: detail ?? undefined });
  return histories;
}

/** Takes up exchanges of a partner that somebody has to go on with now; nobody else does for as long as the lease. */
export async function claimDue(
  db: Queryable,
  partner: number,
  limit: number,
  leaseMs: number,
): Promise<OperationHex[]> {
  const { rows } = await db.query<{ exchange: OperationHex }>(
    `update exchange set due_at = now() + $3 * interval '1 millisecond'
     where exchange in (select exchange from exchange where partner = $1 and due_at <= now() order by due_at limit $2 for update skip locked)
     returning ${hexOf('exchange')} as exchange`,
    [partner, limit, leaseMs],
  );
  return rows.map(({ exchange }) => exchange);
}

/** Partners with exchanges that somebody has to go on with, or to ask about once more. */
export async function duePartners(db: Queryable): Promise<number[]> {
  const { rows } = await db.query<{ partner: number }>(
    'select distinct partner from exchange where due_at <= now()',
  );
  return rows.map(({ partner }) => partner);
}
