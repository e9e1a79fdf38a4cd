/**
 * From a promotion to its runs, and from a run to the members who are meant.
 *
 * What is due follows from the program's versions and from how far they were planned, so a time in which nobody planned is
 * made up for: every missed occurrence of the last 31 days becomes a run, once. A program is planned from the moment in
 * which it is first seen: it owes nothing for days before.
 *
 * Members are selected once, when a run becomes due: who was a member when it did and is active now. The selection is kept in
 * pieces (`give_chunk`), so that a run is for the same members however often and by whomever it is worked on, and its report
 * is exact.
 */
import type pg from 'pg';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { type Program, programNow } from '../program.ts';
import { dayMs, minuteMs } from '../rules/calendar.ts';
import {
  catchUpMsMax,
  type GivingDay,
  type GivingPromotion,
  givingDaysDue,
  givingPromotions,
  type Whose,
  whoseDay,
} from './days.ts';

export const chunkMembersMax = 4_096;
const cohortsMax = 200;
/** A version may take effect a minute in the past; what it gives then was not there to be planned in time. */
const overlapMs = 120_000;
/** How far a program was planned is noted no oftener than this, where nothing was due. */
const notedEveryMs = 60_000;
/** Selecting ten million members takes PostgreSQL some fifteen seconds. */
const selectingMsMax = 600_000;
const selecting = { query_timeout: selectingMsMax } as const;

async function insertRuns(tx: pg.PoolClient, program: Program, days: readonly GivingDay[]): Promise<number> {
  const { rowCount } = await tx.query(
    `insert into give_run (program, promotion, occurrence, version, due_at, points, currency)
     select $1::int, * from unnest($2::text[], $3::date[], $4::int[], $5::bigint[], $6::bigint[], $7::text[])
     on conflict (program, promotion, occurrence) do nothing`,
    [
      program.number,
      days.map(({ promotion }) => promotion.name),
      days.map(({ occurrence }) => occurrence),
      days.map(({ version }) => version),
      days.map(({ dueAt }) => dueAt),
      days.map(({ promotion }) => promotion.give.points),
      days.map(({ promotion }) => promotion.currency),
    ],
  );
  return rowCount ?? 0;
}

/** Makes runs of what has become due in a program since it was planned last; answers how many. */
export async function planRuns(pool: pg.Pool, program: Program): Promise<number> {
  const now = programNow(program);
  return inTransaction(pool, async (tx) => {
    await tx.query(
      'insert into give_plan (program, planned_through) values ($1, $2) on conflict (program) do nothing',
      [program.number, now],
    );
    const { rows } = await tx.query<{ planned_through: EpochMs }>(
      'select planned_through from give_plan where program = $1 for update',
      [program.number],
    );
    const through = rows[0]!.planned_through;
    if (through >= now) return 0;
    const days = givingDaysDue(program, Math.max(through - overlapMs, now - catchUpMsMax), now);
    const planned = days.length === 0 ? 0 : await insertRuns(tx, program, days);
    if (planned === 0 && now - through < notedEveryMs) return 0;
    await tx.query('update give_plan set planned_through = $2 where program = $1', [program.number, now]);
    return planned;
  });
}

export interface PlannedRun {
  readonly run: number;
  readonly promotion: GivingPromotion;
  readonly occurrence: string;
  readonly dueAt: EpochMs;
}

interface PlannedRow {
  run: number;
  promotion: string;
  occurrence: string;
  version: number;
  due_at: EpochMs;
}

/** The promotion that a run was planned for, as its version has it. */
export function promotionOf(program: Program, version: number, name: string): GivingPromotion | undefined {
  const found = program.versions.find((each) => each.version === version);
  return found && givingPromotions(found).find((promotion) => promotion.name === name);
}

/** Runs of a program whose members have not been selected. */
export async function plannedRuns(pool: pg.Pool, program: Program): Promise<PlannedRun[]> {
  const { rows } = await pool.query<PlannedRow>(
    `select run, promotion, occurrence::text, version, due_at from give_run
     where program = $1 and status = 'planned' order by due_at, run limit 100`,
    [program.number],
  );
  return rows.flatMap((row) => {
    // A version that this process has not read yet: the next round knows it.
    const promotion = promotionOf(program, row.version, row.promotion);
    const { run, occurrence, due_at: dueAt } = row;
    return promotion ? [{ run, promotion, occurrence, dueAt }] : [];
  });
}

interface Source {
  readonly from: string;
  readonly values: readonly unknown[];
}

