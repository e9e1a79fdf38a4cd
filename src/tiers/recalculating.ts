/**
 * Recalculations: every member of a program is looked at, in the order of their numbers, some thousand at a time. How far a
 * run is moves in the commit that holds what was found up to there, so a process that is killed loses the members in hand
 * and repeats none; its row is locked meanwhile, so one process works on a run and the others pass by.
 *
 * A run is for a day of the program's zone and for the ladders of a version, and is worked on by whoever goes by both. There is
 * one for each, and another one whenever somebody asks for it and none is under way. Where the next one begins before it is
 * through, it is overtaken: what is left is in the next one's way anyhow. A process that has not heard of the newest day or
 * version overtakes nobody.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { applyReviews } from './applying.ts';
import { dayOf } from './days.ts';
import { readInheritances, withInheritances } from './inheriting.ts';
import type { Day } from './ladder/types.ts';
import { laddersAt } from './ladders.ts';
import { type Reviewed, type Reviewing, reviewPeople } from './reviewing.ts';
import { type Db, type Person, readStandings } from './store.ts';

/** What made somebody begin a run. */
export type Occasion = 'night' | 'version' | 'demand';

export interface Run {
  readonly run: number;
  readonly program: number;
  readonly day: Day;
  readonly version: number;
  readonly occasion: Occasion;
  readonly status: 'running' | 'done' | 'overtaken';
  readonly throughMember: MemberNumber;
  readonly members: number;
  readonly changes: number;
  readonly warnings: number;
  readonly moves: readonly Moved[];
  readonly startedAt: Date;
  readonly endedAt: Date | null;
}

/** How many moved from one tier to another. */
export type Moved = readonly [ladder: string, from: string, to: string, members: number];

const runColumns = `run, program, day, version, occasion, status, through_member as "throughMember", members, changes,
  warnings, moves, started_at as "startedAt", ended_at as "endedAt"`;

/** How a program is looked at now. */
export function reviewingOf(program: Program, now: EpochMs = programNow(program)): Reviewing {
  return { program, ladders: laddersAt(program, now), now };
}

/** Where a run of that day and version, or of later ones, stands in the way of another; `$1` to `$3` are program, day and version. */
const newerRuns = 'select from tier_run t where t.program = $1 and (t.day, t.version) > ($2::int, $3::int)';
const sameRuns = 'select from tier_run t where t.program = $1 and t.day = $2::int and t.version = $3::int';

/** Begins one unless there was one; it is the first of its day, or comes with a version. */
const dueRun = `insert into tier_run (program, day, version, occasion)
  select $1::int, $2::int, $3::int, case when exists (select from tier_run t where t.program = $1 and t.day = $2::int
    and t.occasion <> 'demand') then 'version' else 'night' end
  where not exists (${newerRuns}) on conflict do nothing returning ${runColumns}`;
const askedRun = `insert into tier_run (program, day, version, occasion) select $1::int, $2::int, $3::int, 'demand'
  where not exists (${newerRuns}) and not exists (${sameRuns} and t.status = 'running') returning ${runColumns}`;

/**
 * Begins the run of today with the ladders of today, and overtakes older ones; undefined where it was begun before. On demand
 * there is a new one unless the same is under way.
 */
export async function beginRun(
  pool: pg.Pool,
  program: Program,
  occasion: 'due' | 'demand' = 'due',
): Promise<Run | undefined> {
  const { ladders, now } = reviewingOf(program);
  const key = [program.number, dayOf(now, program.timeZone), ladders.version];
  return inTransaction(pool, async (tx) => {
    // Two who ask at once make one.
    await tx.query('select from program where number = $1 for no key update', [program.number]);
    const { rows } = await tx.query<Run>(occasion === 'demand' ? askedRun : dueRun, key);
    const run = rows[0];
    if (!run) return undefined;
    await tx.query(
      `update tier_run set status = 'overtaken', ended_at = now() where program = $1 and status = 'running' and run <> $2`,
      [program.number, run.run],
    );
    return run;
  });
}

/** Members that a chunk goes over: those that are looked at come in one piece, and lie between two numbers. */
export const chunkMembersMax = 5_000;

interface Chunk {
  readonly people: readonly Person[];
  /** All members up to it are in the chunk or have nothing that a ladder could look at. */
  readonly through: MemberNumber;
  readonly isLast: boolean;
}

/**
 * The next members by number. Who has neither done anything nor stands anywhere is where everybody begins, and is left out
 * by PostgreSQL.
 */
