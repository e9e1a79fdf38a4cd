/**
 * The rows of exchanges; every change of state stands here. `saga.ts` says what the states mean.
 *
 * A state is left by one statement that names the states it may be left from, and the step that led to it is written with it.
 * Whoever comes second changes nothing and is told so.
 */

import type { Identity } from '#src/members/identity.ts';
import type { Direction } from '#src/partners/contracts/types.ts';
import { hexOf, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import type { Action, Asked, Exchange, HistoryStep, Quoted, Refusal, State, Terms } from './types.ts';

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
}

const columns = `${hexOf('exchange')} as exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
  account_sealed, terms, quoted_at, quote_expires_at, day::text, occurred_at, client, ${hexOf('reference_key')} as reference_key, fingerprint, request,
  state, review_of, refusal, in_doubt, tries, ${hexOf('hold')} as hold, ${hexOf('moved')} as moved, partner_operation, sent_at is not null as was_sent, checks,
  (extract(epoch from created_at) * 1000)::bigint as created_at`;

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

/** The exchange that a reference stands for. */
export async function exchangeByKey(
  db: Queryable,
  sealing: Sealing,
  referenceKey: string,
): Promise<Exchange | undefined> {
  const { rows } = await db.query<ExchangeRow>({
    name: 'exchange-by-key',
    text: `select ${columns} from exchange where reference_key = $1`,
    values: [referenceKey],
  });
  return rows[0] && exchangeOf(sealing, rows[0]);
}

export async function insertQuoted(db: Queryable, sealing: Sealing, quoted: Quoted): Promise<void> {
  const { exchange, program, member, partner, direction, currency } = quoted;
  await db.query(
    `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
       account_sealed, terms, quoted_at, quote_expires_at, day, state)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'quoted')`,
    [
      ...[exchange, program, member, partner, direction, currency],
      ...[quoted.ownPoints, quoted.partnerCurrency, quoted.partnerPoints],
      ...[sealing.encrypt(program, member, quoted.account), JSON.stringify(quoted.terms)],
      ...[quoted.quotedAt, quoted.quoteExpiresAt, quoted.day],
    ],
  );
}

export interface Begin {
  readonly asked: Asked;
  readonly day: string;
  readonly occurredAt: EpochMs;
  /** When somebody else goes on with it. */
  readonly leaseMs: number;
  /** A limit wants a person to look first. */
  readonly isReviewed: boolean;
}

