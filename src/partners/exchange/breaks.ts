/** What both sides say differently: written down and alarmed, and nothing is moved by it. A person settles it with the partner. */
import type pg from 'pg';
import type { OperationHex } from '#src/values.ts';
import type { ExchangeContext } from './context.ts';
import { type Exchange, exchangeId } from './types.ts';

/** `unasked`: the partner was to be asked once more, and never could be. */
export type BreakKind = 'late_success' | 'late_refusal' | 'reply_differs' | 'unasked';

/**
 * Writes a break down, once for each exchange and kind; false where it stands there. An answer that differs again after a person has
 * closed the break opens it again: nothing has become of what was decided.
 */
export async function noteBreak(
  db: Pick<pg.Pool, 'query'>,
  { exchange, state }: Pick<Exchange, 'exchange' | 'state'>,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into exchange_break (exchange, kind, detail) values ($1, $2, $3)
     on conflict (exchange, kind) do update set found_at = now(), detail = excluded.detail, resolved_at = null, resolution = null, told = false
     where exchange_break.kind = 'reply_differs' and exchange_break.resolved_at is not null`,
    [exchange, kind, JSON.stringify({ ...detail, state })],
  );
  return rowCount === 1;
}

/** Writes a break down, counts it and logs it. */
export async function recordBreak(
  { pool, telemetry }: Pick<ExchangeContext, 'pool' | 'telemetry'>,
  exchange: Pick<Exchange, 'exchange' | 'partner' | 'state'>,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (!(await noteBreak(pool, exchange, kind, detail))) return;
  const { log, metrics } = telemetry;
  metrics.exchangeBreaks.inc({ kind });
  const { exchange: id, partner, state } = exchange;
  log.error({ exchange: exchangeId(id), partner, kind, detail, state }, 'an exchange does not fit');
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
