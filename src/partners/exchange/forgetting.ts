/** Erasure of what names a person at a partner; that points were exchanged, and how many, stays. */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';

/** Of exchanges that are over, or were never begun. One that is under way needs the account; it is forgotten when it is told. */
export async function forgetAccounts(db: Pick<pg.Pool, 'query'>, member: MemberNumber): Promise<void> {
  await db.query('update exchange_use set card = null where member = $1 and card is not null', [member]);
  await db.query(
    `update exchange set account_sealed = '', card = null where member = $1 and state in ('quoted', 'completed', 'refused', 'reversed')`,
    [member],
  );
}
