/** Runs as people see them: how far each is, what it gave, and the pausing and resuming of them. */

import type pg from 'pg';
import { epochMsOf } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import type { Program } from '../program.ts';

interface RunRow {
  readonly run: number;
  readonly promotion: string;
  readonly occurrence: string;
  readonly version: number;
  readonly due_at: EpochMs;
  readonly status: 'planned' | 'running' | 'paused' | 'done';
  readonly points: number;
  readonly currency: string;
  readonly planned_at: EpochMs;
  readonly ended_at: EpochMs | null;
  readonly chunks: number;
  readonly chunks_done: number;
  readonly attempts: number;
  readonly members: number;
  readonly given: number;
  readonly refused: Readonly<Record<string, number>> | null;
  readonly last_error: string | null;
}

const runsQuery = `
  select r.run, r.promotion, r.occurrence::text, r.version, r.due_at, r.status, r.points, r.currency,
    ${epochMsOf('r.planned_at')} as planned_at, ${epochMsOf('r.ended_at')} as ended_at, c.*,
    (select json_object_agg(word, members) from (
      select word, sum(count::int)::int as members from give_chunk k, json_each_text(k.refused) as w(word, count)
      where k.run = r.run group by word order by word) words) as refused,
    (select k.last_error from give_chunk k where k.run = r.run and k.last_error is not null order by k.not_before desc nulls last limit 1) as last_error
  from give_run r cross join lateral (
    select count(*)::int as chunks, count(*) filter (where status = 'done')::int as chunks_done,
      coalesce(sum(attempts), 0)::int as attempts, coalesce(sum(member_count), 0)::bigint as members, coalesce(sum(given), 0)::bigint as given
    from give_chunk k where k.run = r.run) c
  where r.program = $1`;

/** Words for what is still open; what a run has given is exact for its chunks that are done. */
function runView(program: Program, row: RunRow): Record<string, unknown> {
  const refused = row.refused ?? {};
  const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  return {
    object: 'giveRun',
    id: String(row.run),
    mode: program.mode,
    promotion: row.promotion,
    occurrence: row.occurrence,
    programVersion: row.version,
    status: row.status,
    dueAt: new Date(row.due_at).toISOString(),
    plannedAt: new Date(row.planned_at).toISOString(),
    ...(row.ended_at === null ? {} : { endedAt: new Date(row.ended_at).toISOString() }),
    members: row.members,
    given: row.given,
    refused,
    open: row.members - row.given - refusals,
    currency: row.currency,
    pointsEach: row.points,
    points: row.given * row.points,
    chunks: { total: row.chunks, done: row.chunks_done, attempts: row.attempts },
    ...(row.last_error === null ? {} : { lastError: row.last_error }),
  };
}

/** The newest runs of a program, those below `before` where it is given. */
export async function readRuns(
  pool: pg.Pool,
  program: Program,
  limit: number,
  before: number | undefined,
): Promise<Record<string, unknown>[]> {
  const { rows } = await pool.query<RunRow>(
    `${runsQuery} and ($2::bigint is null or r.run < $2) order by r.run desc limit $3`,
    [program.number, before ?? null, limit],
  );
  return rows.map((row) => runView(program, row));
}

export async function readRun(
  pool: pg.Pool,
  program: Program,
  run: number,
): Promise<Record<string, unknown> | undefined> {
  const { rows } = await pool.query<RunRow>(`${runsQuery} and r.run = $2`, [program.number, run]);
  return rows[0] && runView(program, rows[0]);
}

/** Workers end the page of members that they are at. A run that is done stays done. */
export async function pauseRun(pool: pg.Pool, program: Program, run: number): Promise<void> {
  await pool.query(
    `update give_run set status = 'paused' where program = $1 and run = $2 and status in ('planned', 'running')`,
    [program.number, run],
  );
}

/** What was paused before its members were selected has them selected now. */
export async function resumeRun(pool: pg.Pool, program: Program, run: number): Promise<void> {
  await pool.query(
    `update give_run set status = case when selected_at is null then 'planned' else 'running' end
     where program = $1 and run = $2 and status = 'paused'`,
    [program.number, run],
  );
}

/** Months of birth of those members who have one, for points that end with it. */
export async function birthMonthsOf(
  pool: pg.Pool,
  members: readonly MemberNumber[],
): Promise<Map<MemberNumber, number>> {
  const { rows } = await pool.query<{ number: MemberNumber; month: number }>({
    name: 'birth-months',
    text: 'select number, birth_day / 100 as month from member where number = any($1::bigint[]) and birth_day > 0',
    values: [members],
  });
  return new Map(rows.map(({ number, month }) => [number, month]));
}

/** How many runs are in each state, and since when (the program's clock) the oldest open chunk has been due. */
export async function openRuns(
  pool: pg.Pool,
): Promise<{ program: number; status: string; runs: number; due_at: EpochMs | null }[]> {
  const { rows } = await pool.query<{
    program: number;
    status: string;
    runs: number;
    due_at: EpochMs | null;
  }>(
    `select r.program, r.status, count(*)::int as runs,
       min(coalesce((select min(c.due_at) from give_chunk c where c.run = r.run and c.status <> 'done'), r.due_at)) as due_at
     from give_run r where r.status <> 'done' group by r.program, r.status`,
  );
  return rows;
}
