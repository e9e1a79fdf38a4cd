/** What the calls of pools are made of; `app.ts` has it all. */
import type pg from 'pg';
import { type Program, type Programs, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { type CurrentMember, type MemberRef, memberNow } from '#src/members/member-ref.ts';
import type { RedemptionContext } from '#src/redemption/redemptions.ts';
import type { Soon } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';

export interface PoolsContext extends RedemptionContext {
  readonly pool: pg.Pool;
  readonly programs: Programs;
  /** A member from a path: `mem_…` or the caller's own id. */
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

/** Who is meant right now, and how that member stands. Throws `member_not_found`. */
export async function currentMember(
  context: PoolsContext,
  program: Program,
  ref: MemberRef,
  pointer: string,
): Promise<CurrentMember> {
  const at = programNow(program);
  const current = await memberNow(context.operations, () => context.resolveMember(program, ref), at);
  if (!current) throw new Problem('member_not_found', undefined, { pointer });
  return current;
}

/** Refuses a member that may not act. */
export function refuseInactive({ reading: { status } }: CurrentMember, pointer: string): void {
  if (status === 'active') return;
  if (status === 'merging') throw new Problem('member_merging', undefined, { pointer });
  throw new Problem('member_not_active', undefined, { pointer, memberStatus: status });
}
