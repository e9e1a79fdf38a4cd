/**
 * Pools and the places of members in them, as PostgreSQL has them.
 *
 * Whoever changes a place, or decides by places, holds the pool's row: joining, leaving and the decision of a redemption
 * come one after the other, so a redemption takes no points of somebody who had left before it was decided.
 *
 * A place follows its member. Who was closed or erased has left; who was merged is followed by the survivor, or has left where
 * the survivor has a place already; the place of the head goes with it, or else to whoever has been in the pool longest.
 * Statuses come from the wallets by way of the ledger, so places follow them the next time somebody looks.
 */

import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { mergeHopsMax } from '#src/wallet/lookup.ts';
import type { PoolNumber } from './ids.ts';
import { mayJoinAfter, type Policy, policySchema } from './policy.ts';

export interface Pool {
  readonly pool: PoolNumber;
  readonly head: MemberNumber;
  readonly policy: Policy;
  readonly openedAt: EpochMs;
  readonly dissolvedAt: EpochMs | undefined;
}

export interface Place {
  readonly member: MemberNumber;
  readonly maySpend: boolean;
  readonly joinedAt: EpochMs;
}

interface PoolRow {
  readonly pool: PoolNumber;
  readonly head: MemberNumber;
  readonly policy: unknown;
  readonly opened_at: EpochMs;
  readonly dissolved_at: EpochMs | null;
}

const poolQuery =
  'select pool, head, policy, opened_at, dissolved_at from pool where program = $1 and pool = $2';

function poolOf(row: PoolRow): Pool {
  return {
    pool: row.pool,
    head: row.head,
    policy: policySchema.parse(row.policy),
    openedAt: row.opened_at,
    dissolvedAt: row.dissolved_at ?? undefined,
  };
}

/** A pool of the program; throws `not_found` where it has none of that number. */
export async function readPool(db: Queryable, program: number, pool: PoolNumber): Promise<Pool> {
  const row = (await db.query<PoolRow>(poolQuery, [program, pool])).rows[0];
  if (!row) throw new Problem('not_found');
  return poolOf(row);
}

/** The pool, which nobody else changes until the database transaction ends. */
export async function lockPool(tx: pg.PoolClient, program: number, pool: PoolNumber): Promise<Pool> {
  const row = (await tx.query<PoolRow>(`${poolQuery} for update`, [program, pool])).rows[0];
  if (!row) throw new Problem('not_found');
  return poolOf(row);
}

export function refuseDissolved({ dissolvedAt }: Pool): void {
  if (dissolvedAt !== undefined) throw new Problem('pool_dissolved');
}

/** The open places of a pool, in the order in which they were taken. */
export async function openPlaces(db: Queryable, pool: PoolNumber): Promise<Place[]> {
  const { rows } = await db.query<{ member: MemberNumber; may_spend: boolean; joined_at: EpochMs }>(
    `select member, may_spend, joined_at from pool_place where pool = $1 and left_at is null order by joined_at, place`,
    [pool],
  );
  return rows.map((row) => ({ member: row.member, maySpend: row.may_spend, joinedAt: row.joined_at }));
}

/** The pool in which a member is; undefined where it is in none. */
export async function poolOfMember(db: Queryable, member: MemberNumber): Promise<PoolNumber | undefined> {
  const { rows } = await db.query<{ pool: PoolNumber }>(
    'select pool from pool_place where member = $1 and left_at is null',
    [member],
  );
  return rows[0]?.pool;
}

/** Whether a member was in the pool once. */
export async function wasIn(db: Queryable, pool: PoolNumber, member: MemberNumber): Promise<boolean> {
  const { rowCount } = await db.query('select from pool_place where pool = $1 and member = $2 limit 1', [
    pool,
    member,
  ]);
  return rowCount === 1;
}

export interface NewPlace {
  readonly member: MemberNumber;
  readonly maySpend: boolean;
  /** Type of the identifier that was shown. */
  readonly consent: string;
  readonly actor: string;
  readonly joinedAt: EpochMs;
}

