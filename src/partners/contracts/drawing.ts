/** What a movement of a prepaid partner draws before its points are given, where an empty block can still refuse it. */
import type pg from 'pg';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { drawPoints, undoDraw } from './prepaid.ts';
import type { Contract } from './types.ts';

export type DrawingKind = 'accrual' | 'exchange_in' | 'correction';

/** The name that a movement draws under: it draws once, however often it is tried. */
export function drawName(kind: DrawingKind, reference: string): string {
  return `${kind}/${reference}`;
}

export interface Drawing {
  readonly partner: number;
  readonly contract: Pick<Contract, 'billing'>;
  readonly kind: DrawingKind;
  readonly reference: string;
  readonly points: number;
  readonly at: EpochMs;
}

/** Draws where the contract is prepaid. False: the blocks do not have so much, and nothing was drawn. */
export async function drawIn(tx: pg.PoolClient, drawing: Drawing): Promise<boolean> {
  const { partner, contract, kind, reference, points, at } = drawing;
  const { billing } = contract;
  if (billing.kind !== 'prepaid') return true;
  const drawn = await drawPoints(tx, { partner, movement: drawName(kind, reference), points, at, billing });
  return drawn.status !== 'refused';
}

/** The same in a database transaction of its own. */
export async function drawBefore(pool: pg.Pool, drawing: Drawing): Promise<boolean> {
  return drawing.contract.billing.kind !== 'prepaid' || inTransaction(pool, (tx) => drawIn(tx, drawing));
}

/** Gives back what was drawn for a movement that certainly came to nothing; again changes nothing. */
export async function giveBackDraw(
  pool: pg.Pool,
  { partner, kind, reference }: Pick<Drawing, 'partner' | 'kind' | 'reference'>,
): Promise<void> {
  const movement = drawName(kind, reference);
  const { rowCount } = await pool.query(
    'select from partner_draw where partner = $1 and movement = $2 and cleared_at is null limit 1',
    [partner, movement],
  );
  if (rowCount === 1) await inTransaction(pool, (tx) => undoDraw(tx, partner, movement));
}
