/** The operations of an order, for whatever judges its receipts together. */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import { hexOf } from '#src/platform/postgres.ts';
import type { MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import type { Operations, Recorded } from './operations.ts';
import { allBarriers } from './originals.ts';

/** Of an order with more a part would be judged as if it were the whole. */
export const operationsOfOrderMax = 200;
const barrierMs = 1_000;

/** Where orders are looked up, and their operations. */
export interface OrdersContext {
  readonly pool: pg.Pool;
  readonly operations: Operations;
}

/** Whose operations are asked for; without a member everybody's. */
interface Asked {
  readonly program: number;
  readonly order: string;
  readonly member?: MemberNumber;
}

/** Epoch and sequence of the last record of a shard that the books had. */
export type ReadThrough = readonly [epoch: number, seq: number];

/** Operations of an order, and what of their member's shard was read for it. */
export interface OrderRead {
  readonly found: Recorded[];
  readonly read: ReadThrough | undefined;
  /** False where the order has more than are judged together: nothing may be decided on it (`checkWhole`). */
  readonly isWhole: boolean;
}

/** The refusal of what was decided on an order to which its member has added since. */
class OrderGrew extends Problem {
  constructor() {
    super('reference_in_progress', 'the member changes faster than its order can be judged; repeat it');
  }
}

/** For `Movement.refused`. */
export function grownOrder(code: string): Problem | undefined {
  return code === 'stale_order' ? new OrderGrew() : undefined;
}

const attemptsMax = 5;

/** Reads and judges an order again where it grew meanwhile. */
export async function onWholeOrder<T>(judged: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await judged();
    } catch (error) {
      if (!(error instanceof OrderGrew) || attempt === attemptsMax) throw error;
    }
  }
}

/** What a shard's books have now; asked for before what is read of them. */
async function readThrough({ pool, operations }: OrdersContext, member: MemberNumber): Promise<ReadThrough> {
  const { rows } = await pool.query<{ epoch: number; seq: number }>(
    'select epoch, seq from position where shard = $1',
    [operations.wallet.shardOf(member)],
  );
  return [rows[0]!.epoch, rows[0]!.seq];
}

/** The oldest of them, one more than are judged together. */
async function inBooks(
  { pool, operations }: OrdersContext,
  { program, order, member }: Asked,
  kinds: readonly OperationKind[],
): Promise<Recorded[]> {
  const result = await pool.query<{ operation: OperationHex }>(
    `select ${hexOf('operation')} as operation from operation
     where program = $1 and order_reference = $2 and kind = any($3) ${member === undefined ? '' : 'and member = $5'}
     order by at, operation limit $4`,
    [program, order, kinds, operationsOfOrderMax + 1, ...(member === undefined ? [] : [member])],
  );
  return operations.inBooks(result.rows.map((row) => row.operation));
}

async function barrier({ wallet }: Operations, member: MemberNumber): Promise<void> {
  if ((await wallet.readBarrier(wallet.shardOf(member), barrierMs)) === 'timeout')
    throw new Problem('not_ready', 'the books are behind; ask again');
}

/** Refuses to decide on an order of which not everything was read. A repeat of what was decided before is answered all the same. */
export function checkWhole({ isWhole }: Pick<OrderRead, 'isWhole'>): void {
  if (isWhole) return;
  const detail = `the order has more than ${operationsOfOrderMax} movements of its member`;
  throw new Problem('order_too_large', detail);
}

/** The original, then everything else of its order that is its member's, oldest first. */
export async function sameOrder(
  context: OrdersContext,
  original: Recorded,
  kinds: readonly OperationKind[],
): Promise<OrderRead> {
  if (original.order === '') return { found: [original], read: undefined, isWhole: true };
  await barrier(context.operations, original.member);
  const read = await readThrough(context, original.member);
  const found = await inBooks(context, original, kinds);
  const others = found.filter(({ operation }) => operation !== original.operation);
  return { found: [original, ...others], read, isWhole: found.length <= operationsOfOrderMax };
}

/**
 * Everything of an order, complete for the members that it names, as far as it is whole; an unknown order is
 * looked for in all journals.
 */
export async function operationsOfOrder(
  context: OrdersContext,
  program: number,
  order: string,
  kinds: readonly OperationKind[],
): Promise<OrderRead> {
  const { operations } = context;
  let before = await inBooks(context, { program, order }, kinds);
  if (before.length === 0) {
    await allBarriers(operations, barrierMs);
    before = await inBooks(context, { program, order }, kinds);
  }
  const ofShards = new Map(before.map(({ member }) => [operations.wallet.shardOf(member), member]));
  for (const member of ofShards.values()) await barrier(operations, member);
  const owner = before[0]?.member;
  const read = owner === undefined ? undefined : await readThrough(context, owner);
  const found = await inBooks(context, { program, order }, kinds);
  return { found, read, isWhole: found.length <= operationsOfOrderMax };
}
