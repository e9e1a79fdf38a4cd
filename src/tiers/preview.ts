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
import { type Person, readStandings } from './store.ts';

export interface PreviewPage {
  /** Who was looked at. */
  readonly members: number;
  readonly moves: readonly Moved[];
  /** Whose tier would move. */
  readonly moving: readonly Reviewed[];
  /** Where the next page begins; undefined at the end. */
  readonly next: MemberNumber | undefined;
  /** As whom PostgreSQL let it read. */
  readonly role: string;
}

/** The role of a preview: it may read what a review looks at, and nothing else. */
const readerRole = 'loyalty_reader';

/**
 * Why previews cannot run as the role that may only read; undefined where they can. Installations whose user may not make roles go
 * without it: the database transaction writes nothing all the same.
 */
export async function readerFault(pool: pg.Pool): Promise<string | undefined> {
  const { rows } = await pool.query<{ isThere: boolean; isOurs: boolean; mayRead: boolean; user: string }>(
    `select r.oid is not null as "isThere", coalesce(pg_has_role(current_user, r.oid, 'member'), false) as "isOurs",
       coalesce(has_table_privilege(r.oid, 'tier_standing', 'select'), false) as "mayRead", current_user as user
     from (select) one left join pg_roles r on r.rolname = $1`,
    [readerRole],
  );
  const { isThere, isOurs, mayRead, user } = rows[0]!;
  if (!isThere) return `there is no role ${readerRole}`;
  if (!isOurs) return `${user} may not become ${readerRole}: grant ${readerRole} to "${user}"`;
  return mayRead ? undefined : `${readerRole} may not read the tables of this database`;
}

/** Runs `work` on one snapshot of a database transaction that can write nothing, as the role that may not either. */
export async function asReader<Answer>(
  pool: pg.Pool,
  work: (tx: pg.ClientBase, role: string) => Promise<Answer>,
): Promise<Answer> {
  const isAlone = (await readerFault(pool)) !== undefined;
  const tx = await pool.connect();
  try {
    await tx.query('begin isolation level repeatable read read only');
    if (!isAlone) await tx.query(`set local role ${readerRole}`);
    const { rows } = await tx.query<{ role: string }>('select current_user as role');
    return await work(tx, rows[0]!.role);
  } finally {
    // Nothing was written, and snapshot and role end with the connection.
    tx.release(true);
  }
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
  /** Ends the page with the member that is the last of so many who move. */
  readonly movingMax: number;
  /** So many of them are answered; absent: all of the page. */
  readonly movingKept?: number;
  /** Ends the page when so many chunks were read. */
  readonly chunksMax: number;
  readonly chunkMembers?: number;
}

/** Of a chunk, the members up to the one whose move is the last that the page may have. */
function cut(
  people: readonly Person[],
  found: readonly Reviewed[],
  room: number,
): { readonly people: readonly Person[]; readonly found: readonly Reviewed[]; readonly last?: MemberNumber } {
  const moving = [...new Set(found.map(({ member }) => member))];
  const last = moving[room - 1];
  if (last === undefined || last === people.at(-1)?.member) return { people, found };
  return {
    people: people.filter(({ member }) => member <= last),
    found: found.filter(({ member }) => member <= last),
    last,
  };
}

/** Looks at members after a number. */
export async function preview(
  pool: pg.Pool,
  reviewing: Reviewing,
  bounds: PreviewBounds,
): Promise<PreviewPage> {
  return asReader(pool, async (tx, role) => {
    const moving: Reviewed[] = [];
    let [members, count, moves]: [number, number, Moved[]] = [0, 0, []];
    const { movingKept: kept = Number.POSITIVE_INFINITY } = bounds;
    let after = bounds.after ?? 0;
    for (let chunk = 0; chunk < bounds.chunksMax; chunk += 1) {
      const next = await nextChunk(tx, reviewing.program.number, after, bounds.chunkMembers);
      const numbers = next.people.map(({ member }) => member);
      const stored = await readStandings(tx, numbers, { lock: false });
      const inherited = await readInheritances(tx, numbers, { lock: false });
      const reviews = await reviewPeople(tx, withInheritances(reviewing, inherited), next.people, stored);
      const { people, found, last } = cut(next.people, reviews.filter(isMoving), bounds.movingMax - count);
      members += people.length;
      moves = movedAlso(moves, found);
      count += new Set(found.map(({ member }) => member)).size;
      moving.push(...found.slice(0, Math.max(0, kept - moving.length)));
      after = last ?? next.through;
      if (last === undefined && next.isLast) return { members, moves, moving, next: undefined, role };
      if (count >= bounds.movingMax) break;
    }
    return { members, moves, moving, next: after as MemberNumber, role };
  });
}
