/** `npm run reconcile`: what partners say beside our books, by files and over the wire, and the disputes about it. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { type Config, loadConfig } from '#src/config.ts';
import { programNamed } from '#src/earning/named.ts';
import type { Program } from '#src/earning/program.ts';
import { createIdentity } from '#src/members/identity.ts';
import { loadIdentityKey } from '#src/members/identity-key.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { createEndpoints } from '#src/partners/exchange/endpoints.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createTelemetry } from '#src/platform/telemetry.ts';
import type { Pair } from './books.ts';
import { differences } from './comparing.ts';
import { farDay, reconcileDay, type Traffic } from './comparing-days.ts';
import { createDays } from './days.ts';
import { disputesCommand } from './disputes-command.ts';
import { exportFile } from './export.ts';
import { dayPeriod, type Period, secondsOf } from './movement.ts';
import { type ReconciliationContext, reconcileFile } from './reconciling.ts';
import {
  differingLines,
  lineView,
  parseReconciliationId,
  type Reconciliation,
  reconciliationId,
  reconciliationNumbered,
  reconciliationView,
} from './reports.ts';

const help = `What partners say beside what we have booked with them.

  npm run reconcile -- FILE                           a partner's file against our books; ends with 1 where a line differs
  npm run reconcile -- export PARTNER FROM UNTIL --out FILE [--as NAME]
                                                      our side of the same file, for the partner: what we have booked from FROM to
                                                      UNTIL; NAME is how it knows us
  npm run reconcile -- tree PARTNER DAY               the digest of a day and how many movements it is made of
  npm run reconcile -- with PARTNER DAY               compares a day with the partner over the wire, sending only what differs, and the
                                                      days before that late movements of it belong to
  npm run reconcile -- show ID                        a reconciliation that was made, and the lines that differ
  npm run reconcile -- disputes [list | open ID LINE | answer DISPUTE | settle DISPUTE --outcome ours|theirs|neither]

  --program NAME   may be left out where there is one program only
  --first NUMBER   of FILE and export: the series was begun elsewhere, and this is the number of its first file here; what was booked before
                   its period is not compared
  --reason TEXT    why, for open, answer and settle
  --json           for programs

Days are of UTC, such as 2026-11-22. FROM and UNTIL are days, both of which are in it, or times such as 2026-11-22T10:00:00Z. The database
is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  program: { type: 'string' },
  out: { type: 'string' },
  as: { type: 'string' },
  first: { type: 'string' },
  reason: { type: 'string' },
  outcome: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
export type Flags = ReturnType<typeof parsed>['values'];

const linesShownMax = 50;

interface Surroundings {
  readonly pool: pg.Pool;
  readonly config: Config;
  readonly program: Program;
  readonly context: ReconciliationContext;
  readonly actor: string;
  readonly flags: Flags;
}

async function pairNamed({ pool, program }: Surroundings, name: string | undefined): Promise<Pair> {
  if (name === undefined) throw new UsageFault('the name of a partner is missing');
  const partner = await partnerNamed(pool, program.number, name);
  if (!partner) throw new UsageFault(`the program ${program.name} has no partner ${name}`);
  return { program, partner: partner.number };
}

function dayOf(text: string | undefined): string {
  if (text === undefined || !dayPeriod(text)) throw new UsageFault('DAY is a day of UTC such as 2026-11-22');
  return text;
}

/** Both days are in it. */
function periodOf(first: string | undefined, last: string | undefined): Period {
  const from = dayPeriod(first ?? '')?.from ?? secondsOf(first ?? '');
  const until = dayPeriod(last ?? '')?.until ?? secondsOf(last ?? '');
  if (from === undefined || until === undefined || from >= until)
    throw new UsageFault('FROM and UNTIL are days such as 2026-11-22, or times such as 2026-11-22T10:00:00Z');
  return { from, until };
}

function firstOf({ first }: Flags): number | undefined {
  if (first === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(first)) throw new UsageFault('--first takes the number of a file');
  return Number(first);
}

async function report({ pool, program, flags }: Surroundings, made: Reconciliation): Promise<number> {
  const view = reconciliationView(program, made);
  const lines = await differingLines(pool, made.number, { after: 0, limit: linesShownMax });
  const differing = differences.reduce((sum, each) => sum + made.differences[each], 0);
  if (flags.json) print(JSON.stringify({ ...view, data: lines.map(lineView) }));
  else {
    const of = made.sequence === undefined ? 'day' : `file ${made.sequence}`;
    print(`${view.id}: ${made.partner}, ${of}, ${view.from} to ${view.until}`);
    const counts = differences.map((each) => [each.replace('_', ' '), String(made.differences[each])]);
    const late = made.matchedLate > 0 ? [['matched of files before', String(made.matchedLate)]] : [];
    print(
      inColumns([['movements', String(made.lines)], ['matched', String(made.matched)], ...late, ...counts]),
    );
    const side = (one: (typeof lines)[number]['ours']) =>
      one ? `${one.points} ${one.currency} ${one.occurredAt} ${one.status}` : '-';
    const rows = lines.map((each) => [
      ...[String(each.number), each.difference, `${each.madeBy === 'us' ? 'our' : 'their'} ${each.kind}`],
      ...[each.reference, `theirs ${side(each.theirs)}`, `ours ${side(each.ours)}`],
      each.matchedBy === null ? '' : `matched by ${reconciliationId(each.matchedBy)}`,
    ]);
    if (rows.length > 0) print(`\n${inColumns(rows)}`);
    if (differing > rows.length)
      print(`… and ${differing - rows.length} more: GET /v1/reconciliations/${view.id}/lines`);
  }
  return differing === 0 ? 0 : 1;
}

