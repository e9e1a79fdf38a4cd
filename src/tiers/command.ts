/**
 * `npm run tiers -- preview | recalculate | runs | report PROGRAM`: who would move, looking at all members now, what came of it, and
 * where everybody stands.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { draftOf } from '#src/earning/backtest/draft.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { programNamed } from '#src/earning/named.ts';
import type { Program, ProgramVersion } from '#src/earning/program.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { memberId } from '#src/values.ts';
import { tierChart } from './chart.ts';
import { dateText } from './days.ts';
import { preview, previewingOf } from './preview.ts';
import { beginRun, type Moved, readRuns, workOnRun } from './recalculating.ts';
import { readReport, reportText } from './report.ts';

const help = `npm run tiers -- preview PROGRAM [--file FILE] [--members N] [--json]
npm run tiers -- recalculate PROGRAM
npm run tiers -- runs PROGRAM
npm run tiers -- report PROGRAM [--svg FILE] [--json]

  preview      who would move if all members were looked at now, from where to where and why; changes nothing
  recalculate  looks at all members now; what moves is announced by the worker of tiers
  runs         the recalculations of the program, newest first
  report       how many members stand on each tier, and how many went up and down in each month

  --file FILE  the ladders of this program file, in place of those in force
  --members N  lists so many of those who would move (default 20)
  --svg FILE   the report as a picture
  --json       one JSON object
  --help       this text
`;

const options = {
  file: { type: 'string' },
  members: { type: 'string', default: '20' },
  svg: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

interface Flags {
  readonly file?: string | undefined;
  readonly members: string;
  readonly svg?: string | undefined;
  readonly json?: boolean | undefined;
}

function movesText(moves: readonly Moved[]): string {
  if (moves.length === 0) return 'Nobody moves.';
  const rows = moves.map(([ladder, from, to, members]) => [ladder, from, to, String(members)]);
  return inColumns([['ladder', 'from', 'to', 'members'], ...rows]);
}

async function draftAt(path: string, program: Program): Promise<ProgramVersion> {
  const { file, faults } = readProgramFile(await readFile(path, 'utf8'));
  if (!file) {
    const list = faults.map(({ line, column, detail }) => `${path}:${line}:${column} ${detail}`);
    throw new UsageFault(list.join('\n'));
  }
  return draftOf(file, program).version;
}

async function previewed(pool: pg.Pool, program: Program, flags: Flags): Promise<void> {
  const shown = Number(flags.members);
  if (!Number.isSafeInteger(shown) || shown < 0) throw new UsageFault('--members needs a number');
  const draft = flags.file === undefined ? undefined : await draftAt(flags.file, program);
  const reviewing = previewingOf(program, draft);
  // One snapshot for all of them; who moves is counted, and the first are listed.
  const page = await preview(pool, reviewing, {
    movingMax: Infinity,
    chunksMax: Infinity,
    movingKept: shown,
  });
  const rows = page.moving.flatMap(({ member, ladder, moves }) =>
    moves
      .filter(({ from, to }) => from !== to)
      .map(({ from, to, since, reason }) => ({
        ...{ member: memberId(member), ladder, from, to, since: dateText(since) },
        why: reason.steps.map(({ what }) => String(what)).join(', ') || (reason.how ?? ''),
      })),
  );
  if (flags.json) {
    print(JSON.stringify({ members: page.members, moves: page.moves, first: rows }, undefined, 2));
    return;
  }
  print(
    `${page.members} members have done anything or stand above the beginning.\n\n${movesText(page.moves)}`,
  );
  if (rows.length === 0) return;
  const lines = rows.map((row) => [row.member, row.ladder, row.from, row.to, row.since, row.why]);
  print(`\n${inColumns([['member', 'ladder', 'from', 'to', 'since', 'why'], ...lines])}`);
}

async function recalculated(pool: pg.Pool, program: Program): Promise<void> {
  await beginRun(pool, program, 'demand');
  for (;;) {
    const run = await workOnRun(pool, program);
    if (run) {
      process.stderr.write(`${run.members} members looked at, ${run.changes} changes\n`);
      if (run.status === 'running') continue;
    }
    const [last] = await readRuns(pool, program.number, 1);
    // Where a worker has a chunk in hand, it goes on with the rest as well.
    if (last?.status === 'running') throw new Error('a worker is at it; `runs` says how far it is');
    print(
      `${last!.members} members, ${last!.changes} changes, ${last!.warnings} warnings.\n\n${movesText(last!.moves)}`,
    );
    return;
  }
}

async function runsOf(pool: pg.Pool, program: Program): Promise<void> {
  const runs = await readRuns(pool, program.number, 20);
  const rows = runs.map(({ day, version, occasion, status, members, changes, warnings }) =>
    [dateText(day), version, occasion, status, members, changes, warnings].map(String),
  );
  print(inColumns([['day', 'version', 'occasion', 'status', 'members', 'changes', 'warnings'], ...rows]));
}

async function reported(pool: pg.Pool, program: Program, { svg, json }: Flags): Promise<void> {
  const reports = await readReport(pool, program);
  if (svg !== undefined) await writeFile(svg, tierChart(reports, `Tiers of ${program.name}`));
  print(json ? JSON.stringify({ ladders: reports }, undefined, 2) : reportText(reports));
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  if (values.help) return print(help);
  const [action = '', name = '', ...rest] = positionals;
  const actions = { preview: previewed, recalculate: recalculated, runs: runsOf, report: reported };
  if (!Object.hasOwn(actions, action) || name === '' || rest.length > 0)
    throw new UsageFault('say preview, recalculate, runs or report, and the name of a program');
  const pool = createPool(loadConfig().databaseUrl, 2);
  try {
    await actions[action as keyof typeof actions](pool, await programNamed(pool, name), values);
  } finally {
    await pool.end();
  }
}

await runCommand('tiers', main);
