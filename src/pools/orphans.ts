/**
 * Holds of redemptions that nobody knows of any more. A PostgreSQL that came back older has lost rows of pools, and is given the
 * records of their holds again from the journals; these have no end and nobody who settles them. A redemption's row is written before
 * its first hold, so a hold whose redemption has no row after some minutes never will: its points go back.
 */
import { tryStep } from '#src/members/engine.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import type { PoolsContext } from './context.ts';

/** When holds without an end end (`member.lua`): the end of 9999. */
const noEnd = 253_402_300_799_999;

const orphansQuery = `
  select replace(h.hold::text, '-', '') as hold, h.member, o.program
  from hold h cross join lateral (select request, program, posted_at from operation o where o.operation = h.hold offset 0) o
  where h.status = 'held' and h.expires_at >= ${noEnd} and o.request #>> '{body,redemption}' is not null and o.posted_at < now() - $1 * interval '1 millisecond'
    and not exists (select from pool_redemption r where 'prd_' || replace(r.redemption::text, '-', '') = o.request #>> '{body,redemption}')
  limit $2`;

interface OrphanRow {
  readonly hold: OperationHex;
  readonly member: MemberNumber;
  readonly program: number;
}

/** Releases what has been held for so long for a redemption that is not there; answers how many holds. */
export async function releaseOrphans(
  { operations, pool, programs }: Pick<PoolsContext, 'operations' | 'pool' | 'programs'>,
  olderThanMs: number,
  limit: number,
): Promise<number> {
  const { rows } = await pool.query<OrphanRow>(orphansQuery, [olderThanMs, limit]);
  let released = 0;
  for (const { hold, member, program: number } of rows) {
    const program = programs.get(number);
    if (!program) continue;
    const outcome = await tryStep(operations, {
      program,
      member,
      script: 'settle',
      kind: 'release',
      reference: `${hold}/orphan`,
      input: { hold, mode: 'release', parts: [] },
      request: { body: { action: 'orphan' } },
      origins: [hold],
    });
    if (outcome.status === 'performed') released += 1;
  }
  return released;
}
