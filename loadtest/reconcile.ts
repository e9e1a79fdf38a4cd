/**
 * `npm run bench -- --reconcile`: how long a partner's file of a million lines takes to be compared, and in how much memory. The
 * clearing entries of as many movements are filled by SQL; the command writes our side of the file, which is what the partner would
 * send but for the few lines that are altered in it, and then compares it. The hash tree of the day is measured beside it.
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { insertContract, keepPartner } from '#src/partners/contracts/store.ts';
import { createFileReader, createFileWriter, type Header } from '#src/partners/reconciliation/format.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { type Surroundings, startNode } from './contestant.ts';
import { cpuSeconds, machine } from './machine.ts';
import { markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { plainTerms } from './setup/contract-terms.ts';

const runMsMax = 1_800_000;
const sampleMs = 50;
const day = '2026-11-20';
const alteredEvery = 100_003;
/** As `npm run reconcile` is run. */
const asInPackage = ['--max-old-space-size=160', '--max-semi-space-size=8'];

const insertEntries = `
  insert into clearing_entry (operation, line, shard, epoch, seq, program, partner, contract, kind, price, account, party, reference, member,
    currency, points, at, occurred_at, booked_at, of_period, period)
  select gen_random_uuid(), 0, n % 16, 1, n, $1, $2, 1, k.kind, 'issue', 'partner', $2, 'flight/' || md5(n::text), 1 + n % 100000, 1,
    case k.kind when 'redemption' then 1 else -1 end * (1 + n % 5000), o.at, o.at, o.at, '2026-11-01', '2026-11-01'
  from generate_series($3::bigint, $4::bigint) n
  cross join lateral (select (array['accrual', 'accrual', 'redemption', 'reversal'])[1 + n % 4] as kind) k
  cross join lateral (select timestamptz '${day} 00:00:00+00' + (n % 86400) * interval '1 second' as at) o`;

const entriesPerInsert = 50_000;

async function fill(pool: pg.Pool, lines: number, print: (text: string) => void): Promise<void> {
  const file = { timeZone: 'UTC', currencies: [{ code: 'points' }] };
  const program = await createProgram(pool, { name: 'bench', mode: 'live', file });
  const partner = await inTransaction(pool, async (tx) => {
    const number = await keepPartner(tx, program.number, { name: 'air', title: 'Air', status: 'active' });
    await insertContract(tx, {
      partner: number,
      version: 1,
      from: 0,
      until: null,
      terms: plainTerms,
      actor: 'bench',
    });
    return number;
  });
  // No period is closed, and asking at each row takes longer than all the rest.
  await pool.query('alter table clearing_entry disable trigger period_open');
  for (let from = 1; from <= lines; from += entriesPerInsert) {
    const to = Math.min(lines, from + entriesPerInsert - 1);
    await pool.query(insertEntries, [program.number, partner, from, to]);
    if ((from - 1) % (entriesPerInsert * 5) === 0) print(`${to.toLocaleString('en')} movements filled …`);
  }
  await pool.query('vacuum (analyze) clearing_entry');
}

/** Our file as the partner would send it: what we call theirs it calls its own, and a few points are one more. */
async function asPartnerSends(from: string, to: string): Promise<number> {
  let header: Header | undefined;
  let altered = 0;
  const reader = createFileReader((found) => {
    header = found;
  });
  const writer = createFileWriter();
  const out = createWriteStream(to);
  for await (const piece of createReadStream(from) as AsyncIterable<Buffer>) {
    const isFirst = header === undefined;
    const details = reader.take(piece).map((each) => {
      const isAltered = each.line % alteredEvery === 0;
      if (isAltered) altered += 1;
      // The reader of our file sees theirs as its own; the reader of this one is us again.
      return { ...each, points: each.points + Number(isAltered) };
    });
    if (isFirst) out.write(writer.header({ ...header!, sender: 'air' }));
    if (!out.write(writer.details(details))) await once(out, 'drain');
  }
  reader.end();
  out.end(writer.trailer().text);
  await finished(out);
  return altered;
}

function peakMb(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;
  } catch {
    return 0;
  }
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMb: number;
}

