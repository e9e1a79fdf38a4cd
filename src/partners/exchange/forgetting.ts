/**
 * What is forgotten of exchanges: what names a person at a partner when the person is erased, and what nobody asks for any more after
 * its time. That points were exchanged, under which reference, and how many, also of those taken back, stays.
 */
import type pg from 'pg';
import type { Queryable } from '#src/platform/postgres.ts';
import type { MemberNumber } from '#src/values.ts';

/** Of exchanges that are over, or were never begun. One that is under way needs the account; it is forgotten when it is told. */
export async function forgetAccounts(db: Pick<pg.Pool, 'query'>, member: MemberNumber): Promise<void> {
  await db.query('update exchange_use set card = null where member = $1 and card is not null', [member]);
  await db.query(
    `update exchange set account_sealed = '', card = null where member = $1 and state in ('quoted', 'completed', 'refused', 'reversed')`,
    [member],
  );
}

/** As long as what exchanges count for is kept (`contracts/judging.ts`). */
const keptDays = 400;
const isOld = (at: string) => `${at} < now() - interval '${keptDays} days'`;

/** Forgets the steps of exchanges that are over, and what stood in request files, at most so many; answers how many. */
export async function forgetHistories(db: Queryable, limit: number): Promise<number> {
  // Only the oldest are looked at: where none of them is old enough, none is. `offset 0`: each exchange is asked for by its key.
  const steps = await db.query(
    `delete from exchange_step where step in (
       select s.step from (select step, exchange, at from exchange_step order by step limit $1) s
         cross join lateral (select state from exchange e where e.exchange = s.exchange offset 0) e
       where ${isOld('s.at')} and e.state in ('completed', 'refused', 'reversed'))`,
    [limit],
  );
  const files = await db.query(
    `update exchange_file set content_sealed = null where content_sealed is not null and ${isOld('made_at')}`,
  );
  return (steps.rowCount ?? 0) + (files.rowCount ?? 0);
}
