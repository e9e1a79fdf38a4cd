/**
 * Who would move if everybody were looked at now, from where to where and why: the reviews of a recalculation in a database
 * transaction that PostgreSQL lets write nothing, on one snapshot. With a draft's ladders it is the run that would follow
 * that version.
 */
import type pg from 'pg';
import type { Program, ProgramVersion } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import type { MemberNumber } from '#src/values.ts';
import { readInheritances, withInheritances } from './inheriting.ts';
import { laddersAt, laddersOfVersion } from './ladders.ts';
import { type Moved, movedAlso, nextChunk } from './recalculating.ts';
import { type Reviewed, type Reviewing, reviewPeople } from './reviewing.ts';
import { readStandings } from './store.ts';

export interface PreviewPage {
  /** Who was looked at. */
  readonly members: number;
  readonly moves: readonly Moved[];
  /** Whose tier would move. */
  readonly moving: readonly Reviewed[];
  /** Where the next page begins; undefined at the end. */
  readonly next: MemberNumber | undefined;
}

/** The role of a preview: it may read and nothing else. Installations that may not make roles go without it. */
const readerRole = 'loyalty_reader';

async function begin(tx: pg.ClientBase): Promise<void> {
  await tx.query('begin isolation level repeatable read read only');
  await tx.query('savepoint as_reader');
  const asReader = tx.query(`set local role ${readerRole}`).then(async () => {
    const { rows } = await tx.query<{ may: boolean }>(
      `select has_table_privilege('tier_standing', 'SELECT') as may`,
    );
    if (!rows[0]?.may) throw new Error('the role belongs to another database');
  });
  await asReader.catch(() => tx.query('rollback to savepoint as_reader'));
}

/** How members are looked at: by the ladders in force, or by those of a version that nobody has applied. */
export function previewingOf(program: Program, draft?: ProgramVersion): Reviewing {
  const now = programNow(program);
  const ladders = draft
    ? laddersOfVersion({ versions: [...program.versions, draft] }, draft)
    : laddersAt(program, now);
  return { program, ladders, now };
}

function isMoving({ before, tier, moves }: Reviewed): boolean {
  return moves.some(({ from, to }) => from !== to) || (before !== undefined && before.tier !== tier);
}

export interface PreviewBounds {
  readonly after?: number;
  /** Ends the page when so many are moving. */
  readonly movingMax: number;
  /** So many of them are answered; absent: all of the page. */
  readonly movingKept?: number;
  /** Ends the page when so many chunks were read. */
  readonly chunksMax: number;
  readonly chunkMembers?: number;
}

/** Looks at members after a number. */
export async function preview(
  pool: pg.Pool,
  reviewing: Reviewing,
  bounds: PreviewBounds,
): Promise<PreviewPage> {
  const tx = await pool.connect();
  try {
    await begin(tx);
    const moving: Reviewed[] = [];
    let [members, count, moves]: [number, number, Moved[]] = [0, 0, []];
    const kept = bounds.movingKept ?? Number.POSITIVE_INFINITY;
    let after = bounds.after ?? 0;
    for (let chunk = 0; chunk < bounds.chunksMax; chunk += 1) {
      const { people, through, isLast } = await nextChunk(
        tx,
        reviewing.program.number,
        after,
        bounds.chunkMembers,
      );
      const numbers = people.map(({ member }) => member);
      const stored = await readStandings(tx, numbers, { lock: false });
      const inherited = await readInheritances(tx, numbers, { lock: false });
      const reviews = await reviewPeople(tx, withInheritances(reviewing, inherited), people, stored);
      const found = reviews.filter(isMoving);
      members += people.length;
      moves = movedAlso(moves, found);
      count += found.length;
      moving.push(...found.slice(0, Math.max(0, kept - moving.length)));
      after = through;
      if (isLast) return { members, moves, moving, next: undefined };
      if (count >= bounds.movingMax) break;
    }
    return { members, moves, moving, next: after as MemberNumber };
  } finally {
    // Nothing was written, and the snapshot ends with its connection.
    tx.release(true);
  }
}
