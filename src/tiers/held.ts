/** Everything that is kept of a member about tiers, in clear, for its export. */
import type pg from 'pg';
import { dateText } from './days.ts';
import type { Day } from './ladder/types.ts';
import { hasLadders } from './ladders.ts';
import { openedReason, type Reader, tierView } from './reading.ts';

interface MatchRow {
  readonly ladder: string;
  readonly offer: string;
  readonly source: string;
  readonly source_tier: string;
  readonly evidence: string;
  readonly tier: string;
  readonly since: Day;
}

/** Where it stands, its history, what it was given, and evidence of matches; nothing in programs that never had a ladder. */
export async function tiersHeld(
  pool: pg.Pool,
  reader: Reader,
  joinedAt: number,
): Promise<Record<string, unknown>> {
  const { identity, program, member } = reader;
  if (!hasLadders(program)) return {};
  const { rows } = await pool.query<MatchRow>(
    'select ladder, offer, source, source_tier, evidence, tier, since from tier_match where member = $1 order by made_at',
    [member],
  );
  const matches = rows.map(({ evidence, since, source_tier: sourceTier, ...row }) => ({
    ...row,
    sourceTier,
    since: dateText(since),
    ...(evidence === ''
      ? {}
      : { evidence: JSON.parse(openedReason(identity, program, evidence)) as unknown }),
  }));
  return { tiers: await tierView(pool, reader, { member, joinedAt }), matches };
}
