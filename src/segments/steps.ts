/**
 * A run, one step at a time. A step is one database transaction that holds the run's row: it works on one range of members, and
 * leaves the row at its end. Whoever is killed in it has done nothing; another who looks for work meanwhile finds the row held.
 *
 *   fitting    the models' parameters, from a sample                                     one step
 *   counting   what each member did, from the diary, and what the models expect          a step a range
 *   cutting    the cut points over all members                                           one step
 *   deciding   facts, segments and alerts of each member, from count and cut points      a step a range
 *   done       rules judge by it
 *
 * What was decided by a run that is not done is written already, and nobody sees it: whoever reads memberships asks for those as
 * of a run that is done.
 */
import type pg from 'pg';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import { type Program, programNow } from '#src/earning/program.ts';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import { type NewEvent, writeEvents } from '#src/ledger/events.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { cutsOf } from './cuts.ts';

import { keepFacts, readFacts } from './facts-table.ts';
import { expectedOf, fitModels } from './fitting.ts';
import { changesOf, type Membership, openMemberships, writeChanges } from './memberships.ts';
import { type Run, type RunStatus, runColumns, segmentsOfVersion } from './runs.ts';
import { breakOf, factsOf, type Measured, segmentsOf } from './scores.ts';
import { countMembers, longQueryMsMax, type Range, rangeAfter } from './statistics.ts';
import { tallying } from './tally.ts';

/** Their rows are some megabytes at most, and a step takes some tenths of a second. */
const membersPerStep = 2_000;

export interface Step {
  readonly run: number;
  readonly status: RunStatus;
  /** Through which member of the present pass it is done. */
  readonly memberThrough: number;
}

interface Work {
  readonly tx: pg.PoolClient;
  readonly program: Program;
  readonly run: Run;
  readonly segments: Segments;
}

/** Notes how far a run is; a new status begins with the first member. */
async function noted(
  { tx, run }: Work,
  status: RunStatus,
  memberThrough: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Step> {
  const names = Object.keys(more);
  const sets = names.map((name, i) => `, ${name} = $${i + 4}`).join('');
  await tx.query(`update segment_run set status = $2, member_through = $3${sets} where run = $1`, [
    run.run,
    status,
    memberThrough,
    ...names.map((name) => more[name]),
  ]);
  return { run: run.run, status, memberThrough };
}

async function fit(work: Work): Promise<Step> {
  const { tx, program, run, segments } = work;
  if (!segments.value) return noted(work, 'counting', 0);
  const models = await fitModels(tx, program.number, run.throughDay);
  return noted(work, 'counting', 0, { models: JSON.stringify(models) });
}

async function nextRange({ tx, program, run }: Work): Promise<Range | undefined> {
  const last = await rangeAfter(tx, program.number, run.memberThrough, membersPerStep);
  return last === undefined ? undefined : { after: run.memberThrough, last };
}

async function count(work: Work): Promise<Step> {
  const { tx, program, run, segments } = work;
  const range = await nextRange(work);
  if (!range) return noted(work, 'cutting', 0);
  const counted = await countMembers(tx, program.number, range, segments, run.throughDay);
  const { value } = segments;
  const models = run.models && 'buying' in run.models ? run.models : undefined;
  const measured = counted.map(
    (each): Measured =>
      value && models ? { ...each, expected: expectedOf(models, each, value, run.throughDay) } : each,
  );
  await keepFacts(tx, run.run, measured);
  return noted(work, 'counting', range.last, { members: run.members + measured.length });
}

async function cut(work: Work): Promise<Step> {
  const { tx, run, segments } = work;
  const cuts = await cutsOf(tx, run.run, segments, run.throughDay);
  return noted(work, 'deciding', 0, { cuts: JSON.stringify(cuts) });
}

function alertOf({ program, run, segments }: Work, measured: Measured): NewEvent[] {
  const broken = breakOf(measured, segments, run.throughDay);
  if (!broken) return [];
  const { lastDay, rhythmDays, brokenDay } = broken;
  return [
    {
      // Once a break: it ends with the next purchase, and the one after that has another last day.
      key: `${measured.member}.${lastDay}`,
      member: measured.member,
      at: programNow(program),
      content: {
        lastPurchaseOn: calendarDayOf(lastDay).date,
        rhythmDays,
        brokenOn: calendarDayOf(brokenDay).date,
      },
    },
  ];
}

async function decide(work: Work): Promise<Step> {
  const { tx, program, run, segments } = work;
  const range = await nextRange(work);
  if (!range) return finish(work);
  const tally = tallying(run.tally);
  const after: Membership[] = [];
  const alerts: NewEvent[] = [];
  for (const measured of await readFacts(tx, run.run, range)) {
    const facts = factsOf(measured, run.cuts!, segments, run.throughDay);
    const names = segmentsOf(segments.named, facts);
    tally.add(measured, facts, names);
    for (const segment of names) after.push({ member: measured.member, segment });
    alerts.push(...alertOf(work, measured));
  }
  const changes = changesOf(await openMemberships(tx, program.number, range), after);
  await writeChanges(tx, run.run, changes);
  const step = await noted(work, 'deciding', range.last, {
    tally: JSON.stringify(tally.tally),
    entered: run.entered + changes.entered.length,
    gone: run.gone + changes.gone.length,
  });
  // Last, because every other writer of events waits from here to the commit.
  const told = await writeEvents(tx, program, 'member.rhythm_broken', alerts);
  if (told > 0) await tx.query('update segment_run set alerts = alerts + $2 where run = $1', [run.run, told]);
  return step;
}

async function finish(work: Work): Promise<Step> {
  const { tx, program, run } = work;
  const { memberThrough } = run;
  const step = await noted(work, 'done', memberThrough, { in_force_from: programNow(program) });
  await tx.query('update segment_run set ended_at = clock_timestamp() where run = $1', [run.run]);
  await tx.query('update program set segment_run = $2, changed_at = clock_timestamp() where number = $1', [
    program.number,
    run.run,
  ]);
  return step;
}

const steps: Readonly<Record<Exclude<RunStatus, 'done'>, (work: Work) => Promise<Step>>> = {
  fitting: fit,
  counting: count,
  cutting: cut,
  deciding: decide,
};

/**
 * Does one step of the run of a program that is under way; undefined where none is, another process is at it, or its version is
 * not known here yet.
 */
export function takeStep(pool: pg.Pool, program: Program): Promise<Step | undefined> {
  return inTransaction(pool, async (tx) => {
    await tx.query(`set local statement_timeout = ${longQueryMsMax}`);
    const { rows } = await tx.query<Run>(
      `select ${runColumns} from segment_run r where r.program = $1 and r.status <> 'done' for update skip locked`,
      [program.number],
    );
    const run = rows[0];
    const segments = run && segmentsOfVersion(program, run.version);
    if (!run || !segments || run.status === 'done') return undefined;
    return steps[run.status]({ tx, program, run, segments });
  });
}
