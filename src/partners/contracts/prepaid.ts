/**
 * The point blocks of prepaid partners. A movement draws under its own name, however often it asks no more than it asked for at
 * most; `settling.ts` decides by the books what it keeps. Whoever draws holds the partner until the database transaction ends, so movements
 * of one prepaid partner follow one another.
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

/** A block as it is read. */
export interface BlockRow {
  readonly block: number;
  readonly reference: string;
  readonly points: number;
  readonly left: number;
  readonly effective_from: EpochMs;
  readonly effective_until: EpochMs | null;
  readonly is_reserve: boolean;
}

export const blockColumns = `block, reference, points, points - drawn as left, is_reserve,
  (extract(epoch from effective_from) * 1000)::float8 as effective_from,
  (extract(epoch from effective_until) * 1000)::float8 as effective_until`;

export function blockOf(row: BlockRow): StoredBlock {
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
     values ($1, $2, $3, $4, $5, $6, $7) on conflict (partner, reference) do nothing returning ${blockColumns}`,
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
    `select ${blockColumns} from partner_block where partner = $1 and reference = $2`,
    [partner, reference],
  );
  return { isNew: false, block: blockOf(found.rows[0]!) };
}

/** The blocks of a partner, as they are drawn from: earliest first. */
export async function blocksOf(db: Queryable, partner: number): Promise<StoredBlock[]> {
  const { rows } = await db.query<BlockRow>(
    `select ${blockColumns} from partner_block where partner = $1 order by is_reserve, partner_block.effective_from, block`,
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

interface DrawRow extends Draw {
  /** What is in the books has drawn it. */
  readonly is_cleared: boolean;
}

/** Whoever comes second sees what the first one drew. */
export async function holdPartner(tx: pg.PoolClient, partner: number): Promise<void> {
  await tx.query('select from partner where partner = $1 for no key update', [partner]);
}

/** What a movement drew, the newest block first. */
async function drawsOf(tx: pg.PoolClient, partner: number, movement: string): Promise<DrawRow[]> {
  const { rows } = await tx.query<DrawRow>(
    `select block, points, cleared_at is not null or returned > 0 as is_cleared from partner_draw
     where partner = $1 and movement = $2 order by block desc`,
    [partner, movement],
  );
  return rows;
}

const sumOf = (draws: readonly Draw[]) => draws.reduce((sum, { points }) => sum + points, 0);

/**
 * Draws points for a movement, all or none. Who asked for less before draws the rest; who asked for more keeps it until the books
 * decide (`settleDraws`), because the call that asked for more may still be under way.
 */
export async function drawPoints(
  tx: pg.PoolClient,
  ask: DrawAsk,
): Promise<Drawn | { status: 'drawn_before' }> {
  const { partner, movement, points, at, billing } = ask;
  await holdPartner(tx, partner);
  const before = await drawsOf(tx, partner, movement);
  if (before.some(({ is_cleared }) => is_cleared)) return { status: 'drawn_before' };
  const missing = points - sumOf(before);
  let drawn: Drawn | { status: 'drawn_before' } = { status: 'drawn_before' };
  if (missing > 0) {
    const { rows } = await tx.query<BlockRow>(
      `select ${blockColumns} from partner_block where partner = $1 and drawn < points`,
      [partner],
    );
    drawn = drawFrom(rows.map(blockOf), missing, at, billing);
    if (drawn.status === 'refused') return drawn;
    await tx.query(
      `with d as (select * from unnest($3::bigint[], $4::bigint[]) d (block, points)),
         taken as (update partner_block b set drawn = b.drawn + d.points from d where b.block = d.block)
       insert into partner_draw as p (partner, movement, block, points) select $1, $2, d.block, d.points from d
       on conflict (partner, movement, block) do update set points = p.points + excluded.points`,
      [partner, movement, drawn.draws.map(({ block }) => block), drawn.draws.map((draw) => draw.points)],
    );
  }
  // A call is under way again, from now.
  if (before.length > 0)
    await tx.query('update partner_draw set drawn_at = now() where partner = $1 and movement = $2', [
      partner,
      movement,
    ]);
  return drawn;
}

/** Puts back all that a movement drew that is not in the books. Who calls it knows that it came to nothing. */
export async function undoDraw(tx: pg.PoolClient, partner: number, movement: string): Promise<void> {
  await holdPartner(tx, partner);
  await tx.query(
    `with gone as (
       delete from partner_draw where partner = $1 and movement = $2 and cleared_at is null and returned = 0
       returning block, points
     )
     update partner_block b set drawn = b.drawn - g.points from gone g where b.block = g.block`,
    [partner, movement],
  );
}
