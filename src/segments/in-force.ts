/**
 * Which segments rules see. A judged member is remembered by the run in force, so a run that ends changes no version of facts,
 * calls no script and forgets nothing else that is remembered.
 */
import type pg from 'pg';
import type { EpochMs, MemberNumber } from '#src/values.ts';

/** Segments of members as of runs, in the order of their names; `run` undefined: as long as no run has ended. */
export async function segmentsAsOf(
  pool: pg.Pool,
  questions: readonly { readonly member: MemberNumber; readonly run: number | undefined }[],
): Promise<string[][]> {
  const asked = questions.flatMap(({ member, run }, index) =>
    run === undefined ? [] : [{ index, member, run }],
  );
  const answers: string[][] = questions.map(() => []);
  if (asked.length === 0) return answers;
  const { rows } = await pool.query<{ index: number; segment: string }>({
    name: 'segments-as-of',
    text: `select q.index, s.segment from unnest($1::int[], $2::bigint[], $3::bigint[]) as q(index, member, run)
      join member_segment s on s.member = q.member and s.from_run <= q.run and (s.until_run is null or s.until_run > q.run)
      order by s.segment`,
    values: [asked.map(({ index }) => index), asked.map(({ member }) => member), asked.map(({ run }) => run)],
  });
  for (const { index, segment } of rows) answers[index]!.push(segment);
  return answers;
}

/** A run and from when on it was in force, by the clock of the program. */
export interface RunInForce {
  readonly run: number;
  readonly from: EpochMs;
}

/** All finished runs of a program through one of them, oldest first. */
export async function runsThrough(pool: pg.Pool, program: number, run: number): Promise<RunInForce[]> {
  const { rows } = await pool.query<RunInForce>({
    name: 'segment-runs-through',
    text: `select run, in_force_from as "from" from segment_run
      where program = $1 and run <= $2 and in_force_from is not null order by run`,
    values: [program, run],
  });
  return rows;
}
