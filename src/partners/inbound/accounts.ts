/**
 * Which member an account is that a partner names, and whether the partner may move its points. An account is, in this
 * order, a `mem_…` number, a program's own id of the member, or a card.
 *
 * The link stands with the member who made it; merged members are found through their survivor, so that a link outlives a
 * merge as the member's cards do.
 */

import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Identity } from '#src/members/identity.ts';
import { resolveMember } from '#src/members/member-ref.ts';
import { familyOf } from '#src/members/records.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import { type MemberNumber, parseMemberId } from '#src/values.ts';
import { type MemberFacts, survivorOf } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';

type Context = { readonly operations: Operations; readonly identity: Identity };

/** The member that an account names; the survivor where it was merged. */
export async function memberOfAccount(
  { operations, identity }: Context,
  program: Program,
  account: string,
): Promise<MemberFacts | undefined> {
  const own = await resolveMember(operations.lookup, identity, program, account);
  const named =
    own === undefined && parseMemberId(account) === undefined
      ? await resolveMember(operations.lookup, identity, program, { type: 'card', value: account })
      : own;
  if (named?.program !== program.number) return undefined;
  return survivorOf(operations.lookup, named);
}

/** Whether a member, or one who was merged into it, is linked with the partner of a client. */
export async function isLinked(db: Queryable, client: number, member: MemberNumber): Promise<boolean> {
  const found = await db.query(
    'select 1 from partner_link where client = $1 and member = any($2::bigint[]) and unlinked_at is null limit 1',
    [client, await familyOf(db, member)],
  );
  return found.rows.length > 0;
}

/** Refuses an account that its member has not linked. */
export async function checkLinked(db: Queryable, client: number, member: MemberNumber): Promise<void> {
  if (!(await isLinked(db, client, member))) throw new Problem('member_not_linked');
}