/** Begins what was quoted; false where it was begun before. */
export async function beginQuoted(
  tx: Queryable,
  { exchange, direction }: Pick<Quoted, 'exchange' | 'direction'>,
  { asked, day, occurredAt, leaseMs, isReviewed }: Begin,
): Promise<boolean> {
  const first: State = direction === 'out' ? 'holding' : 'ready';
  const { rowCount } = await tx.query(
    `with begun as (
       update exchange set state = $2, review_of = $3, client = $4, reference_key = $5, fingerprint = $6, request = $7, day = $8, occurred_at = $9,
         due_at = case when $3::text is null then now() + $10 * interval '1 millisecond' end, changed_at = now(), created_at = now()
       where exchange = $1 and state = 'quoted' returning exchange)
     insert into exchange_step (exchange, ended_at, action, outcome) select exchange, clock_timestamp(), 'begin', $11 from begun`,
    [
      ...[exchange, isReviewed ? 'in_review' : first, isReviewed ? first : null, asked.client],
      ...[asked.referenceKey, asked.fingerprint, JSON.stringify(asked.request), day, occurredAt, leaseMs],
      isReviewed ? 'in_review' : 'begun',
    ],
  );
  return rowCount === 1;
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

/** Changes a state and writes the step; false where the exchange is in none of the states, and only the step was written. */
export async function advance(
  db: Queryable,
  exchange: OperationHex,
  change: Change,
  { action, outcome, detail, step }: Step,
): Promise<boolean> {
  const { rows } = await db.query<{ changed: number }>({
    name: 'exchange-advance',
    text: `with changed as (
        update exchange set state = $2, review_of = $4, refusal = coalesce($5::json, refusal), in_doubt = coalesce($6, in_doubt),
          tries = coalesce($7, tries), hold = coalesce($8, hold), moved = coalesce($9, moved), partner_operation = coalesce($10, partner_operation),
          due_at = now() + $11::float8 * interval '1 millisecond',
          check_at = coalesce(now() + $12::float8 * interval '1 millisecond', check_at),
          changed_at = case when state = $2 then changed_at else now() end
        where exchange = $1 and state = any($3::text[]) and ($17::int is null or tries = $17) returning exchange),
      ended as (update exchange_step set ended_at = clock_timestamp(), outcome = $14, detail = $15 where step = $16 returning step),
      noted as (insert into exchange_step (exchange, ended_at, action, outcome, detail)
        select $1, clock_timestamp(), $13, $14, $15 where $16::bigint is null)
      select count(*)::int as changed from changed`,
    values: [
      ...[exchange, change.to, change.from, change.reviewOf ?? null],
      ...[
        change.refusal ? JSON.stringify(change.refusal) : null,
        change.isInDoubt ?? null,
        change.tries ?? null,
      ],
      ...[change.hold ?? null, change.moved ?? null, change.partnerOperation ?? null],
      ...[change.dueMs, change.checkMs ?? null],
      ...[action, outcome, detail ? JSON.stringify(detail) : null, step ?? null, change.ifTries ?? null],
    ],
  });
  return rows[0]!.changed === 1;
}

export interface Begun {
  readonly step: number;
  /** Before this send. */
  readonly wasInDoubt: boolean;
  /** With this one. */
  readonly tries: number;
}

/**
 * Writes down that something is about to be sent, before it is: from here on the exchange cannot be cancelled, and whoever
 * finds the step without an end knows that it may have happened. Undefined where the exchange is in another state by now.
 */
export async function beginCall(
  db: Queryable,
  exchange: OperationHex,
  change: {
    readonly from: readonly State[];
    readonly to: State;
    readonly leaseMs: number;
    readonly action: Action;
  },
): Promise<Begun | undefined> {
  const { rows } = await db.query<Begun>({
    name: 'exchange-begin-call',
    text: `with changed as (
        update exchange set state = $2, was_in_doubt = in_doubt, in_doubt = true, tries = tries + 1, sent_at = now(), due_at = now() + $4 * interval '1 millisecond',
          changed_at = case when state = $2 then changed_at else now() end
        where exchange = $1 and state = any($3::text[]) returning exchange, was_in_doubt, tries),
      noted as (insert into exchange_step (exchange, action, outcome) select exchange, $5, 'sent' from changed returning step)
      select step, was_in_doubt as "wasInDoubt", tries from noted, changed`,
    values: [exchange, change.to, change.from, change.leaseMs, change.action],
  });
  return rows[0];
}

/** Leaves an exchange to whoever comes next, later: nothing was done. */
export async function postpone(db: Queryable, exchange: OperationHex, dueMs: number): Promise<void> {
  await db.query({
    name: 'exchange-postpone',
    text: `update exchange set due_at = now() + $2 * interval '1 millisecond' where exchange = $1 and due_at is not null`,
    values: [exchange, dueMs],
  });
}

export async function historyOf(db: Queryable, exchange: OperationHex): Promise<HistoryStep[]> {
  const { rows } = await db.query<{
    at: EpochMs;
    ended_at: EpochMs | null;
    action: Action;
    outcome: string;
    detail: Record<string, unknown> | null;
  }>(
    `select (extract(epoch from at) * 1000)::bigint as at, (extract(epoch from ended_at) * 1000)::bigint as ended_at, action, outcome, detail
     from exchange_step where exchange = $1 order by step limit 200`,
    [exchange],
  );
  return rows.map(({ ended_at: endedAt, detail, ...row }) => ({
    ...row,
    endedAt: endedAt ?? undefined,
    detail: detail ?? undefined,
  }));
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

/** Quotes that ended a day ago and were never used. */
export async function forgetQuotes(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `delete from exchange where exchange in (
       select exchange from exchange where state = 'quoted' and created_at < now() - interval '2 days' order by created_at limit $1)`,
    [limit],
  );
  return rowCount ?? 0;
}

export interface Figures {
  readonly open: number;
  readonly stuck: number;
  readonly inReview: number;
  readonly inDoubt: number;
  readonly breaks: number;
}

/** What is under way, and what needs a person. Pending at a partner is no standstill of ours. */
export async function measure(db: Queryable, stuckMs: number): Promise<Figures> {
  const { rows } = await db.query<Figures>(
    `select count(*) filter (where state <> 'in_review')::int as open, count(*) filter (where state = 'in_review')::int as "inReview",
       count(*) filter (where state not in ('in_review', 'waiting') and changed_at < now() - $1 * interval '1 millisecond')::int as stuck,
       count(*) filter (where in_doubt and due_at is distinct from null)::int as "inDoubt",
       (select count(*) from exchange_break where resolved_at is null)::int as breaks
     from exchange where state not in ('quoted', 'completed', 'refused', 'reversed')`,
    [stuckMs],
  );
  return rows[0]!;
}
