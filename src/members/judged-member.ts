/** What rules may know of a member, read from the books. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { JudgedMember } from '#src/earning/rules/types.ts';
import { nobody } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import type { MemberNumber } from '#src/values.ts';
import type { Identity } from './identity.ts';
import { membersByNumber, profileOfRow } from './records.ts';

/**
 * A member as rules judge it. Tiers and segments are not kept yet, so rules that ask for one do not fit; codes are those of
 * promotions alone. Throws `not_ready` where the books cannot be asked.
 */
export async function judgedMember(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  member: MemberNumber,
): Promise<JudgedMember> {
  const rows = await membersByNumber(pool, program, [member]).catch((error: unknown) => {
    throw new Problem('not_ready', 'the books cannot be asked at the moment', {}, { cause: error });
  });
  const row = rows.get(member);
  if (!row) return { ...nobody, isKnown: true };
  const { birthday, attributes = {} } = profileOfRow(identity, program, row);
  return { isKnown: true, segments: [], birthday, joinedAt: row.joined_at, attributes, codes: [] };
}
