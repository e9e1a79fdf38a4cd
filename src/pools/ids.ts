/** PURE. Names of pools and of movements over their members. */
import type { OperationHex } from '#src/values.ts';

/** Internal number of a pool. */
export type PoolNumber = number & { readonly brand: 'PoolNumber' };

export function poolId(pool: PoolNumber): string {
  return `pool_${pool.toString(36).padStart(8, '0')}`;
}

/** The number behind a `pool_` id; undefined where it is none. */
export function parsePoolId(id: string): PoolNumber | undefined {
  const digits = /^pool_([0-9a-z]{8,11})$/.exec(id)?.[1];
  const number = digits === undefined ? 0 : Number.parseInt(digits, 36);
  return Number.isSafeInteger(number) && number > 0 ? (number as PoolNumber) : undefined;
}

/** Prefixes of what moves points of a pool: a hold, a redemption, a refund of one. A redemption has the digits of its hold. */
export type PoolMovement = 'phd' | 'prd' | 'prf';

export function poolMovementId(prefix: PoolMovement, movement: OperationHex): string {
  return `${prefix}_${movement}`;
}

export function parsePoolMovementId(prefix: PoolMovement, id: string): OperationHex | undefined {
  const hex = /^[a-z]{3}_([0-9a-f]{32})$/.exec(id)?.[1];
  return hex !== undefined && id.startsWith(prefix) ? (hex as OperationHex) : undefined;
}
