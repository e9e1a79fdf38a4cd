/** What both sides say differently: written down and alarmed, and nothing is moved by it. A person settles it with the partner. */
import type pg from 'pg';
import type { OperationHex } from '#src/values.ts';
import type { ExchangeContext } from './context.ts';
import { type Exchange, exchangeId } from './types.ts';

/** `unasked`: the partner was to be asked once more, and has not answered for days. */
export type BreakKind = 'late_success' | 'late_refusal' | 'reply_differs' | 'unasked';

/**
 * Writes breaks down that a query has found as `exchange, kind, detail`, once for each exchange and kind. An answer that differs again after
 * a person has closed the break opens it again: nothing has become of what was decided.
 */
export const noting = (found: string) => `
  insert into exchange_break (exchange, kind, detail) ${found}
  on conflict (exchange, kind) do update set found_at = now(), detail = excluded.detail, resolved_at = null, resolution = null, told = false
    where exchange_break.kind = 'reply_differs' and exchange_break.resolved_at is not null
  returning exchange`;

/** Writes a break down; false where it stands there. */
export async function noteBreak(
  db: Pick<pg.Pool, 'query'>,
  { exchange, state }: Pick<Exchange, 'exchange' | 'state'>,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): Promise<boolean> {
  const { rowCount } = await db.query(noting('values ($1::uuid, $2::text, $3::json)'), [
    exchange,
    kind,
    JSON.stringify({ ...detail, state }),
  ]);
  return rowCount === 1;
}

type Broken = Pick<Exchange, 'exchange' | 'partner' | 'state'>;

/** Counts a break that was written down, and logs it. */
export function reportBreak(
  { telemetry }: Pick<ExchangeContext, 'telemetry'>,
  { exchange, partner, state }: Broken,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): void {
  const { log, metrics } = telemetry;
  metrics.exchangeBreaks.inc({ kind });
  log.error({ exchange: exchangeId(exchange), partner, kind, detail, state }, 'an exchange does not fit');
}

/** Writes a break down, counts it and logs it. */
export async function recordBreak(
  context: Pick<ExchangeContext, 'pool' | 'telemetry'>,
  exchange: Broken,
  kind: BreakKind,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (await noteBreak(context.pool, exchange, kind, detail)) reportBreak(context, exchange, kind, detail);
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
