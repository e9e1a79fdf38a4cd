/** The operations of an order, for whatever judges its receipts together. */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { OperationHex, OperationKind } from '#src/values.ts';
import type { Operations, Recorded } from './operations.ts';
import { allBarriers } from './originals.ts';

const operationsOfOrderMax = 200;
const barrierMs = 1_000;

/** Where orders are looked up, and their operations. */
export interface OrdersContext {
  readonly pool: pg.Pool;
  readonly operations: Operations;
}

async function inBooks(
  { pool, operations }: OrdersContext,
  program: number,
  order: string,
  kinds: readonly OperationKind[],
): Promise<Recorded[]> {
  const result = await pool.query<{ operation: OperationHex }>(
    `select replace(operation::text, '-', '') as operation from operation
     where program = $1 and order_reference = $2 and kind = any($3) order by at, operation limit $4`,
    [program, order, kinds, operationsOfOrderMax],
  );
  return operations.inBooks(result.rows.map((row) => row.operation));
}

/** Everything of an order, complete for the members that it names; an unknown order is looked for in all journals. */
export async function operationsOfOrder(
  context: OrdersContext,
  program: number,
  order: string,
  kinds: readonly OperationKind[],
): Promise<Recorded[]> {
  const { operations } = context;
  const found = await inBooks(context, program, order, kinds);
  if (found.length === 0) await allBarriers(operations, barrierMs);
  for (const shard of new Set(found.map(({ member }) => operations.wallet.shardOf(member)))) {
    if ((await operations.wallet.readBarrier(shard, barrierMs)) === 'timeout') {
      throw new Problem('not_ready', 'the books are behind; ask again');
    }
  }
  return inBooks(context, program, order, kinds);
}
