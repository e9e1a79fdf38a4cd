/** How the rows of a pool's holds end. */
import type pg from 'pg';
import { inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, OperationHex } from '#src/values.ts';
import type { HoldEnd, Part, Payment, PoolRedemption } from './redemption-rows.ts';
import { beginReturning, readRedemption } from './redemption-rows.ts';

export interface End {
  readonly holdEnd: Exclude<HoldEnd, 'expired'>;
  readonly endKey: string;
  readonly fingerprint: string;
  readonly at: EpochMs;
}

/** What a capture takes, decided on the hold that is being ended. */
export interface Capture {
  readonly payment: Payment;
  readonly parts: readonly Pick<Part, 'part' | 'points'>[];
}

/**
 * Ends a hold, once for ever; false where it had ended, or its time has come. What a capture leaves goes back.
 */
export function endHold(
  pool: pg.Pool,
  redemption: OperationHex,
  { holdEnd, endKey, fingerprint, at }: End,
  capture: (held: PoolRedemption) => Capture,
): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    await tx.query('set local idle_in_transaction_session_timeout = 5000');
    const ended = await tx.query(
      `update pool_redemption set state = $2, hold_end = $3, end_key = $4, end_fingerprint = $5, changed_at = now()
       where redemption = $1 and state = 'held' and hold_until > $6`,
      [redemption, holdEnd === 'captured' ? 'capturing' : 'releasing', holdEnd, endKey, fingerprint, at],
    );
    if (ended.rowCount === 0) return false;
    if (holdEnd === 'released') return true;
    const held = (await readRedemption(tx, redemption))!;
    const { payment, parts } = capture(held);
    await tx.query('update pool_redemption set captured = $2 where redemption = $1', [
      redemption,
      JSON.stringify(payment),
    ]);
    const taken = parts.filter(({ points }) => points.length > 0);
    await tx.query(
      `update pool_part p set points = c.points from unnest($2::int[], $3::json[]) as c(part, points)
       where p.redemption = $1 and p.part = c.part and p.state = 'held'`,
      [redemption, taken.map(({ part }) => part), taken.map(({ points }) => JSON.stringify(points))],
    );
    const rest = parts.filter(({ points }) => points.length === 0);
    await beginReturning(
      tx,
      redemption,
      rest.map(({ part }) => part),
    );
    return true;
  });
}

/** Ends holds whose time has come by the clocks of their programs. */
export async function expireHolds(db: Queryable, limit: number): Promise<void> {
  await db.query(
    `update pool_redemption set state = 'releasing', hold_end = 'expired', changed_at = '-infinity'
     where state = 'held' and redemption in (
       select r.redemption from pool_redemption r join program p on p.number = r.program
       where r.state = 'held' and r.hold_until <= (extract(epoch from clock_timestamp()) * 1000)::bigint + p.clock_offset_ms limit $1)`,
    [limit],
  );
}
