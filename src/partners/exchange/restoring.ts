/**
 * Exchanges that PostgreSQL has lost. Where it was restored to an older state the journal brings the holds back that came after
 * it, and not the rows of the exchanges that they are for: nobody would ever capture or release them. The rows are made again of
 * what the holds say, once: the partner is asked, and what it knows goes on as ever; everything else waits for a person, because
 * whether it was refused, cancelled or never sent stood only in the row.
 *
 * A hold is written after its exchange was committed, so one without an exchange is no exchange that is just being made. Points that
 * were to come in leave nothing here before they are credited; what the partner has taken for them is found by comparing the books.
 */
import { hexOf } from '#src/platform/postgres.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { ExchangeContext } from './context.ts';
import { type Restorable, restorable } from './restorable.ts';
import { exchangeId, parseExchangeId, partnerReference } from './types.ts';

interface LostRow {
  readonly hold: OperationHex;
  readonly member: MemberNumber;
  readonly program: number;
  readonly body: { readonly exchange: string; readonly partner: number; readonly restore?: unknown };
  readonly currency: number;
  readonly points: number;
}

/** When holds without an end end (`member.lua`): the end of 9999. Those of exchanges are such. */
const noEnd = 253_402_300_799_999;

const lostQuery = `
  select ${hexOf('h.hold')} as hold, h.member, o.program, o.request -> 'body' as body, e.currency, e.points
  from hold h
    cross join lateral (
      select program, request from operation where operation = h.hold and kind = 'hold' and client = 0 offset 0) o
    cross join lateral (
      select currency, sum(points)::bigint as points from entry
      where operation = h.hold and account = 'held' and points > 0 group by currency limit 1) e
  where h.status = 'held' and h.expires_at >= ${noEnd} and o.request -> 'body' ->> 'exchange' like 'exc\\_%'
    and not exists (
      select from exchange x where x.exchange = substr(o.request -> 'body' ->> 'exchange', 5)::uuid and x.state <> 'quoted')
  limit $1`;

type Outcome = 'goes_on' | 'in_review' | 'impossible';

/** Whether the partner knows what the exchange was to do there. */
async function isKnownThere(
  { endpoints, calls }: ExchangeContext,
  partner: number,
  exchange: OperationHex,
): Promise<boolean> {
  const endpoint = await endpoints.of(partner);
  const slot = endpoint && calls.take(endpoint);
  if (!slot || 'waitMs' in slot) return false;
  try {
    return (await slot.inquire('accrual', partnerReference(exchange))).outcome === 'found';
  } finally {
    slot.leave();
  }
}

/** Of the caller's reference, unless another exchange was made with it since. */
const keyOf =
  'case when exists (select from exchange where reference_key = $19) then $20::uuid else $19::uuid end';

const restoreQuery = `
  with made as (
    insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
      account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, client, fingerprint, request, reference_key, state, review_of,
      in_doubt, tries, hold, sent_at, due_at)
    values ($1, $2, $3, $4, 'out', $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14, $15, '{}', ${keyOf}, $16, $17, true, 1, $18,
      now(), case when $17::text is null then now() end)
    on conflict (exchange) do update set state = excluded.state, review_of = excluded.review_of, client = excluded.client,
      reference_key = excluded.reference_key, fingerprint = excluded.fingerprint, request = excluded.request, day = excluded.day, terms = excluded.terms,
      occurred_at = excluded.occurred_at, in_doubt = true, tries = 1, hold = excluded.hold, sent_at = now(),
      due_at = excluded.due_at, changed_at = now(), created_at = now()
    where exchange.state = 'quoted' returning exchange)
  insert into exchange_step (exchange, ended_at, action, outcome) select exchange, clock_timestamp(), 'begin', 'restored' from made`;

async function restore(
  context: ExchangeContext,
  row: LostRow,
  exchange: OperationHex,
  kept: Restorable,
): Promise<Outcome> {
  const { pool, identity, partners, gathered } = context;
  const { program, member, hold, body } = row;
  const partner = await partners.numbered(body.partner);
  const links = await gathered.links({ program, member });
  const account = links.find(({ client }) => client === partner?.client)?.account ?? '';
  const isKnown = account !== '' && (await isKnownThere(context, body.partner, exchange));
  const outcome = isKnown ? 'goes_on' : 'in_review';
  await pool.query(restoreQuery, [
    ...[exchange, program, member, body.partner, row.currency, row.points],
    ...[kept.partnerCurrency, kept.partnerPoints, identity.encrypt(program, member, account)],
    ...[JSON.stringify(kept.terms), kept.quotedAt, kept.day, kept.occurredAt, kept.client, kept.fingerprint],
    // What the partner knows is inquired again and goes on from there.
    ...[isKnown ? 'waiting' : 'in_review', isKnown ? null : 'calling', hold, kept.referenceKey],
    referenceKeyOf(program, 0, 'exchange', `restored/${exchange}`),
  ]);
  return outcome;
}

/** Finds holds whose exchange is lost, and makes it again; answers how many were found. */
export async function restoreLost(context: ExchangeContext, limit: number): Promise<number> {
  const { log, metrics } = context.telemetry;
  const { rows } = await context.pool.query<LostRow>(lostQuery, [limit]);
  for (const row of rows) {
    const exchange = parseExchangeId(row.body.exchange);
    const { data: kept } = restorable.safeParse(row.body.restore);
    const outcome = exchange && kept ? await restore(context, row, exchange, kept) : 'impossible';
    metrics.exchangesRestored.inc({ outcome });
    const found = { exchange: exchange && exchangeId(exchange), hold: row.hold, member: row.member, outcome };
    log.error(found, 'points are held for an exchange that PostgreSQL does not know');
  }
  return rows.length;
}
