/** Changes of tier that journals know, read for whoever judges. */
import type pg from 'pg';
import { type Program, versionAt } from '#src/earning/program.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { type KnownChange, tiersAt } from './spans.ts';

interface Row extends Omit<KnownChange, 'tier' | 'effectiveAt'> {
  readonly member: MemberNumber;
  readonly to_tier: string;
  readonly effective_at: number;
}

/** Whose history, through which version of the member's facts. */
export interface HistoryAsk {
  readonly member: MemberNumber;
  readonly factsVersion: number;
}

const none: readonly KnownChange[] = [];

/**
 * The known changes of members. The writer books a change together with the version of the facts, so what is read here under
 * a version is the same for whoever reads it, and is exactly what stood before it in the journal.
 */
export async function historyOf(
  db: pg.Pool | pg.ClientBase,
  asks: readonly HistoryAsk[],
): Promise<(readonly KnownChange[])[]> {
  const { rows } = await db.query<Row & { ask: number }>({
    name: 'tier-history',
    text: `select a.ask, c.member, c.ladder, c.number, c.to_tier, c.effective_at, c.epoch, c.seq
      from unnest($1::int[], $2::bigint[], $3::int[]) a (ask, member, facts)
      join tier_change c on c.member = a.member and c.is_move and c.facts <= a.facts`,
    values: [asks.map((_, i) => i), asks.map(({ member }) => member), asks.map((ask) => ask.factsVersion)],
  });
  const byAsk = Map.groupBy(rows, ({ ask }) => ask);
  return asks.map(
    (_, i) =>
      byAsk.get(i)?.map(({ ladder, number, to_tier: tier, effective_at: effectiveAt, epoch, seq }) => ({
        ladder,
        number,
        tier,
        effectiveAt,
        epoch,
        seq,
      })) ?? none,
  );
}

/** Version of facts of whoever wants to know all that the books have. */
export const allFacts = 2_147_483_647;

/** The tiers of members at an instant, as they are known now. */
export async function tiersWhen(
  db: pg.Pool | pg.ClientBase,
  program: Pick<Program, 'versions'>,
  members: readonly MemberNumber[],
  at: EpochMs,
): Promise<Map<MemberNumber, readonly string[]>> {
  const { ladders } = versionAt(program, at).definition;
  if (ladders.length === 0) return new Map();
  const histories = await historyOf(
    db,
    members.map((member) => ({ member, factsVersion: allFacts })),
  );
  return new Map(members.map((member, i) => [member, tiersAt(ladders, histories[i]!, at)]));
}
