/** Destroys what is personal of one member in PostgreSQL; each statement may be run again. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { forgetAccounts } from '#src/partners/exchange/forgetting.ts';
import { forgetPersonal } from '#src/tiers/forgetting.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Lookup } from '#src/wallet/lookup.ts';
import { forgetReasons } from './audit-note.ts';

/**
 * The mark comes first: whoever links or moves identifiers looks at it under a lock of the member's row, so nothing is
 * added behind the deletion.
 */
export async function wipeMember(
  pool: pg.Pool,
  lookup: Lookup,
  program: Program,
  member: MemberNumber,
): Promise<void> {
  await pool.query(
    'update member set profile = null, erased_at = coalesce(erased_at, now()) where number = $1 and program = $2',
    [member, program.number],
  );
  const gone = await pool.query<{ type: string; hash: string }>(
    `delete from identifier where program = $1 and member = $2 returning type, encode(value_hash, 'hex') as hash`,
    [program.number, member],
  );
  for (const key of gone.rows) lookup.forgetIdentifier(program.number, key);
  lookup.forget(member);
  await pool.query('delete from partner_link_code where member = $1', [member]);
  await pool.query(
    `update partner_link set account_hash = null, account_sealed = null, unlinked_at = coalesce(unlinked_at, now()),
       unlinked_by = coalesce(unlinked_by, 'erasure') where member = $1`,
    [member],
  );
  await pool.query('delete from member_code where member = $1', [member]);
  await forgetReasons(pool, program, member);
  await forgetPersonal(pool, member);
  await forgetAccounts(pool, member);
}
