/**
 * Asks partners once more about what they have refused or what was given up: a success that comes late is a break. The times are
 * in `policy.ts`; one of them lies behind the life of a signature, when nothing that was sent can arrive any more.
 */
import { hexOf } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import { recordBreak } from './breaks.ts';
import type { ExchangeContext } from './context.ts';
import { readExchange } from './rows.ts';
import { type Exchange, partnerKind, partnerReference } from './types.ts';

/** A partner that cannot be asked is asked again so soon. */
const againMs = 600_000;

const isGivenUp = `state in ('refused', 'reversed')`;

/** Of what the partner could not be asked about for days a person hears. */
async function giveUp(context: ExchangeContext, limit: number): Promise<void> {
  const { pool, patience } = context;
  const { rows } = await pool.query<Pick<Exchange, 'exchange' | 'partner' | 'state'>>(
    `update exchange e set check_at = null from (
       select exchange from exchange where check_at <= now() and ${isGivenUp} and changed_at < now() - $2 * interval '1 millisecond'
       order by check_at limit $1 for update skip locked) w
     where e.exchange = w.exchange returning ${hexOf('e.exchange')} as exchange, partner, state`,
    [limit, patience.checkMsMax],
  );
  for (const each of rows) await recordBreak(context, each, 'unasked', {});
}

async function claim({ pool }: ExchangeContext, limit: number): Promise<OperationHex[]> {
  const { rows } = await pool.query<{ exchange: OperationHex }>(
    `update exchange set check_at = now() + interval '1 minute'
     where exchange in (
       select exchange from exchange where check_at <= now() and ${isGivenUp} order by check_at limit $1 for update skip locked)
     returning ${hexOf('exchange')} as exchange`,
    [limit],
  );
  return rows.map(({ exchange }) => exchange);
}

async function check(context: ExchangeContext, exchange: Exchange): Promise<void> {
  const { pool, calls, endpoints, patience } = context;
  const endpoint = await endpoints.of(exchange.partner);
  const slot = endpoint && calls.take(endpoint);
  let isAsked = false;
  if (slot && !('waitMs' in slot)) {
    try {
      const answer = await slot.inquire(partnerKind(exchange), partnerReference(exchange.exchange));
      isAsked = answer.outcome !== 'unknown';
      if (answer.outcome === 'found' && answer.reply.status === 'succeeded') {
        const { points, reversed = 0, id } = answer.reply;
        if (points > reversed) await recordBreak(context, exchange, 'late_success', { points, reversed, id });
      }
    } finally {
      slot.leave();
    }
  }
  const checks = isAsked ? exchange.checks + 1 : exchange.checks;
  const nextMs = isAsked ? patience.checksMs[checks] : againMs;
  // A partner that takes files answers no question; what it says late comes in a file.
  const isOver = nextMs === undefined || endpoint?.delivery === 'files';
  await pool.query(
    `update exchange set checks = $2, check_at = case when $3::float8 is null then null else now() + $3 * interval '1 millisecond' end where exchange = $1`,
    [exchange.exchange, checks, isOver ? null : nextMs],
  );
}

/** Checks what is due, at most so many; answers how many. */
export async function checkEnded(context: ExchangeContext, limit: number): Promise<number> {
  await giveUp(context, limit);
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
