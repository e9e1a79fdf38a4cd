/** Months of the ledger that were moved to the archive (`ledger/archive.ts`): what callers are told of operations in them. */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import { type OperationHex, timeOfOperation } from '#src/values.ts';
import { requestQuery } from './limits.ts';

/**
 * Says definitely that an operation, which the books do not have, was made in a month that is archived by now. Whether there
 * was one of that id is not looked up: the month's rows may have left the database.
 */
export async function refuseArchived(pool: Pick<pg.Pool, 'query'>, operation: OperationHex): Promise<void> {
  const { rows } = await pool.query<{ archived: boolean }>({
    ...requestQuery,
    name: 'archived',
    text: 'select archived_below() > $1::uuid as archived',
    values: [operation],
  });
  if (!rows[0]?.archived) return;
  const madeAt = new Date(timeOfOperation(operation)).toISOString();
  throw new Problem('operation_archived', `operations made at ${madeAt} are in the archive`, { madeAt });
}

/** Since when operations are in the ledger; undefined while nothing was archived. */
export async function ledgerBegins(connection: Pick<pg.Pool, 'query'>): Promise<Date | undefined> {
  const { rows } = await connection.query<{ begins: Date }>(
    'select to_timestamp(id_ms(end_id) / 1000.0) as begins from archived_month order by end_id desc limit 1',
  );
  return rows[0]?.begins;
}
