/** The rows of refunds that returns of orders ask for, until they are refunds like any other. */
import type pg from 'pg';
import { hexOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, OperationHex } from '#src/values.ts';
import type { Price } from './plan.ts';

/** A refund of a redemption for a return, which is known by the key of its reference. */
export interface OrderRefund {
  readonly refund: OperationHex;
  readonly redemption: OperationHex;
  readonly client: number;
  /** Of this redemption and this return. */
  readonly referenceKey: string;
  readonly returnKey: string;
  readonly madeAt: EpochMs;
}

/**
 * Takes the turn for a return, or joins another request of the same one; answers the refund's row. Undefined: another refund of the
 * redemption is under way.
 */
export function takeTurn(pool: pg.Pool, wanted: OrderRefund): Promise<OperationHex | undefined> {
  return inTransaction(pool, async (tx) => {
    const { refund, redemption, client, referenceKey, returnKey, madeAt } = wanted;
    const inserted = await tx.query(
      `insert into pool_refund (refund, redemption, client, reference_key, fingerprint, request, wanted, made_at, state, attempts)
       values ($1, $2, $3, $4, $5, $6, '[]', $7, 'waiting', 1) on conflict do nothing`,
      [refund, redemption, client, referenceKey, returnKey, JSON.stringify({ return: returnKey }), madeAt],
    );
    if (inserted.rowCount === 1) return refund;
    const { rows } = await tx.query<{ refund: OperationHex }>(
      `update pool_refund set attempts = attempts + 1, changed_at = case when state = 'waiting' then now() else changed_at end
       where reference_key = $1 returning ${hexOf('refund')} as refund`,
      [referenceKey],
    );
    return rows[0]?.refund;
  });
}

/** A request of a return was refused: its refunds are given up where no other request of it is at work. */
export function leaveTurns(pool: pg.Pool, refunds: readonly OperationHex[]): Promise<void> {
  return inTransaction(pool, async (tx) => {
    const mine = `refund = any($1::uuid[]) and state = 'waiting'`;
    await tx.query(`update pool_refund set attempts = attempts - 1 where ${mine}`, [refunds]);
    await tx.query(`delete from pool_refund where ${mine} and attempts <= 0`, [refunds]);
  });
}

/** The return is decided: what comes back of the redemption is what its refund wants. Once, whoever says so; answers the refund. */
export async function decideRefund(
  db: Queryable,
  decided: OrderRefund,
  wanted: Price,
): Promise<OperationHex> {
  const { refund, redemption, client, referenceKey, returnKey, madeAt } = decided;
  await db.query(
    `insert into pool_refund (refund, redemption, client, reference_key, fingerprint, request, wanted, made_at, state)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'refunding')
     on conflict (reference_key) do update set state = 'refunding', wanted = excluded.wanted, changed_at = now()
       where pool_refund.state = 'waiting'`,
    [
      ...[refund, redemption, client, referenceKey, returnKey, JSON.stringify({ return: returnKey })],
      ...[JSON.stringify(wanted), madeAt],
    ],
  );
  const { rows } = await db.query<{ refund: OperationHex }>(
    `select ${hexOf('refund')} as refund from pool_refund where reference_key = $1`,
    [referenceKey],
  );
  return rows[0]!.refund;
}

/** Gives the turns of a return up that brings nothing back of these redemptions, or was never made. */
export async function endTurns(db: Queryable, referenceKeys: readonly string[]): Promise<void> {
  await db.query(`delete from pool_refund where reference_key = any($1::uuid[]) and state = 'waiting'`, [
    referenceKeys,
  ]);
}

export interface Waiting {
  readonly referenceKey: string;
  readonly returnKey: string;
  /** Nobody has been at it for so long that no request of the return can still be under way. */
  readonly isOld: boolean;
}

/** Refunds whose return nobody has been at for two seconds. */
export async function leftTurns(db: Queryable, limit: number): Promise<Waiting[]> {
  const { rows } = await db.query<Waiting>(
    `select ${hexOf('reference_key')} as "referenceKey", fingerprint as "returnKey", changed_at < now() - interval '2 minutes' as "isOld"
     from pool_refund where state = 'waiting' and changed_at < now() - interval '2 seconds' order by changed_at limit $1`,
    [limit],
  );
  return rows;
}
