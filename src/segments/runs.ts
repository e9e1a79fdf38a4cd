/**
 * Runs: which days of a program are to be measured, how far each run is, and what it found.
 *
 * A run is named by the program, the day through which it counts and the version of the program's file; there is never a second
 * one of that name. Days are measured in their order: what was decided of a later day is not decided again of an earlier one.
 */

import type pg from 'pg';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import { type Program, presentVersion, programNow } from '#src/earning/program.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { epochMsOf } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { Models, NoModels } from './fit.ts';
import type { Cuts } from './scores.ts';
import type { Tally } from './tally.ts';

export type RunStatus = 'fitting' | 'counting' | 'cutting' | 'deciding' | 'done';

export interface Run {
  readonly run: number;
  readonly program: number;
  readonly throughDay: number;
  readonly version: number;
  readonly status: RunStatus;
  readonly memberThrough: number;
  readonly membersBefore: number;
  readonly members: number;
  readonly models: Models | NoModels | null;
  readonly cuts: Cuts | null;
  readonly tally: Tally;
  readonly entered: number;
  readonly gone: number;
  readonly alerts: number;
  readonly plannedAt: EpochMs;
  readonly endedAt: EpochMs | null;
  readonly inForceFrom: EpochMs | null;
}

export const runColumns = `r.run, r.program, r.through_day as "throughDay", r.version, r.status, r.member_through as "memberThrough",
  r.members_before as "membersBefore", r.members, r.models, r.cuts, r.tally, r.entered, r.gone, r.alerts,
  ${epochMsOf('r.planned_at')} as "plannedAt", ${epochMsOf('r.ended_at')} as "endedAt", r.in_force_from as "inForceFrom"`;

/** What a version says of segments; undefined where it says nothing or is not known here yet. */
export function segmentsOfVersion(program: Program, version: number): Segments | undefined {
  return program.versions.find((each) => each.version === version)?.definition.segments;
}

/** The last day of a program that has ended. */
export function lastWholeDay(program: Program, now: EpochMs = programNow(program)): number {
  return momentOf(now, program.timeZone).dayNumber - 1;
}

/** Whether the time of day has come from which the last whole day may be measured. */
export function isTimeToRun(
  program: Program,
  { runAt }: Segments,
  now: EpochMs = programNow(program),
): boolean {
  const [hours = 0, minutes = 0] = runAt.split(':').map(Number);
  return momentOf(now, program.timeZone).minuteOfDay >= hours * 60 + minutes;
}

/**
 * Makes the run of the last whole day, where the file in force has segments and nothing later was measured; true where there was
 * none of that name. While another run of the program is under way there is none either: that one ends first.
 */
export async function planRun(pool: pg.Pool, program: Program): Promise<boolean> {
  const { version, definition } = presentVersion(program);
  if (!definition.segments) return false;
  const { rowCount } = await pool.query(
    `insert into segment_run (program, through_day, version, members_before)
     select $1, $2::int, $3::int, (select count(*) from member where program = $1)
     where not exists (select from segment_run r where r.program = $1 and (r.status <> 'done' or r.through_day > $2::int
       or (r.through_day = $2::int and r.version >= $3::int)))
     on conflict do nothing`,
    [program.number, lastWholeDay(program), version],
  );
  return rowCount === 1;
}

/** The newest run of a program, under way or done. */
export async function newestRun(pool: pg.Pool, program: number): Promise<Run | undefined> {
  const { rows } = await pool.query<Run>(
    `select ${runColumns} from segment_run r where r.program = $1 order by r.run desc limit 1`,
    [program],
  );
  return rows[0];
}

/** The run by which rules judge at the moment. */
export async function runInForce(pool: pg.Pool, program: number): Promise<Run | undefined> {
  const { rows } = await pool.query<Run>(
    `select ${runColumns} from program p join segment_run r on r.run = p.segment_run where p.number = $1`,
    [program],
  );
  return rows[0];
}

/** The newest runs of a program, newest first. */
export async function runsOf(pool: pg.Pool, program: number, limit: number): Promise<Run[]> {
  const { rows } = await pool.query<Run>(
    `select ${runColumns} from segment_run r where r.program = $1 order by r.run desc limit $2`,
    [program, limit],
  );
  return rows;
}