async function compareFile(around: Surroundings, path: string): Promise<number> {
  await stat(path).catch(() => {
    throw new UsageFault(`${path} is neither a file nor a command`);
  });
  const { context, program, actor } = around;
  const bytes = createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>;
  const first = firstOf(around.flags);
  return report(around, await reconcileFile(context, { program, actor, bytes, first }));
}

async function writeExport(around: Surroundings, args: readonly string[]): Promise<number> {
  const { pool, config, program, actor, flags } = around;
  const [name, first, last] = args;
  const [pair, period] = [await pairNamed(around, name), periodOf(first, last)];
  if (flags.out === undefined) throw new UsageFault('--out needs a file');
  if (period.until * 1_000 > Date.now()) throw new UsageFault('the period is not over yet');
  const draft = {
    pair,
    sender: flags.as ?? program.name,
    path: flags.out,
    actor,
    ...period,
    first: firstOf(flags),
  };
  const { sequence, trailer } = await exportFile(pool, config.databaseUrl, draft);
  print(`${flags.out} is file ${sequence} for ${name}: ${trailer.details} movements.`);
  return 0;
}

async function showTree(around: Surroundings, args: readonly string[]): Promise<number> {
  const [pair, day] = [await pairNamed(around, args[0]), dayOf(args[1])];
  const { digest, movements } = await createDays(around.pool).treeOf({ pair, day, asks: true });
  if (around.flags.json) print(JSON.stringify({ day, digest, movements }));
  else print(`${day}: ${movements} movements, digest ${digest || '(none)'}`);
  return 0;
}

async function compareWith(around: Surroundings, args: readonly string[]): Promise<number> {
  const { pool, config, context, actor, flags } = around;
  const [pair, day] = [await pairNamed(around, args[0]), dayOf(args[1])];
  const identity = createIdentity(await loadIdentityKey(config));
  const endpoint = await createEndpoints(pool, identity).of(pair.partner);
  if (!endpoint) throw new Error(`nobody has said where ${args[0]} is called: npm run exchanges -- endpoint`);
  const traffic: Traffic = { calls: 0, bytes: 0 };
  const farOn = (each: string) => farDay(endpoint, each, config.partnerTimeoutMs, traffic);
  const comparison = { pair, day, actor };
  const { made, left } = await reconcileDay({ ...context, days: createDays(pool) }, comparison, farOn);
  let code = 0;
  for (const each of made) code = Math.max(code, await report(around, each));
  if (!flags.json) print(`${traffic.calls} calls on the partner, ${traffic.bytes} bytes of answers.`);
  if (!left) return code;
  const reason = left.cause instanceof Error ? left.cause.message : String(left.cause);
  throw new Error(`${left.days[0]}: ${reason}\nNot compared: ${left.days.join(', ')}.`);
}

async function show(around: Surroundings, args: readonly string[]): Promise<number> {
  const number = parseReconciliationId(args[0] ?? '');
  if (number === undefined) throw new UsageFault(`a reconciliation is named such as ${reconciliationId(1)}`);
  const made = await reconciliationNumbered(around.pool, around.program.number, number);
  if (!made) throw new Error('there is no such reconciliation');
  await report(around, made);
  return 0;
}

const commands: Readonly<Record<string, (around: Surroundings, args: readonly string[]) => Promise<number>>> =
  {
    export: writeExport,
    tree: showTree,
    with: compareWith,
    show,
    disputes: ({ pool, program, actor, flags }, args) =>
      disputesCommand({ ...flags, pool, program, actor }, args),
  };

async function main(args: readonly string[]): Promise<number> {
  const { values: flags, positionals } = parsed(args);
  const [first, ...rest] = positionals;
  if (flags.help || first === undefined || first === 'help') {
    print(help);
    return 0;
  }
  const config = loadConfig();
  const pool = createPool(config.databaseUrl, 2);
  try {
    const program = await programNamed(pool, flags.program);
    const { log, metrics } = createTelemetry({
      logLevel: 'silent',
      processName: 'reconcile',
      version: '0.1.0',
    });
    const context = { pool, databaseUrl: config.databaseUrl, log, metrics };
    const around = { pool, config, program, context, flags, actor: `command ${userInfo().username}` };
    const command = commands[first];
    if (command) return await command(around, rest);
    if (rest.length > 0) throw new UsageFault(`unexpected ${rest[0]}`);
    return await compareFile(around, first);
  } finally {
    await pool.end();
  }
}

// What was refused ends with 2, so that 1 says that it was compared and differs.
await runCommand('reconcile', main, 2);
