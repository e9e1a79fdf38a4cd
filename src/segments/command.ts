/**
 * `npm run segments`: measures members now instead of at night, prints and draws what was found, and writes it as CSV. A run that
 * a worker has in hand is waited for, and one that was begun here goes on there.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { moneyCurrencyOf } from '#src/earning/backtest/costs.ts';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import { programNamed } from '#src/earning/named.ts';
import type { Program } from '#src/earning/program.ts';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { chartOf } from './chart.ts';
import { exportMembers } from './export.ts';
import { reportText } from './report.ts';
import { newestRun, planRun, type Run, runInForce, segmentsOfVersion } from './runs.ts';
import { workOn } from './working.ts';

const help = `Segments of members, as the program's file defines them (segments:).

  npm run segments -- run --program NAME
  npm run segments -- report --program NAME [--svg FILE] [--json]
  npm run segments -- export FILE.csv --program NAME

  run     measures all members through yesterday in the program's zone, and says what was found. A day that was measured by the
          program's present version stays as it is; a run that was interrupted goes on
  report  what the newest run found: members, their share, their share of spend and what is expected of them
  export  every member that was measured with its facts and segments, one line each

  --program NAME  may be left out where there is one program only
  --svg FILE      the report as a picture
  --json          the report for programs

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  program: { type: 'string' },
  svg: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const progressMs = 2_000;
const waitMs = 500;
/** Ten million members take an hour. */
const waitMsMax = 6 * 3_600_000;

/** Says on the screen beside the report how far a run is. */
function progressing(): (run: Run) => void {
  let saidMs = performance.now();
  return ({ status, memberThrough }) => {
    if (performance.now() - saidMs < progressMs) return;
    saidMs = performance.now();
    process.stderr.write(`${status}, through member number ${memberThrough}…\n`);
  };
}

/** Works on the newest run, or waits for whoever does, until it is done. */
async function finished(pool: pg.Pool, program: Program): Promise<Run> {
  const said = progressing();
  const deadlineMs = performance.now() + waitMsMax;
  while (performance.now() < deadlineMs) {
    await workOn(
      pool,
      program,
      () => true,
      (step) => said({ ...step } as Run),
    );
    const run = await newestRun(pool, program.number);
    if (!run || run.status === 'done')
      return run ?? Promise.reject(new Error('no day has been measured yet'));
    said(run);
    await delay(waitMs);
  }
  throw new Error('the run is not done after six hours');
}

interface Found {
  readonly run: Run;
  readonly segments: Segments;
  /** What spending was counted in. */
  readonly money: string | undefined;
}

async function found(pool: pg.Pool, program: Program): Promise<Found> {
  const run = await runInForce(pool, program.number);
  const segments = run && segmentsOfVersion(program, run.version);
  if (!run || !segments)
    throw new Error(`no day of ${program.name} has been measured yet: npm run segments -- run`);
  const { definition } = program.versions.find(({ version }) => version === run.version)!;
  return { run, segments, money: definition.money?.currency ?? moneyCurrencyOf(definition) };
}

async function report(
  pool: pg.Pool,
  program: Program,
  { json, svg }: { readonly json: boolean; readonly svg?: string | undefined },
): Promise<void> {
  const { run, money } = await found(pool, program);
  const through = calendarDayOf(run.throughDay).date;
  const { models, cuts, tally, version, entered, gone, alerts } = run;
  const asJson = {
    object: 'segmentReport',
    through,
    version,
    models,
    cuts,
    entered,
    left: gone,
    alerts,
    tally,
  };
  print(json ? JSON.stringify(asJson, undefined, 2) : reportText(run, through, money));
  if (svg !== undefined)
    await writeFile(svg, chartOf(run.tally, `Members of ${program.name} through ${through}`));
}

async function perform(pool: pg.Pool, args: readonly string[]): Promise<void> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  const [action, path, ...more] = positionals;
  if (more.length > 0 || (path !== undefined && action !== 'export'))
    throw new UsageFault(`${more[0] ?? path} is one word too many`);
  const program = await programNamed(pool, values.program);
  switch (action) {
    case 'run': {
      if (!program.definition.segments) throw new UsageFault(`the file of ${program.name} has no segments`);
      const isNew = await planRun(pool, program);
      const run = await finished(pool, program);
      const through = calendarDayOf(run.throughDay).date;
      if (!isNew) process.stderr.write(`The run through ${through} was there already.\n`);
      return report(pool, program, values);
    }
    case 'report':
      return report(pool, program, values);
    case 'export': {
      if (path === undefined) throw new UsageFault('export needs the name of a file');
      const { run, segments } = await found(pool, program);
      const members = await exportMembers(pool, run, segments, path);
      return print(
        `${path}: ${members.toLocaleString('en')} members through ${calendarDayOf(run.throughDay).date}`,
      );
    }
    default:
      throw new UsageFault(
        action === undefined ? 'nothing to do' : `${action} is none of run, report and export`,
      );
  }
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) return print(help);
  const pool = createPool(loadConfig().databaseUrl, 2);
  try {
    await perform(pool, args);
  } finally {
    await pool.end();
  }
}

await runCommand('segments', main);