/** Where those who are meant are read from; `$1` is the program, `$2` when the giving begins. */
function sourceOf(whose: Whose): Source {
  const instants = (times: readonly EpochMs[]) => times.map((at) => new Date(at).toISOString());
  switch (whose.who) {
    case 'everybody':
      return { from: 'member m where m.program = $1', values: [] };
    case 'born':
      return {
        from: 'member m where m.program = $1 and m.birth_day = any($3::smallint[])',
        values: [whose.days],
      };
    case 'joined':
      // Each year's day is looked for by itself; as a condition on all members it would be a look at every one of them.
      return {
        from: `unnest($3::timestamptz[], $4::timestamptz[]) as day(since, until) cross join lateral
          (select * from member n where n.program = $1 and n.joined_at >= day.since and n.joined_at < day.until offset 0) m where true`,
        values: [
          instants(whose.spans.map(({ start }) => start)),
          instants(whose.spans.map(({ end }) => end)),
        ],
      };
    default:
      return whose satisfies never;
  }
}

/** Ladders whose first tier is named: who has no row there stands on it. */
function laddersBegunBy({ definition }: Program, tiers: readonly string[]): string[] {
  return definition.ladders.filter((ladder) => tiers.includes(ladder.tiers[0]!.name)).map(({ name }) => name);
}

/** Whether a member has one of some tiers when the members are selected; two parameters behind `before` others. */
function standsOn(before: number): string {
  return `(exists (select from tier_standing s where s.member = m.number and s.tier = any($${before + 1}::text[]))
    or exists (select from unnest($${before + 2}::text[]) l (ladder)
      where not exists (select from tier_standing s where s.member = m.number and s.ladder = l.ladder)))`;
}

/** Whether a member is in one of some segments as of a run; two parameters behind `before` others. */
function isInOneOf(before: number): string {
  return `exists (select from member_segment g where g.member = m.number and g.segment = any($${before + 1}::text[])
    and g.from_run <= $${before + 2}::bigint and (g.until_run is null or g.until_run > $${before + 2}::bigint))`;
}

/** How many members a chunk has, and how much later each begins than the one before. */
export function chunksOf(members: number, spreadMinutes: number): { size: number; everyMs: number } {
  if (spreadMinutes === 0 || members === 0) return { size: chunkMembersMax, everyMs: 0 };
  const cohorts = Math.min(spreadMinutes, cohortsMax);
  const size = Math.min(chunkMembersMax, Math.ceil(members / cohorts));
  return { size, everyMs: Math.floor((spreadMinutes * minuteMs) / Math.ceil(members / size)) };
}

async function insertChunks(tx: pg.PoolClient, program: Program, run: PlannedRun): Promise<number> {
  const whose = whoseDay(run, program.timeZone);
  const { tiers, segments } = run.promotion;
  // Before the first run of segments has ended nobody is in one.
  if (!whose || (segments && program.segmentRun === undefined)) return 0;
  const { from, values } = sourceOf(whose);
  const given = [program.number, new Date(run.dueAt).toISOString(), ...values];
  let meant = `${from} and m.status = 'active' and m.joined_at < $2`;
  if (tiers) {
    meant += ` and ${standsOn(given.length)}`;
    given.push(tiers, laddersBegunBy(program, tiers));
  }
  if (segments) {
    meant += ` and ${isInOneOf(given.length)}`;
    given.push(segments, program.segmentRun);
  }
  const { rows } = await tx.query<{ members: number }>({
    ...selecting,
    text: `select count(*) as members from ${meant}`,
    values: given,
  });
  const { size, everyMs } = chunksOf(rows[0]!.members, run.promotion.give.spreadMinutes);
  const at = given.length;
  await tx.query({
    ...selecting,
    text: `insert into give_chunk (run, chunk, members, member_count, due_at)
      select $${at + 1}, place / $${at + 2}::int, array_agg(number order by number), count(*), $${at + 3}::bigint + place / $${at + 2}::int * $${at + 4}::bigint
      from (select m.number, row_number() over (order by m.number) - 1 as place from ${meant}) meant
      group by place / $${at + 2}::int`,
    values: [...given, run.run, size, run.dueAt, everyMs],
  });
  return rows[0]!.members;
}

/** Selects the members of a planned run, which can then be worked on. Answers how many; undefined where another process was first. */
export function selectMembers(pool: pg.Pool, program: Program, run: PlannedRun): Promise<number | undefined> {
  return inTransaction(pool, async (tx) => {
    await tx.query(`set local statement_timeout = ${selectingMsMax}`);
    const { rowCount } = await tx.query(
      `select from give_run where run = $1 and status = 'planned' for update skip locked`,
      [run.run],
    );
    if (rowCount === 0) return undefined;
    const members = await insertChunks(tx, program, run);
    await tx.query(
      `update give_run set status = $2, selected_at = clock_timestamp(), ended_at = case when $2 = 'done' then clock_timestamp() end where run = $1`,
      [run.run, members === 0 ? 'done' : 'running'],
    );
    return members;
  });
}

/** Whether a program may have anything to plan. */
export function gives(program: Program): boolean {
  const now = programNow(program);
  return program.versions.some(
    (version, i) =>
      // A version that was followed by another longer ago than is made up for has nothing to give any more.
      (program.versions[i + 1]?.effectiveFrom ?? now) >= now - catchUpMsMax - dayMs &&
      givingPromotions(version).length > 0,
  );
}