async function run(
  around: Surroundings,
  databaseUrl: string,
  name: string,
  args: readonly string[],
): Promise<Measured> {
  const startedMs = performance.now();
  const script = join(around.checkout, 'src/partners/reconciliation/command.ts');
  const command = startNode(`reconcile-${name}`, [...asInPackage, script, ...args], around, {
    DATABASE_URL: databaseUrl,
    DATA_DIR: around.folder,
    // No Redis is asked; the settings want one to be named.
    REDIS_URL: 'redis://127.0.0.1:1',
  });
  let [cpu, peak] = [0, 0];
  while (!command.hasExited() && performance.now() - startedMs < runMsMax) {
    around.abort.throwIfAborted();
    cpu = cpuSeconds(command.pid) ?? cpu;
    peak = Math.max(peak, peakMb(command.pid));
    await delay(sampleMs);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  await command.stop();
  return { seconds, cpuSeconds: cpu, peakMb: peak };
}

interface Made {
  readonly lines: number;
  readonly matched: number;
  readonly amount: number;
}

async function made(pool: pg.Pool, lines: number, altered: number): Promise<Made> {
  const { rows } = await pool.query<Made>(
    `select lines, matched, (differences ->> 'amount')::int as amount from reconciliation order by reconciliation desc limit 1`,
  );
  const [found] = rows;
  if (found?.lines !== lines || found.amount !== altered || found.matched !== lines - altered)
    throw new Error(`${altered} of ${lines} lines differ, and found were ${JSON.stringify(found)}`);
  return found;
}

/** Compares files of a tenth of the lines and of all; answers the figures as data. */
export async function measureReconcile(around: Surroundings, lines: number): Promise<object> {
  await using stack = new AsyncDisposableStack();
  const { print, cacheDir, abort } = around;
  const sizes = [Math.round(lines / 10), lines];
  const measured: { file: Measured; written: Measured; tree: Measured }[] = [];
  for (const size of sizes) {
    const dataDir = join(around.folder, `reconcile-${size}`);
    await mkdir(dataDir, { recursive: true });
    const postgres = await startLocalPostgres({ dataDir, cacheDir, abort });
    stack.defer(() => postgres.stop());
    await prepareDatabase(postgres.url);
    const pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
    pool.on('error', () => undefined);
    stack.defer(() => pool.end());
    await fill(pool, size, print);
    const [ours, theirs] = [join(dataDir, 'ours.csv'), join(dataDir, 'theirs.csv')];
    const written = await run(around, postgres.url, 'export', ['export', 'air', day, day, '--out', ours]);
    const altered = await asPartnerSends(ours, theirs);
    const file = await run(around, postgres.url, 'file', [theirs]);
    await made(pool, size, altered);
    const tree = await run(around, postgres.url, 'tree', ['tree', 'air', day]);
    measured.push({ file, written, tree });
    print(
      `${size.toLocaleString('en')} lines: ${file.seconds.toFixed(1)} s, peak memory ${file.peakMb.toFixed(0)} MB`,
    );
  }
  const row = (name: string, of: (each: (typeof measured)[number]) => number, digits = 1) => [
    name,
    ...measured.map((each) => of(each).toFixed(digits)),
  ];
  const [small, large] = measured.map(({ file }) => file);
  const marks = [
    markOf('seconds to compare all lines', [large!.seconds], { atMost: 60, aim: 30 }),
    markOf('peak memory, all lines / a tenth', [large!.peakMb / small!.peakMb], { atMost: 1.3, aim: 1.1 }),
  ];
  const text = table([
    ['movements', ...sizes.map((size) => size.toLocaleString('en'))],
    row('comparing the file, s', ({ file }) => file.seconds),
    row('  CPU of the command, s', ({ file }) => file.cpuSeconds),
    row('  peak memory of the command, MB', ({ file }) => file.peakMb, 0),
    row('writing our file, s', ({ written }) => written.seconds),
    row('  peak memory, MB', ({ written }) => written.peakMb, 0),
    row('hash tree of the day, s', ({ tree }) => tree.seconds),
    row('  peak memory, MB', ({ tree }) => tree.peakMb, 0),
  ]);
  print(`\n${text}\n\n${marksText(marks)}`);
  return { machine: machine(), sizes, measured, marks };
}
