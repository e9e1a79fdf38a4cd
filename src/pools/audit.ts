/**
 * Who did what to a pool, for people who ask later: one line for the pool, and one for each member who joined or left by it, beside
 * what else was done to that member. Written in the database transaction of the change, or not at all.
 */
import type { Queryable } from '#src/platform/postgres.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { type PoolNumber, poolId } from './ids.ts';

export interface PoolDeed {
  readonly program: number;
  readonly pool: PoolNumber;
  /** Id of the key that was used. */
  readonly actor: string;
  readonly action: 'pool.open' | 'pool.join' | 'pool.leave' | 'pool.dissolve' | 'pool.policy';
  /** Whom it was done to; absent: the pool as a whole. */
  readonly members?: readonly MemberNumber[];
  /** What a policy was before and is now. */
  readonly detail?: object;
}

export async function noteDeed(
  tx: Queryable,
  { program, pool, actor, action, members = [], detail }: PoolDeed,
): Promise<void> {
  const ofPool = [action, ...(detail ? [JSON.stringify(detail)] : []), ...members.map(memberId)].join(' ');
  const ofMember = `${action} ${poolId(pool)}`;
  await tx.query(
    `insert into audit_log (program, actor, action, subject)
     select $1::int, $2::text, deed.action, deed.subject from unnest($3::text[], $4::text[]) as deed(action, subject)`,
    [program, actor, [ofPool, ...members.map(() => ofMember)], [poolId(pool), ...members.map(memberId)]],
  );
}
