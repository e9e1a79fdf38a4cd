/**
 * `npm run bench -- --segments`: how long measuring the members of a program takes, and in how much memory. The diary is filled by
 * SQL with receipts over two years, many members with few and few with many; then the command measures them, once from the
 * beginning, and once more a day later, when what was decided is there already.
 */
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { type Surroundings, startNode } from './contestant.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';

const runMsMax = 3_600_000;
const sampleMs = 250;
const membersPerInsert = 20_000;
const spanDays = 730;

const segments = {
  value: {},
  named: [
    {
      name: 'champions',
      where: { recency_score: { min: 4 }, frequency_score: { min: 4 }, monetary_score: { min: 4 } },
    },
    { name: 'big', where: { spend_class: ['a'] } },
    { name: 'leaving', where: { lifecycle: ['declining'], monetary_score: { min: 3 } } },
    { name: 'worth-keeping', where: { value_class: ['high'], alive_percent: { max: 60 } } },
  ],
};

/** A member's receipts lie each in a stretch of its own, so that no two are of one day; how many follows a falling curve. */
const insertDays = `
  insert into diary_day (member, day, visits, spend)
  select n.member, $3::int - (i.place * n.gap + floor(random() * n.gap))::int, 1, (200 + floor(-ln(1 - random()) * n.mean))::bigint
  from (
    select number as member, receipts, greatest(1, $4::int / receipts) as gap, 500 + floor(-ln(1 - random()) * 4000) as mean
    from (select number, least($4::int, 1 + floor(-ln(1 - random()) * $5::float8))::int as receipts
      from generate_series($1::bigint, $2::bigint) as number) drawn) n
  cross join lateral generate_series(0, n.receipts - 1) as i(place)`;

async function fill(
  pool: pg.Pool,
  {
    program,
    members,
    receipts,
  }: { readonly program: number; readonly members: number; readonly receipts: number },
  said: (text: string) => void,
): Promise<number> {
  await pool.query('select setseed(0.5)');
  await pool.query(
    `insert into member (program, joined_at) select $1, now() - interval '${spanDays} days' from generate_series(1, $2::int)`,
    [program, members],
  );
  const { rows } = await pool.query<{ first: number; last: number; today: number }>(
    `select min(number)::float8 as first, max(number)::float8 as last, current_date - date '1970-01-01' as today from member where program = $1`,
    [program],
  );
  const { first, last, today } = rows[0]!;
  let filled = 0;
  for (let from = first; from <= last; from += membersPerInsert) {
    const to = Math.min(last, from + membersPerInsert - 1);
    // Half a receipt is lost to rounding down and one is everybody's.
    const more = receipts / members - 0.5;
    const { rowCount } = await pool.query(insertDays, [from, to, today - 1, spanDays, more]);
    filled += rowCount ?? 0;
    if ((from - first) % (membersPerInsert * 10) === 0)
      said(`${filled.toLocaleString('en')} receipts filled …`);
  }
  await pool.query('vacuum (analyze) diary_day');
  await pool.query('vacuum (analyze) member');
  return filled;
}

function residentMb(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly postgresCpuSeconds: number;
  /** In the first half of the time, and in the second: what grows with the members is larger then. */
  readonly residentMb: readonly [number, number];
}

/** Lets the command measure the members, and watches what it takes. */
async function measure(
  around: Surroundings,
  databaseUrl: string,
  postgres: number,
  name: string,
): Promise<Measured> {
  const startedMs = performance.now();
  const before = cpuSeconds(postgres) ?? 0;
  const command = startNode(
    `segments-${name}`,
    [join(around.checkout, 'src/segments/command.ts'), 'run', '--program', 'bench'],
    around,
    // No Redis is asked; the settings want one to be named.
    { DATABASE_URL: databaseUrl, DATA_DIR: around.folder, REDIS_URL: 'redis://127.0.0.1:1' },
  );
  const resident: number[] = [];
  let cpu = 0;
  while (!command.hasExited() && performance.now() - startedMs < runMsMax) {
    around.abort.throwIfAborted();
    resident.push(residentMb(command.pid));
    cpu = cpuSeconds(command.pid) ?? cpu;
    await delay(sampleMs);
  }
  await command.stop();
  const half = Math.ceil(resident.length / 2);
  return {
    seconds: (performance.now() - startedMs) / 1_000,
    cpuSeconds: cpu,
    postgresCpuSeconds: (cpuSeconds(postgres) ?? 0) - before,
    residentMb: [Math.max(...resident.slice(0, half)), Math.max(0, ...resident.slice(half))],
  };
}

interface Found {
  readonly members: number;
  readonly entered: number;
}

async function found(pool: pg.Pool, members: number): Promise<Found> {
  const { rows } = await pool.query<Found & { status: string }>(
    'select status, members::int, entered::int from segment_run order by run desc limit 1',
  );
  const [run] = rows;
  if (run?.status !== 'done' || run.members !== members)
    throw new Error(`the run is ${run?.status ?? 'missing'} with ${run?.members ?? 0} of ${members} members`);
  return run;
}

/** Fills a diary and measures its members; answers the figures as data. */
export async function measureSegments(around: Surroundings, receipts: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print, members, cacheDir, abort } = around;
  const dataDir = join(around.folder, 'segments');
  await mkdir(dataDir, { recursive: true });
  const postgres = await startLocalPostgres({ dataDir, cacheDir, abort });
  stack.defer(() => postgres.stop());
  await prepareDatabase(postgres.url);
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
  pool.on('error', () => undefined);
  stack.defer(() => pool.end());
  const file = { timeZone: 'UTC', currencies: [{ code: 'points' }], segments };
  const program = await createProgram(pool, { name: 'bench', mode: 'test', file });
  print(`segments: filling the diary of ${members.toLocaleString('en')} members …`);
  const filled = await fill(pool, { program: program.number, members, receipts }, print);
  const first = await measure(around, postgres.url, postgres.pid, 'first');
  const { entered } = await found(pool, members);
  await pool.query(
    `update program set clock_offset_ms = 86400000, changed_at = clock_timestamp() where number = $1`,
    [program.number],
  );
  const again = await measure(around, postgres.url, postgres.pid, 'again');
  const later = await found(pool, members);
  const row = (name: string, of: (each: Measured) => number, digits = 0) => [
    name,
    ...[first, again].map((each) => of(each).toFixed(digits)),
  ];
  const marks = [
    markOf('seconds to measure all members', [first.seconds, again.seconds], { atMost: 300, aim: 150 }),
    markOf(
      'memory of the worker, second half / first half',
      [first, again].map(({ residentMb: [before, after] }) => after / before),
      { atMost: 1.2, aim: 1 },
    ),
  ];
  const text = table([
    [
      `${members.toLocaleString('en')} members, ${filled.toLocaleString('en')} receipts`,
      'first',
      'a day later',
    ],
    row('seconds', ({ seconds }) => seconds, 1),
    row('CPU seconds of the worker', (each) => each.cpuSeconds, 1),
    row('CPU seconds of PostgreSQL', ({ postgresCpuSeconds }) => postgresCpuSeconds, 1),
    row('memory of the worker, first half, MB', (each) => each.residentMb[0]),
    row('memory of the worker, second half, MB', (each) => each.residentMb[1]),
    ['members who entered a segment', String(entered), String(later.entered)],
  ]);
  print(`\n${text}\n\n${marksText(marks)}`);
  return { machine: machine(), members, receipts: filled, first, again, marks };
}