export async function nextChunk(
  db: Db,
  program: number,
  after: number,
  limit = chunkMembersMax,
): Promise<Chunk> {
  const { rows } = await db.query<{
    member: MemberNumber | null;
    joined: EpochMs;
    through: MemberNumber;
    rows: number;
  }>({
    name: 'tier-chunk',
    text: `with chunk as materialized (
        select number, joined_at, status from member where program = $1 and number > $2 order by number limit $3)
      select m.number as member, (extract(epoch from m.joined_at) * 1000)::bigint as joined, c.through, c.rows
      from (select max(number) as through, count(*)::int as rows from chunk) c
      left join chunk m on m.status in ('active', 'suspended')
        and (exists (select from diary_day d where d.member = m.number)
          or exists (select from diary_points p where p.member = m.number)
          or exists (select from tier_standing s where s.member = m.number)
          or exists (select from member g join tier_standing s on s.member = g.number where g.merged_into = m.number))
      order by m.number`,
    values: [program, after, limit],
  });
  const { through, rows: size } = rows[0]!;
  const people = rows.flatMap(({ member, joined }) =>
    member === null ? [] : [{ member, joinedAt: joined }],
  );
  return { people, through: through ?? (after as MemberNumber), isLast: size < limit };
}

/** Adds what reviews moved to what was moved before. */
export function movedAlso(moved: readonly Moved[], reviews: readonly Reviewed[]): Moved[] {
  const counts = new Map(
    moved.map(([ladder, from, to, members]) => [JSON.stringify([ladder, from, to]), members]),
  );
  for (const { ladder, moves } of reviews) {
    for (const { from, to } of moves) {
      if (from === to) continue;
      const key = JSON.stringify([ladder, from, to]);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return [...counts].map(([key, members]) => {
    const [ladder, from, to] = JSON.parse(key) as [string, string, string];
    return [ladder, from, to, members];
  });
}

async function lockRun(tx: pg.ClientBase, program: number): Promise<Run | undefined> {
  const { rows } = await tx.query<Run>(
    `select ${runColumns} from tier_run where program = $1 and status = 'running' order by run limit 1 for update skip locked`,
    [program],
  );
  return rows[0];
}

/** Whether this process goes by the day and the ladders that a run is for: it may not have heard of them, or know later ones. */
function isFor({ day, version }: Run, { program, ladders, now }: Reviewing): boolean {
  return version === ladders.version && day === dayOf(now, program.timeZone);
}

/**
 * Works on a chunk of a program's open run; undefined where there is none, another process has it in hand, or it is for a day or
 * for ladders that this process does not go by.
 */
export function workOnRun(
  pool: pg.Pool,
  program: Program,
  failed?: Reviewing['failed'],
): Promise<Run | undefined> {
  return inTransaction(pool, async (tx) => {
    const run = await lockRun(tx, program.number);
    const reviewing = { ...reviewingOf(program), ...(failed ? { failed } : {}) };
    if (!run || !isFor(run, reviewing)) return undefined;
    const { people, through, isLast } = await nextChunk(tx, program.number, run.throughMember);
    const members = people.map(({ member }) => member);
    // Most have nothing new: they are looked at without a lock, and the others once more with one.
    const stored = await readStandings(tx, members, { lock: false });
    const inherited = await readInheritances(tx, members, { lock: false });
    const found = await reviewPeople(tx, withInheritances(reviewing, inherited), people, stored);
    const moving = new Set(found.map(({ member }) => member));
    const { reviews, warnings } = await applyReviews(
      tx,
      reviewing,
      people.filter(({ member }) => moving.has(member)),
      run.run,
    );
    const changes = reviews.reduce((sum, { moves }) => sum + moves.length, 0);
    const { rows } = await tx.query<Run>(
      `update tier_run set through_member = $2, members = members + $3, changes = changes + $4, warnings = warnings + $5, moves = $6,
         status = $7, ended_at = case when $7 = 'done' then clock_timestamp() end where run = $1 returning ${runColumns}`,
      [
        run.run,
        through,
        people.length,
        changes,
        warnings,
        JSON.stringify(movedAlso(run.moves, reviews)),
        isLast ? 'done' : 'running',
      ],
    );
    return rows[0]!;
  });
}

/** Runs of a program, newest first. */
export async function readRuns(pool: pg.Pool, program: number, limit: number): Promise<Run[]> {
  const { rows } = await pool.query<Run>(
    `select ${runColumns} from tier_run where program = $1 order by run desc limit $2`,
    [program, limit],
  );
  return rows;
}

/** What waits: for how long the oldest change has not become known, in real time, and runs that are under way. */
export async function openTierWork(pool: pg.Pool): Promise<{ silentMs: number; openRuns: number }> {
  const { rows } = await pool.query<{ silentMs: number; openRuns: number }>(
    `select coalesce((select (extract(epoch from clock_timestamp() - made_at) * 1000)::bigint from tier_change
         where is_move and facts is null order by recorded_at, change limit 1), 0) as "silentMs",
       (select count(*)::int from tier_run where status = 'running') as "openRuns"`,
  );
  return rows[0]!;
}
