/**
 * The point blocks of prepaid partners. A movement draws under its own name, once however often it asks; what is reversed of it
 * goes back to the blocks it came from, the newest first. Whoever draws holds the partner's open blocks until the database
 * transaction ends, so movements of one prepaid partner follow one another.
 */

import type pg from 'pg';
import type { Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { type Block, type Draw, type Drawn, drawFrom } from './blocks.ts';
import type { Billing, Period } from './types.ts';

export interface BlockDraft extends Period {
  readonly partner: number;
  readonly reference: string;
  readonly points: number;
  readonly isReserve: boolean;
  readonly actor: string;
}

export interface StoredBlock extends Block {
  readonly reference: string;
  readonly points: number;
}

interface BlockRow {
  readonly block: number;
  readonly reference: string;
  readonly points: number;
  readonly left: number;
  readonly effective_from: EpochMs;
  readonly effective_until: EpochMs | null;
  readonly is_reserve: boolean;
}

const columns = `block, reference, points, points - drawn as left, is_reserve,
  (extract(epoch from effective_from) * 1000)::float8 as effective_from,
  (extract(epoch from effective_until) * 1000)::float8 as effective_until`;

function blockOf(row: BlockRow): StoredBlock {
  return {
    block: row.block,
    reference: row.reference,
    points: row.points,
    left: row.left,
    from: row.effective_from,
    until: row.effective_until,
    isReserve: row.is_reserve,
  };
}

/** Books a block that a partner bought; the same reference again answers the block that is there. */
export async function buyBlock(
  pool: pg.Pool,
  draft: BlockDraft,
): Promise<{ readonly isNew: boolean; readonly block: StoredBlock }> {
  const { partner, reference, points, from, until, isReserve, actor } = draft;
  const inserted = await pool.query<BlockRow>(
    `insert into partner_block (partner, reference, points, effective_from, effective_until, is_reserve, bought_by)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict (partner, reference) do nothing returning ${columns}`,
    [
      partner,
      reference,
      points,
      new Date(from).toISOString(),
      until === null ? null : new Date(until).toISOString(),
      isReserve,
      actor,
    ],
  );
  if (inserted.rows[0]) return { isNew: true, block: blockOf(inserted.rows[0]) };
  const found = await pool.query<BlockRow>(
    `select ${columns} from partner_block where partner = $1 and reference = $2`,
    [partner, reference],
  );
  return { isNew: false, block: blockOf(found.rows[0]!) };
}

/** The blocks of a partner, as they are drawn from: earliest first. */
export async function blocksOf(db: Queryable, partner: number): Promise<StoredBlock[]> {
  const { rows } = await db.query<BlockRow>(
    `select ${columns} from partner_block where partner = $1 order by is_reserve, partner_block.effective_from, block`,
    [partner],
  );
  return rows.map(blockOf);
}

export interface DrawAsk {
  readonly partner: number;
  /** Names the movement; the same again draws nothing more. */
  readonly movement: string;
  readonly points: number;
  readonly at: EpochMs;
  readonly billing: Extract<Billing, { kind: 'prepaid' }>;
}

/** Draws points for a movement, all or none. */
export async function drawPoints(
  tx: pg.PoolClient,
  ask: DrawAsk,
): Promise<Drawn | { status: 'drawn_before' }> {
  const { partner, movement, points, at, billing } = ask;
  // Whoever comes second sees what the first one drew.
  await tx.query('select from partner where partner = $1 for no key update', [partner]);
  const before = await tx.query('select from partner_draw where partner = $1 and movement = $2 limit 1', [
    partner,
    movement,
  ]);
  if (before.rowCount === 1) return { status: 'drawn_before' };
  const { rows } = await tx.query<BlockRow>(
    `select ${columns} from partner_block where partner = $1 and drawn < points`,
    [partner],
  );
  const drawn = drawFrom(rows.map(blockOf), points, at, billing);
  if (drawn.status === 'refused') return drawn;
  await tx.query(
    `with d as (select * from unnest($3::bigint[], $4::bigint[]) d (block, points)),
       taken as (update partner_block b set drawn = b.drawn + d.points from d where b.block = d.block)
     insert into partner_draw (partner, movement, block, points) select $1, $2, d.block, d.points from d`,
    [partner, movement, drawn.draws.map(({ block }) => block), drawn.draws.map((draw) => draw.points)],
  );
  return drawn;
}

export interface DrawReturn {
  readonly partner: number;
  readonly movement: string;
  /** Names the reversal; the same again returns nothing more. */
  readonly reversal: string;
  readonly points: number;
}

/** Puts points of a movement back into the blocks they came from; never more than it drew. Answers what went back. */
export async function returnPoints(tx: pg.PoolClient, ask: DrawReturn): Promise<number> {
  const { partner, movement, reversal, points } = ask;
  await tx.query('select from partner where partner = $1 for no key update', [partner]);
  const { rows } = await tx.query<{ block: number; left: number }>(
    `select block, points - returned as left from partner_draw
     where partner = $1 and movement = $2 and points > returned
       and not exists (select from partner_draw_return where partner = $1 and reversal = $3)
     order by block desc`,
    [partner, movement, reversal],
  );
  const back: Draw[] = [];
  let missing = points;
  for (const row of rows) {
    const part = Math.min(missing, row.left);
    if (part > 0) back.push({ block: row.block, points: part });
    missing -= part;
  }
  const sum = points - missing;
  if (sum === 0) return 0;
  await tx.query(
    `with d as (select * from unnest($4::bigint[], $5::bigint[]) d (block, points)),
       given as (update partner_block b set drawn = b.drawn - d.points from d where b.block = d.block),
       noted as (
         update partner_draw p set returned = p.returned + d.points from d
         where p.partner = $1 and p.movement = $2 and p.block = d.block
       )
     insert into partner_draw_return (partner, movement, reversal, points) values ($1, $2, $3, $6)`,
    [partner, movement, reversal, back.map(({ block }) => block), back.map((each) => each.points), sum],
  );
  return sum;
}
