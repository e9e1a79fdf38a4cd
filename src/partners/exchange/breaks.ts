/** What both sides say differently: written down and alarmed, and nothing is moved by it. A person settles it with the partner. */
import type pg from 'pg';
import type { OperationHex } from '#src/values.ts';
import type { ExchangeContext } from './context.ts';
import { type Exchange, exchangeId } from './types.ts';

export type BreakKind = 'late_success' | 'late_refusal' | 'reply_differs';

/** Records a break once for each exchange and kind. */
export async function recordBreak(
  { pool, telemetry }: Pick<ExchangeContext, 'pool' | 'telemetry'>,
  { exchange, partner, state }: Pick<Exchange, 'exchange' | 'partner' | 'state'>,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { rowCount } = await pool.query(
    'insert into exchange_break (exchange, kind, detail) values ($1, $2, $3) on conflict do nothing',
    [exchange, kind, JSON.stringify({ ...detail, state })],
  );
  if (rowCount !== 1) return;
  const { log, metrics } = telemetry;
  metrics.exchangeBreaks.inc({ kind });
  log.error({ exchange: exchangeId(exchange), partner, kind, detail, state }, 'an exchange does not fit');
}

/** Closes a break that a person has settled; false where there is none open. */
export async function resolveBreak(
  db: Pick<pg.Pool, 'query'>,
  exchange: OperationHex,
  resolution: string,
): Promise<boolean> {
  const { rowCount } = await db.query(
    'update exchange_break set resolved_at = now(), resolution = $2 where exchange = $1 and resolved_at is null',
    [exchange, resolution],
  );
  return (rowCount ?? 0) > 0;
}
