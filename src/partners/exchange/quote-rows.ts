/** Rows of exchanges in their beginning: quotes, and what is begun of them or without one. */
import type { Identity } from '#src/members/identity.ts';
import type { Reason } from '#src/partners/contracts/limits.ts';
import { reasonsShown } from '#src/partners/contracts/problems.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { Asked, Exchange, Quoted, State } from './types.ts';

type Sealing = Pick<Identity, 'encrypt'>;

export async function insertQuoted(db: Queryable, sealing: Sealing, quoted: Quoted): Promise<void> {
  const { exchange, program, member, partner, direction, currency } = quoted;
  await db.query(
    `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
       account_sealed, terms, quoted_at, quote_expires_at, day, card, state)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'quoted')`,
    [
      ...[exchange, program, member, partner, direction, currency],
      ...[quoted.ownPoints, quoted.partnerCurrency, quoted.partnerPoints],
      ...[sealing.encrypt(program, member, quoted.account), JSON.stringify(quoted.terms)],
      ...[quoted.quotedAt, quoted.quoteExpiresAt, quoted.day, quoted.card ?? null],
    ],
  );
}

export interface Begin {
  readonly quoted: Quoted;
  /** Nobody has asked for the quote before, so there is no row of it. */
  readonly isNew: boolean;
  readonly asked: Asked;
  readonly day: string;
  readonly occurredAt: EpochMs;
  /** When somebody else goes on with it. */
  readonly leaseMs: number;
  /** A limit wants a person to look first. */
  readonly isReviewed: boolean;
  /** Limits that were reached. */
  readonly reasons: readonly Reason[];
}

/** How an exchange stands that has just been begun. */
export function begunOf({ quoted, asked, day, occurredAt, isReviewed }: Begin): Exchange {
  const first: State = quoted.direction === 'out' ? 'holding' : 'ready';
  return {
    ...quoted,
    ...{ asked, day, occurredAt, createdAt: Date.now() },
    state: isReviewed ? 'in_review' : first,
    reviewOf: isReviewed ? first : undefined,
    refusal: undefined,
    ...{ isInDoubt: false, tries: 0, wasSent: false, checks: 0 },
    ...{ hold: undefined, moved: undefined, partnerOperation: undefined },
  };
}

function rowOf(sealing: Sealing, begin: Begin) {
  const { quoted, asked, leaseMs, isNew, reasons } = begin;
  const { state, reviewOf, day, occurredAt } = begunOf(begin);
  const { exchange, program, member } = quoted;
  const { terms } = quoted;
  const named = {
    exchange,
    from: 'quoted' satisfies State,
    state,
    review_of: reviewOf ?? null,
    day,
    occurred_at: occurredAt,
    terms,
  };
  const begun = {
    ...{ client: asked.client, reference_key: asked.referenceKey, fingerprint: asked.fingerprint },
    ...{
      request: asked.request,
      due_ms: reviewOf ? null : leaseMs,
      outcome: reviewOf ? 'in_review' : 'begun',
      detail: reasons.length === 0 ? null : { reasons: reasonsShown(reasons) },
    },
  };
  if (!isNew) return { ...named, ...begun };
  return {
    ...{ ...named, ...begun, program, member },
    ...{ partner: quoted.partner, direction: quoted.direction, currency: quoted.currency },
    ...{ own_points: quoted.ownPoints, partner_currency: quoted.partnerCurrency },
    ...{ partner_points: quoted.partnerPoints },
    account: sealing.encrypt(program, member, quoted.account).toString('base64'),
    ...{ quoted_at: quoted.quotedAt, quote_expires_at: quoted.quoteExpiresAt },
  };
}

const begunColumns = `exchange uuid, "from" text, state text, review_of text, day date, occurred_at bigint, client integer, reference_key uuid,
  fingerprint text, request json, due_ms float8, outcome text, detail json, terms json`;
const noteBegun = `insert into exchange_step (exchange, ended_at, action, outcome, detail)
  select exchange, clock_timestamp(), 'begin', outcome, detail from begun`;

const beginNewQuery = `
  with given as (
    select * from json_to_recordset($1) as g (${begunColumns}, program integer, member bigint, partner integer, direction text,
      currency smallint, own_points bigint, partner_currency text, partner_points bigint, account text,
      quoted_at bigint, quote_expires_at bigint)
  ), made as (
    insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
      account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, client, reference_key, fingerprint, request, state,
      review_of, due_at)
    select exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
      decode(account, 'base64'), terms, quoted_at, quote_expires_at, day, occurred_at, client, reference_key, fingerprint, request,
      state, review_of, now() + due_ms * interval '1 millisecond'
    from given returning exchange
  ), begun as (select exchange, outcome, detail from made join given using (exchange))
  ${noteBegun}`;

const beginQuotedQuery = `
  with given as (select * from json_to_recordset($1) as g (${begunColumns})), begun as (
    update exchange e set state = g.state, review_of = g.review_of, client = g.client, reference_key = g.reference_key,
      fingerprint = g.fingerprint, request = g.request, day = g.day, occurred_at = g.occurred_at, terms = g.terms, card = null,
      due_at = now() + g.due_ms * interval '1 millisecond', changed_at = now(), created_at = now()
    from given g where e.exchange = g.exchange and e.state = g."from" returning e.exchange, g.outcome, g.detail)
  ${noteBegun}`;

/** Begins exchanges; answers how many of them. A quote that was begun before is not, and a reference that is used is an error. */
export async function beginExchanges(
  tx: Queryable,
  sealing: Sealing,
  begins: readonly Begin[],
): Promise<number> {
  let count = 0;
  for (const [isNew, name, text] of [
    [true, 'exchanges-begin-new', beginNewQuery],
    [false, 'exchanges-begin-quoted', beginQuotedQuery],
  ] as const) {
    const rows = begins.filter((begin) => begin.isNew === isNew).map((begin) => rowOf(sealing, begin));
    if (rows.length === 0) continue;
    const { rowCount } = await tx.query({ name, text, values: [JSON.stringify(rows)] });
    count += rowCount ?? 0;
  }
  return count;
}

/** Quotes that ended a day ago and were never used. */
export async function forgetQuotes(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `delete from exchange where exchange in (
       select exchange from exchange where reference_key is null and created_at < now() - interval '2 days' order by created_at limit $1)`,
    [limit],
  );
  return rowCount ?? 0;
}
