/** What is known of a member as a buyer, and which segments it is and was in. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { readFacts } from './facts-table.ts';
import { runInForce, segmentsOfVersion } from './runs.ts';
import { type Facts, factsOf } from './scores.ts';

interface HistoryRow {
  readonly segment: string;
  readonly from_day: number;
  readonly until_day: number | null;
}

const historyMax = 200;

/** Memberships as runs that are done have them: those that hold before those that have ended, each newest first. */
const historyQuery = `
  select s.segment, b.through_day as from_day, e.through_day as until_day
  from member_segment s join segment_run b on b.run = s.from_run and b.status = 'done'
    left join segment_run e on e.run = s.until_run and e.status = 'done'
  where s.member = $1 order by (e.run is null) desc, s.from_run desc, s.segment limit $2`;

const date = (day: number) => calendarDayOf(day).date;

/** Facts as people read them: percents and purchases with two decimals, amounts whole. */
export function roundedFacts(facts: Facts): Facts {
  const places: Readonly<Record<string, number>> = { expected_value: 0 };
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === 'number' ? Number(value.toFixed(places[name] ?? 2)) : value,
    ]),
  );
}

/** A member as a buyer; without facts where it never bought, without a run where none has ended. */
export async function buyerView(
  pool: pg.Pool,
  program: Program,
  member: MemberNumber,
): Promise<Record<string, unknown>> {
  const run = await runInForce(pool, program.number);
  const segments = run && segmentsOfVersion(program, run.version);
  const { rows } = await pool.query<HistoryRow>({
    name: 'member-segment-history',
    text: historyQuery,
    values: [member, historyMax],
  });
  const [measured] =
    run && segments ? await readFacts(pool, run.run, { after: member - 1, last: member }) : [];
  const facts =
    measured && run?.cuts && segments ? factsOf(measured, run.cuts, segments, run.throughDay) : undefined;
  return {
    ...(run ? { through: date(run.throughDay), programVersion: run.version } : {}),
    segments: rows
      .filter((row) => row.until_day === null)
      .map(({ segment, from_day: from }) => ({ name: segment, since: date(from) })),
    ...(facts ? { facts: roundedFacts(facts) } : {}),
    history: rows
      .filter((row) => row.until_day !== null)
      .map(({ segment, from_day: from, until_day: until }) => ({
        name: segment,
        since: date(from),
        until: date(until!),
      })),
  };
}

export async function memberSegments(
  pool: pg.Pool,
  program: Program,
  member: MemberNumber,
): Promise<Record<string, unknown>> {
  return {
    object: 'memberSegments',
    member: memberId(member),
    mode: program.mode,
    ...(await buyerView(pool, program, member)),
  };
}
