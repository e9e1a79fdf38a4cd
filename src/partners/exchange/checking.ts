/**
 * Asks partners once more about what they have refused or what was given up: a success that comes late is a break. The times are
 * in `policy.ts`; one of them lies behind the life of a signature, when nothing that was sent can arrive any more.
 */
import { hexOf } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import { noting, recordBreak, reportBreak } from './breaks.ts';
import type { ExchangeContext } from './context.ts';
import type { Endpoint } from './endpoints.ts';
import { readExchange } from './rows.ts';
import { type Exchange, partnerKind, partnerReference } from './types.ts';

/** A partner that was not asked, or has not answered, is asked again so soon. */
const againMs = 600_000;

const cameToNothing = `state in ('refused', 'reversed')`;

async function claim({ pool }: ExchangeContext, limit: number): Promise<OperationHex[]> {
  const { rows } = await pool.query<{ exchange: OperationHex }>(
    `update exchange set check_at = now() + interval '1 minute'
     where exchange in (
       select exchange from exchange where check_at <= now() and ${cameToNothing} order by check_at limit $1 for update skip locked)
     returning ${hexOf('exchange')} as exchange`,
    [limit],
  );
  return rows.map(({ exchange }) => exchange);
}

/** `not_asked`: the partner is left alone, or has enough to do with others, which says nothing of this exchange. */
type Asking = 'answered' | 'unanswered' | 'not_asked';

async function ask(
  context: ExchangeContext,
  exchange: Exchange,
  endpoint: Endpoint | undefined,
): Promise<Asking> {
  // Where nobody has said where it is called, it cannot answer.
  if (!endpoint) return 'unanswered';
  const slot = context.calls.take(endpoint);
  if ('waitMs' in slot) return 'not_asked';
  try {
    const answer = await slot.inquire(partnerKind(exchange), partnerReference(exchange.exchange));
    if (answer.outcome === 'found' && answer.reply.status === 'succeeded') {
      const { points, reversed = 0, id } = answer.reply;
      if (points > reversed) await recordBreak(context, exchange, 'late_success', { points, reversed, id });
    }
    return answer.outcome === 'unknown' ? 'unanswered' : 'answered';
  } finally {
    slot.leave();
  }
}

/** Of what a partner has not answered for days a person hears: in the commit that asks no more, or it would be forgotten. */
const checkedQuery = `
  with checked as (
    update exchange set checks = $2, check_at = case when $4::boolean and changed_at < now() - $5 * interval '1 millisecond' then null
      else now() + $3::float8 * interval '1 millisecond' end
    where exchange = $1 returning exchange, state, $4 and check_at is null as is_given_up)
  ${noting(`select exchange, 'unasked', json_build_object('state', state) from checked where is_given_up`)}`;

async function check(context: ExchangeContext, exchange: Exchange): Promise<void> {
  const { pool, endpoints, patience } = context;
  const endpoint = await endpoints.of(exchange.partner);
  const asking = await ask(context, exchange, endpoint);
  const isAsked = asking === 'answered';
  const checks = isAsked ? exchange.checks + 1 : exchange.checks;
  const nextMs = isAsked ? patience.checksMs[checks] : againMs;
  // A partner that takes files answers no question; what it says late comes in a file.
  const dueMs = endpoint?.delivery === 'files' ? null : (nextMs ?? null);
  const isUnanswered = asking === 'unanswered';
  const values = [exchange.exchange, checks, dueMs, isUnanswered, patience.checkMsMax];
  const { rowCount } = await pool.query(checkedQuery, values);
  if (rowCount === 1) reportBreak(context, exchange, 'unasked', {});
}

/** Checks what is due, at most so many; answers how many. */
export async function checkEnded(context: ExchangeContext, limit: number): Promise<number> {
  const due = await claim(context, limit);
  const results = await Promise.allSettled(
    due.map(async (id) => {
      const exchange = await readExchange(context.pool, context.identity, id);
      if (exchange) await check(context, exchange);
    }),
  );
  for (const result of results)
    if (result.status === 'rejected')
      context.telemetry.log.warn({ err: result.reason }, 'an exchange cannot be checked at the moment');
  return due.length;
}
