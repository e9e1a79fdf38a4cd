/**
 * What the books decide about the draws of a prepaid partner: points that were given keep what they drew, draw what they have not, and give
 * back what they drew too much; points that were taken back go back to the blocks they came from, the newest first.
 *
 * All that a turn of clearing has read of a partner is settled together: read once, computed here, written once. So whoever gives points
 * meanwhile waits for some statements, and not for as many as there are movements.
 */
import type pg from 'pg';
import type { EpochMs } from '#src/values.ts';
import { type Block, type Draw, drawFrom } from './blocks.ts';
import { type BlockRow, blockColumns, blockOf, holdPartner } from './prepaid.ts';
import type { Billing } from './types.ts';

/** Points that are in the books: given under the name of a movement, or taken back from the first of some that has drawn. */
export type Booked =
  | {
      readonly kind: 'given';
      readonly movement: string;
      readonly points: number;
      readonly at: EpochMs;
      readonly billing: Extract<Billing, { kind: 'prepaid' }>;
    }
  | {
      readonly kind: 'taken';
      /** Names it; the same again gives nothing more back. */
      readonly reversal: string;
      readonly movements: readonly string[];
      readonly points: number;
    };

interface DrawState {
  readonly movement: string;
  readonly block: number;
  points: number;
  returned: number;
  isCleared: boolean;
  isChanged: boolean;
}

interface Return {
  readonly reversal: string;
  readonly movement: string;
  readonly points: number;
}

/** Up to so many points of draws, in their order. */
function partsOf(draws: readonly Draw[], points: number): Draw[] {
  const parts: Draw[] = [];
  let missing = points;
  for (const { block, points: left } of draws) {
    const part = Math.min(missing, left);
    if (part > 0) parts.push({ block, points: part });
    missing -= part;
  }
  return parts;
}

const newestFirst = (a: DrawState, b: DrawState) => b.block - a.block;
const sumOf = (draws: readonly DrawState[]) => draws.reduce((sum, { points }) => sum + points, 0);

/** The blocks and draws of a partner while they are settled. */
class Settling {
  readonly #blocks: Map<number, Block>;
  readonly #draws: Map<string, DrawState[]>;
  readonly #returned: Map<string, number>;
  /** Points that blocks have given since, or got back. */
  readonly drawn = new Map<number, number>();
  readonly returns: Return[] = [];

  constructor(blocks: readonly Block[], draws: readonly DrawState[], returns: readonly Return[]) {
    this.#blocks = new Map(blocks.map((block) => [block.block, block]));
    this.#draws = Map.groupBy(draws, ({ movement }) => movement);
    this.#returned = new Map(returns.map(({ reversal, points }) => [reversal, points]));
  }

  get draws(): DrawState[] {
    return [...this.#draws.values()].flat();
  }

  #of(movement: string): DrawState[] {
    const draws = this.#draws.get(movement) ?? [];
    this.#draws.set(movement, draws);
    return draws.sort(newestFirst);
  }

  #move(block: number, points: number): void {
    const of = this.#blocks.get(block)!;
    this.#blocks.set(block, { ...of, left: of.left - points });
    this.drawn.set(block, (this.drawn.get(block) ?? 0) + points);
  }

  /** How many of the points blocks have paid for. */
  settle(booked: Booked): number {
    return booked.kind === 'given' ? this.#give(booked) : this.#take(booked);
  }

  #give({ movement, points, at, billing }: Extract<Booked, { kind: 'given' }>): number {
    const draws = this.#of(movement);
    if (draws.some(({ isCleared }) => isCleared)) return Math.min(points, sumOf(draws));
    const missing = points - sumOf(draws);
    // What cannot be drawn whole is not drawn: then what was drawn before counts.
    const drawn = missing > 0 ? drawFrom([...this.#blocks.values()], missing, at, billing) : undefined;
    for (const { block, points: more } of drawn?.status === 'drawn' ? drawn.draws : []) {
      const of = draws.find((draw) => draw.block === block);
      if (of) of.points += more;
      else draws.push({ movement, block, points: more, returned: 0, isCleared: false, isChanged: true });
      this.#move(block, more);
    }
    const all = sumOf(draws.sort(newestFirst));
    for (const { block, points: back } of partsOf(draws, Math.max(0, all - points))) {
      draws.find((draw) => draw.block === block)!.points -= back;
      this.#move(block, -back);
    }
    for (const draw of draws) Object.assign(draw, { isCleared: true, isChanged: true });
    return Math.min(points, all);
  }

  #take({ reversal, movements, points }: Extract<Booked, { kind: 'taken' }>): number {
    const before = this.#returned.get(reversal);
    if (before !== undefined) return before;
    for (const movement of movements) {
      const draws = this.#of(movement);
      const parts = partsOf(
        draws.map((draw) => ({ block: draw.block, points: draw.points - draw.returned })),
        points,
      );
      for (const { block, points: back } of parts) {
        const draw = draws.find((each) => each.block === block)!;
        Object.assign(draw, { returned: draw.returned + back, isCleared: true, isChanged: true });
        this.#move(block, -back);
      }
      const sum = parts.reduce((all, part) => all + part.points, 0);
      if (sum === 0) continue;
      this.#returned.set(reversal, sum);
      this.returns.push({ reversal, movement, points: sum });
      return sum;
    }
    return 0;
  }
}

