/** What became of a partner's movement: read from the ledger, so the answer is for good, also that there is none. */
import type pg from 'pg';
import type { z } from 'zod';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import type { operationQuery } from '#src/partners/protocol/schemas.ts';
import type { OperationHex } from '#src/values.ts';
import { type InboundContext, partnerOf } from './context.ts';
import { movementView } from './movements.ts';
import { ownMovement } from './reversals.ts';

/** Points of an original that have been taken back, as the books have it. */
async function reversedOf(pool: pg.Pool, operation: OperationHex): Promise<number> {
  const found = await pool.query<{ points: number }>(
    `select coalesce(sum((part ->> 1)::bigint), 0)::float8 as points
     from consequence c cross join lateral (select request from operation o where o.operation = c.operation offset 0) o
       cross join json_array_elements(coalesce(o.request -> 'undone', '[]')) undone
       cross join json_array_elements(undone -> 2) part
     where c.origin = $1 and undone ->> 0 = $2`,
    [operation, operation],
  );
  return found.rows[0]?.points ?? 0;
}

/** `GET /v1/partner/operations?kind=&reference=` */
export async function inquire(
  context: InboundContext,
  call: Call<unknown, z.output<typeof operationQuery>>,
): Promise<Reply> {
  const { caller, query } = call;
  await partnerOf(context, caller);
  const recorded = await ownMovement(context, caller, query.kind, query.reference);
  if (!recorded) throw new Problem('not_found', 'The reference was never used.');
  const view = movementView(recorded, 'ledger');
  const hasReversals = query.kind !== 'reversal' && view.status === 'succeeded';
  const reversed = hasReversals ? { reversed: await reversedOf(context.pool, recorded.operation) } : {};
  return { status: 200, body: { ...view, ...reversed } };
}