/** Takes a place for somebody who is in no pool and may join again. False: the member has a place in this very pool. */
export async function takePlace(tx: pg.PoolClient, pool: PoolNumber, place: NewPlace): Promise<boolean> {
  const { member, maySpend, consent, actor, joinedAt } = place;
  const taken = await tx.query(
    `insert into pool_place (pool, member, may_spend, joined_at, consent, actor)
     select $1, $2, $3, $4, $5, $6 where not exists (select from pool_place where member = $2 and left_at is not null and may_join_at > $4)
     on conflict do nothing`,
    [pool, member, maySpend, joinedAt, consent, actor],
  );
  if (taken.rowCount === 1) return true;
  const other = await poolOfMember(tx, member);
  if (other === pool) return false;
  if (other !== undefined) throw new Problem('member_in_pool');
  const { rows } = await tx.query<{ at: EpochMs | null }>(
    'select max(may_join_at) as at from pool_place where member = $1 and left_at is not null',
    [member],
  );
  const mayJoinAt = rows[0]?.at;
  throw mayJoinAt == null
    ? new Problem('member_in_pool')
    : new Problem('pool_limit', 'the member has left a pool and may not join another yet', {
        limitedBy: 'cooling',
        mayJoinAt: new Date(mayJoinAt).toISOString(),
      });
}

/** Ends a member's place; false where there is none. The pool is locked. `by`: the key that asked for it. */
export async function endPlace(
  tx: pg.PoolClient,
  { pool, policy }: Pool,
  member: MemberNumber,
  why: 'left' | 'closed' | 'merged',
  at: EpochMs,
  by?: string,
): Promise<boolean> {
  // A survivor takes the place over at once: whoever was merged has not chosen to leave.
  const mayJoinAt = why === 'merged' ? at : mayJoinAfter(policy, at);
  const ended = await tx.query(
    `update pool_place set left_at = $3, left_why = $4, may_join_at = $5, left_by = $6
     where pool = $1 and member = $2 and left_at is null`,
    [pool, member, at, why, mayJoinAt, by ?? null],
  );
  return ended.rowCount === 1;
}

/** Ends every place and the pool; answers who had one. */
export async function dissolve(
  tx: pg.PoolClient,
  { pool, policy }: Pool,
  at: EpochMs,
  by?: string,
): Promise<MemberNumber[]> {
  const { rows } = await tx.query<{ member: MemberNumber }>(
    `update pool_place set left_at = $2, left_why = 'dissolved', may_join_at = $3, left_by = $4
     where pool = $1 and left_at is null returning member`,
    [pool, at, mayJoinAfter(policy, at), by ?? null],
  );
  await tx.query('update pool set dissolved_at = $2 where pool = $1 and dissolved_at is null', [pool, at]);
  return rows.map(({ member }) => member);
}

/** Sees to it that the head has a place: `heir` first, else who joined first. Where nobody is left the pool is dissolved. */
export async function keepHead(
  tx: pg.PoolClient,
  pool: Pool,
  at: EpochMs,
  heir?: MemberNumber,
): Promise<void> {
  const places = await openPlaces(tx, pool.pool);
  if (places.some(({ member }) => member === pool.head)) return;
  const next = places.find(({ member }) => member === heir) ?? places[0];
  if (next) await tx.query('update pool set head = $2 where pool = $1', [pool.pool, next.member]);
  else await dissolve(tx, pool, at);
}

interface GoneRow {
  readonly member: MemberNumber;
  readonly survivor: MemberNumber | null;
}

// The survivor is the end of the chain of merges; one that was closed takes no place.
const goneQuery = `
  select p.member, case when m.status = 'merged' then (
    with recursive chain as (
      select m.number, m.status, m.merged_into, 0 as hop
      union all select n.number, n.status, n.merged_into, c.hop + 1 from chain c join member n on n.number = c.merged_into
        where c.status = 'merged' and c.hop < ${mergeHopsMax}
    ) select number from chain where status not in ('merged', 'closed') order by hop desc limit 1) end as survivor
  from pool_place p join member m on m.number = p.member
  where p.pool = $1 and p.left_at is null and m.status in ('closed', 'merged') order by p.place`;

/** Whether places wait to follow their members. */
export async function mustFollow(db: Queryable, pool: PoolNumber): Promise<boolean> {
  return (await db.query(goneQuery, [pool])).rows.length > 0;
}

/** Lets places follow members that were closed or merged. The pool is locked. */
export async function followMembers(tx: pg.PoolClient, pool: Pool, at: EpochMs): Promise<void> {
  const { rows } = await tx.query<GoneRow>(goneQuery, [pool.pool]);
  if (rows.length === 0) return;
  let heir: MemberNumber | undefined;
  for (const { member, survivor } of rows) {
    if (survivor !== null)
      await tx.query(
        `insert into pool_place (pool, member, may_spend, joined_at, consent, actor)
         select pool, $3, may_spend, joined_at, consent, actor from pool_place where pool = $1 and member = $2 and left_at is null
         on conflict do nothing`,
        [pool.pool, member, survivor],
      );
    await endPlace(tx, pool, member, survivor === null ? 'closed' : 'merged', at);
    if (member === pool.head && survivor !== null) heir = survivor;
  }
  await keepHead(tx, pool, at, heir);
}