async function read(tx: pg.PoolClient, partner: number, booked: readonly Booked[]): Promise<Settling> {
  await holdPartner(tx, partner);
  const movements = booked.flatMap((each) => (each.kind === 'given' ? each.movement : each.movements));
  const reversals = booked.flatMap((each) => (each.kind === 'taken' ? each.reversal : []));
  const { rows: draws } = await tx.query<Omit<DrawState, 'isChanged'>>(
    `select movement, block, points, returned, cleared_at is not null or returned > 0 as "isCleared" from partner_draw
     where partner = $1 and movement = any($2)`,
    [partner, movements],
  );
  const { rows: blocks } = await tx.query<BlockRow>(
    `select ${blockColumns} from partner_block where partner = $1 and (drawn < points or block = any($2))`,
    [partner, draws.map(({ block }) => block)],
  );
  const { rows: returns } = await tx.query<Return>(
    'select reversal, movement, points from partner_draw_return where partner = $1 and reversal = any($2)',
    [partner, reversals],
  );
  const states = draws.map((draw) => ({ ...draw, isChanged: false }));
  return new Settling(blocks.map(blockOf), states, returns);
}

async function write(tx: pg.PoolClient, partner: number, settling: Settling): Promise<void> {
  const changed = settling.draws.filter(({ isChanged }) => isChanged);
  const [kept, gone] = [
    changed.filter(({ points }) => points > 0),
    changed.filter(({ points }) => points === 0),
  ];
  const moved = [...settling.drawn].filter(([, points]) => points !== 0);
  const { returns } = settling;
  const of = <T, V>(all: readonly T[], value: (each: T) => V) => all.map(value);
  if (moved.length > 0)
    await tx.query(
      `update partner_block b set drawn = b.drawn + d.points from unnest($1::bigint[], $2::bigint[]) d (block, points)
       where b.block = d.block`,
      [of(moved, ([block]) => block), of(moved, ([, points]) => points)],
    );
  if (kept.length > 0)
    await tx.query(
      `insert into partner_draw as p (partner, movement, block, points, returned, cleared_at)
       select $1, d.movement, d.block, d.points, d.returned, now()
       from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) d (movement, block, points, returned)
       on conflict (partner, movement, block) do update
         set points = excluded.points, returned = excluded.returned, cleared_at = coalesce(p.cleared_at, excluded.cleared_at)`,
      [
        ...[partner, of(kept, ({ movement }) => movement), of(kept, ({ block }) => block)],
        ...[of(kept, ({ points }) => points), of(kept, ({ returned }) => returned)],
      ],
    );
  if (gone.length > 0)
    await tx.query(
      `delete from partner_draw p using unnest($2::text[], $3::bigint[]) d (movement, block)
       where p.partner = $1 and p.movement = d.movement and p.block = d.block`,
      [partner, of(gone, ({ movement }) => movement), of(gone, ({ block }) => block)],
    );
  if (returns.length > 0)
    await tx.query(
      `insert into partner_draw_return (partner, reversal, movement, points)
       select $1, r.* from unnest($2::text[], $3::text[], $4::bigint[]) r`,
      [
        ...[partner, of(returns, ({ reversal }) => reversal), of(returns, ({ movement }) => movement)],
        of(returns, ({ points }) => points),
      ],
    );
}

/** Settles what the books have of a partner, in their order; answers of each how many points blocks have paid for. */
export async function settleDraws(
  tx: pg.PoolClient,
  partner: number,
  booked: readonly Booked[],
): Promise<number[]> {
  const settling = await read(tx, partner, booked);
  const paid = booked.map((each) => settling.settle(each));
  await write(tx, partner, settling);
  return paid;
}
