/** The tier that views of members show. */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import type { MemberNumber } from '#src/values.ts';
import { laddersAt } from './ladders.ts';
import { nameOn } from './spans.ts';

/** The tier on the first ladder of members, as views of members show it; nobody is asked in programs without ladders. */
export async function shownTiers(
  db: Pick<pg.ClientBase, 'query'>,
  program: Program,
  members: readonly MemberNumber[],
): Promise<(member: MemberNumber) => string | null> {
  const [first] = laddersAt(program, programNow(program)).ladders;
  if (!first) return () => null;
  const { rows } = await db.query<{ member: MemberNumber; tier: string }>(
    'select member, tier from tier_standing where member = any($1::bigint[]) and ladder = $2',
    [members, first.name],
  );
  const tiers = new Map(rows.map(({ member, tier }) => [member, nameOn(first, tier)]));
  return (member) => tiers.get(member) ?? first.tiers[0]!.name;
}
