/**
 * What blocks that a prepaid partner bought have paid for.
 *
 * A movement draws before its points are given, where an empty block can still refuse it; it draws under its own name, so that a
 * repeat draws nothing more. That is a reservation: the books decide. What reaches the books and has not drawn all of it (its
 * contract became prepaid meanwhile) draws when it is cleared, and is billed where the blocks are empty by then; what drew more
 * than was booked (it was refused, and repeated with fewer points) gives that back then; what drew and never reached the books goes back to its
 * blocks after ten minutes, in which no call can still be under way.
 */
import type pg from 'pg';
import { drawName } from '#src/partners/contracts/drawing.ts';
import { type Booked, settleDraws } from '#src/partners/contracts/settling.ts';
import type { Contract } from '#src/partners/contracts/types.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { Entry } from './entries.ts';

/** An entry and the contract that it is priced by. */
export interface Priced {
  readonly entry: Entry;
  readonly contract: Contract | undefined;
}

/** Whether blocks may pay for it. */
function isPrepaid({ entry, contract }: Priced): boolean {
  return contract?.billing.kind === 'prepaid' && entry.price === 'issue' && entry.account === 'partner';
}

function bookedOf({ entry, contract }: Priced): Booked[] {
  const { operation, originalReference, points, at } = entry;
  const { billing } = contract!;
  if (billing.kind !== 'prepaid') return [];
  if (points > 0) {
    const movements =
      originalReference === null
        ? []
        : (['accrual', 'exchange_in'] as const).map((kind) => drawName(kind, originalReference));
    return [{ kind: 'taken', reversal: operation, movements, points }];
  }
  const kind = entry.kind === 'exchange_in' || entry.kind === 'correction' ? entry.kind : 'accrual';
  return [{ kind: 'given', movement: drawName(kind, entry.reference), points: -points, at, billing }];
}

/**
 * Of the points of each entry, what blocks pay for; with their sign. Partners are held in the order of their numbers, so nobody waits in a
 * circle.
 */
export async function coverAll(
  tx: pg.PoolClient,
  all: readonly Priced[],
): Promise<ReadonlyMap<Entry, number>> {
  const covered = new Map<Entry, number>();
  const byPartner = Map.groupBy(all.filter(isPrepaid), ({ entry }) => entry.partner);
  for (const [partner, priced] of [...byPartner].toSorted(([a], [b]) => a - b)) {
    const paid = await settleDraws(tx, partner, priced.flatMap(bookedOf));
    for (const [i, { entry }] of priced.entries()) covered.set(entry, Math.sign(entry.points) * paid[i]!);
  }
  return covered;
}

/** Longer than any call can take from its draw to the script, which refuses what comes late. */
const strayMinutes = 10;
const strayMax = 500;

// Whatever drew and is not in the books, once clearing has read everything from then. Only draws that are not cleared are looked at,
// which are those under way; and each asks for its exchange by the key, however many there are.
const isStray = `d.drawn_at < now() - make_interval(mins => ${strayMinutes}) and d.returned = 0 and d.cleared_at is null
    and split_part(d.movement, '/', 1) in ('accrual', 'exchange_in')
    and not exists (select from clearing_entry e where e.partner = d.partner and e.kind = split_part(d.movement, '/', 1)
      and e.reference = substr(d.movement, strpos(d.movement, '/') + 1))
    and not exists (select from exchange x
      where x.exchange = case when d.movement ~ '^exchange_in/exc_[0-9a-f]{32}$' then right(d.movement, 32)::uuid end
        and x.partner = d.partner
        and x.state not in ('quoted', 'refused', 'reversed'))
    and not exists (select from position p left join clearing_position c using (shard)
      where (c.shard is null or (p.epoch, p.seq) > (c.epoch, c.seq))
        and coalesce(c.read_through_at, '-infinity') < d.drawn_at + interval '1 minute')`;

const strayQuery = `select distinct d.partner, d.movement from partner_draw d where ${isStray}
  order by d.partner, d.movement limit ${strayMax}`;

/** Puts back what was drawn for movements that never were; answers how many. */
export async function returnStrays(pool: pg.Pool): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<{ partner: number; movement: string }>(strayQuery);
    let count = 0;
    for (const { partner, movement } of rows) {
      await tx.query('select from partner where partner = $1 for no key update', [partner]);
      // Asked again: until the partner was free, clearing may have counted on the draw, or a repeat may have begun.
      const { rowCount } = await tx.query(
        `with gone as (
           delete from partner_draw d where d.partner = $1 and d.movement = $2 and ${isStray} returning block, points),
         back as (update partner_block b set drawn = b.drawn - g.points from gone g where b.block = g.block)
         select from gone`,
        [partner, movement],
      );
      if (rowCount! > 0) count += 1;
    }
    return count;
  });
}
