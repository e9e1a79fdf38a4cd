/** When points count until that a partner gives, or that come in from it: as the program lets points of the currency end for the member. */
import { type Currency, type Program, programNow } from '#src/earning/program.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { compileExpiry } from '#src/earning/rules/expiry.ts';
import type { JudgedMembers } from '#src/members/judged-member.ts';
import type { EpochMs } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';

/** The first instant at which points that were earned at a time count no more; 0: they never end. */
export async function expiryOf(
  judgedMember: JudgedMembers,
  program: Program,
  { expiry }: Currency,
  occurredAt: EpochMs,
  facts: MemberFacts,
): Promise<EpochMs> {
  const asksMember = expiry.kind === 'tier' || expiry.kind === 'birthday_month';
  const member = asksMember ? await judgedMember(program, facts, { at: occurredAt }) : {};
  const dateOf = (at: EpochMs) => momentOf(at, program.timeZone).date;
  const days = { occurred: dateOf(occurredAt), posted: dateOf(programNow(program)) };
  return compileExpiry(expiry, program.timeZone)(days, member);
}
