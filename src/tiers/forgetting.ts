/** Erasure: what people wrote of a member beside its tiers goes; that it had them, from when to when, stays. */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';

/** Removes reasons and evidence of one member; may be run again. */
export async function forgetPersonal(pool: pg.Pool, member: MemberNumber): Promise<void> {
  await pool.query('delete from tier_standing where member = $1', [member]);
  await pool.query('delete from tier_order where member = $1', [member]);
  await pool.query(`update tier_match set evidence = '' where member = $1`, [member]);
}
