/** What a movement of a prepaid partner draws before its points are given, where an empty block can still refuse it. */
import type pg from 'pg';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { drawPoints } from './prepaid.ts';
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
export async function drawBefore(pool: pg.Pool, drawing: Drawing): Promise<boolean> {
  const { partner, contract, kind, reference, points, at } = drawing;
  const { billing } = contract;
  if (billing.kind !== 'prepaid') return true;
  const ask = { partner, movement: drawName(kind, reference), points, at, billing };
  const drawn = await inTransaction(pool, (tx) => drawPoints(tx, ask));
  return drawn.status !== 'refused';
}
