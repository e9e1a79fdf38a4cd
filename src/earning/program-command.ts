/**
 * `npm run program`: checks program files, founds programs from them and brings programs up to date. Running processes have
 * what was applied within half a second; a new program's first key comes from `npm run keys`.
 */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { DateTime } from 'luxon';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { createIdentity } from '#src/members/identity.ts';
import { loadIdentityKey } from '#src/members/identity-key.ts';
import { createJudgedMembers } from '#src/members/judged-member.ts';
import { seeingSegments } from '#src/members/segmented-member.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { backtestCommand } from './backtest/command.ts';
import { type FailedExample, failedExamples } from './backtest/examples.ts';
import { changesBetween, changesText } from './file/diff.ts';
import { type FileFault, type Reading, readProgramFile } from './file/read.ts';
import type { ProgramFile } from './file/schema.ts';
import { programNamed } from './named.ts';
import { type Program, presentVersion } from './program.ts';
import { loadPrograms } from './registry.ts';
import { applyVersion, createProgram, fileOfVersion, listVersions, readVersion } from './versions.ts';

const help = `Programs of the points engine, described by files. The folder src/earning/samples/ has three to start from.

  npm run program -- validate FILE
  npm run program -- test FILE
  npm run program -- create NAME --file FILE [--mode live|test]
  npm run program -- diff FILE --program NAME [--version N] [--json]
  npm run program -- backtest FILE --program NAME [--from TIME] [--to TIME] [--json] [--svg FILE]
  npm run program -- apply FILE --program NAME [--effective TIME] [--title TEXT]
  npm run program -- export NAME [--version N]
  npm run program -- list [NAME]

  validate   says what is wrong in a file, as FILE:LINE:COLUMN and a sentence; ends with 1 where something is
  test       runs the examples in a file: each receipt has to earn what stands beside it; ends with 1 where one does not
  create     founds a program in the file's time zone, which cannot change later
  diff       what a file would change: against the newest version, or against version N
  apply      makes the file the next version; versions before it stay, and judge what occurred in their time
  backtest   judges the receipts that the ledger has by a file, and says beside what really happened what they would have
             earned, what that costs, and who wins and loses; nothing is changed. Profiles are those of today
  export     prints the file of the newest version, or of version N, byte for byte
  list       the programs, or the versions of one

  --program NAME     may be left out where there is one program only
  --mode MODE        live (default), or test: its clock can be moved forward
  --effective TIME   when it begins: a day such as 2026-12-01, or a time such as 2026-12-01T18:00, in the program's zone;
                     default: in a second
  --from, --to TIME  receipts that occurred in these days or between these times, in the program's zone; default: all
  --svg FILE         the backtest as a picture
  --title TEXT       what the version is about, instead of the file's own title
  --version N        a version's number
  --json             for programs

FILE may be /dev/stdin. The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  file: { type: 'string' },
  mode: { type: 'string', default: 'live' },
  program: { type: 'string' },
  effective: { type: 'string' },
  title: { type: 'string' },
  version: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  svg: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
type Flags = ReturnType<typeof parsed>['values'];

/** The file was read and is wrong; what it is was printed. */
class WrongFile extends Error {}

function complain(path: string, faults: readonly FileFault[], kind = ''): void {
  for (const { line, column, pointer, detail } of faults)
    process.stderr.write(
      `${path}:${line}:${column}  ${kind}${pointer === '' ? '' : `${pointer} `}${detail}\n`,
    );
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly file: ProgramFile;
  readonly locate: Reading['locate'];
}

/** The file as it was typed; prints what is wrong in it. */
async function sourceAt(path: string): Promise<Source> {
  const bytes = await readFile(path).catch(() => {
    throw new UsageFault(`${path} cannot be read`);
  });
  // What is stored has to come back byte for byte.
  if (!isUtf8(bytes)) throw new UsageFault(`${path} is not text in UTF-8`);
  const text = bytes.toString('utf8');
  const { file, faults, warnings, locate } = readProgramFile(text);
  complain(path, faults);
  complain(path, warnings, 'warning: ');
  if (!file) throw new WrongFile();
  return { path, text, file, locate };
}

function versionNumber({ version }: Flags): number | undefined {
  if (version === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(version)) throw new UsageFault(`--version needs a number, not ${version}`);
  return Number(version);
}

function instantOf(text: string | undefined, timeZone: string): EpochMs | undefined {
  if (text === undefined) return undefined;
  const at = DateTime.fromISO(text, { zone: timeZone });
  if (!at.isValid)
    throw new UsageFault(`--effective needs a day or time such as 2026-12-01T18:00, not ${text}`);
  return at.toMillis();
}

function localText(at: EpochMs, timeZone: string): string {
  return Number.isFinite(at) ? (DateTime.fromMillis(at, { zone: timeZone }).toISO() ?? '') : 'the beginning';
}

async function validate(path: string): Promise<void> {
  const { file } = await sourceAt(path);
  const { rules, promotions, redemption, examples } = file;
  const counts = `${rules.length} rules, ${promotions.length} promotions, ${redemption.length} redemption rules`;
  print(`${path} is right: ${counts}, ${examples.length} examples.`);
}

function inWords(awards: readonly string[]): string {
  return awards.length > 0 ? awards.join(', ') : 'nothing';
}

function failureText(place: string, { name, expected, came, reasons }: FailedExample): string {
  return [
    `${place}  ${name}`,
    `  expected: ${inWords(expected)}`,
    `  came:     ${inWords(came)}`,
    ...reasons.map((reason) => `  ${reason}`),
  ].join('\n');
}

async function test(path: string): Promise<void> {
  const { file, locate } = await sourceAt(path);
  const failed = failedExamples(file);
  for (const each of failed) {
    const { line, column } = locate({ pointer: each.pointer, detail: '' });
    print(failureText(`${path}:${line}:${column}`, each));
  }
  const count = file.examples.length;
  if (count === 0) print(`${path} has no examples.`);
  else print(`${count - failed.length} of ${count} examples of ${path} come out as they say.`);
  if (failed.length > 0) throw new WrongFile();
}

async function create(pool: pg.Pool, name: string, flags: Flags): Promise<void> {
  if (!/^[a-z][a-z0-9_-]{0,63}$/.test(name))
    throw new UsageFault('a program is named by 1 to 64 small letters, digits, - and _, a letter first');
  const { mode } = flags;
  if (mode !== 'live' && mode !== 'test') throw new UsageFault('--mode needs live or test');
  if (flags.file === undefined) throw new UsageFault('create needs --file FILE');
  const { file, text } = await sourceAt(flags.file);
  const programs = (await loadPrograms(pool)).all();
  if (programs.some((program) => program.name === name)) throw new UsageFault(`there is a program ${name}`);
  const program = await createProgram(pool, { name, mode, file, source: text, actor: 'command' });
  print(`Program ${program.name} (${mode}, ${program.timeZone}) is there. Its first key:`);
  print(`  npm run keys -- create --program ${program.name} --client office --role admin`);
}

async function diff(pool: pg.Pool, path: string, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const version = versionNumber(flags) ?? program.versions.at(-1)!.version;
  const before = await fileOfVersion(pool, program, version);
  if (!before) throw new UsageFault(`there is no version ${version} of ${program.name}`);
  const { file } = await sourceAt(path);
  const changes = changesBetween(before, file);
  print(
    flags.json
      ? JSON.stringify({ program: program.name, version, changes }, undefined, 2)
      : changesText(changes),
  );
}

async function apply(pool: pg.Pool, path: string, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const effectiveFrom = instantOf(flags.effective, program.timeZone);
  const { file: read, text, locate } = await sourceAt(path);
  const file = flags.title === undefined ? read : { ...read, title: flags.title };
  const applied = await applyVersion(pool, program, { file, source: text, effectiveFrom, actor: 'command' });
  if (applied.status === 'refused') {
    complain(path, applied.inFile.map(locate));
    if (applied.inTime !== undefined) process.stderr.write(`--effective ${applied.inTime}\n`);
    throw new WrongFile();
  }
  const { version, effectiveFrom: from } = applied.version;
  if (applied.status === 'unchanged') print(`${path} is version ${version} of ${program.name} already.`);
  else print(`Version ${version} of ${program.name} is in force from ${localText(from, program.timeZone)}.`);
}

async function backtest(pool: pg.Pool, path: string, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const { file } = await sourceAt(path);
  await backtestCommand(pool, file, program, flags, async () => {
    const identity = createIdentity(await loadIdentityKey(loadConfig()));
    const judged = seeingSegments(pool, createJudgedMembers(pool, identity, true));
    const unknown = { program: program.number, factsVersion: 0, mergedInto: undefined };
    return (row) => {
      const { member, occurredAt: at } = row;
      const decided = { member, position: row, at: row.at, segmentRun: row.request?.segmentRun };
      return judged(program, { ...unknown, member }, { at, decided });
    };
  });
}

async function exportFile(pool: pg.Pool, name: string, flags: Flags): Promise<void> {
  const program = await programNamed(pool, name);
  const version = versionNumber(flags) ?? program.versions.at(-1)!.version;
  const stored = await readVersion(pool, program.number, version);
  if (!stored) throw new UsageFault(`there is no version ${version} of ${name}`);
  process.stdout.write(stored.source);
}

const versionsShownMax = 1_000;

async function listOf(pool: pg.Pool, name: string): Promise<void> {
  const program = await programNamed(pool, name);
  const versions = await listVersions(pool, program.number, { limit: versionsShownMax });
  const now = presentVersion(program).version;
  const rows = versions.map(({ version, effectiveFrom, appliedBy, title }) => [
    version === now ? `${version} in force` : String(version),
    `from ${localText(effectiveFrom, program.timeZone)}`,
    `by ${appliedBy}`,
    title ?? '',
  ]);
  print(inColumns(rows));
}

function line(program: Program): string {
  const currencies = [...program.currencyByCode.keys()].join(', ');
  const { version } = presentVersion(program);
  return [program.name, program.mode, program.timeZone, currencies, `version ${version}`].join('  ');
}

async function list(pool: pg.Pool): Promise<void> {
  const programs = (await loadPrograms(pool)).all();
  for (const program of programs) print(line(program));
  if (programs.length === 0) print('There is no program yet.');
}

/** What needs a file alone, by its verb. */
const onFile: Readonly<Record<string, ((path: string) => Promise<void>) | undefined>> = { validate, test };

/** What is meant, by its verb; `subject` is a file or the name of a program. */
const verbs: Readonly<
  Record<string, ((pool: pg.Pool, subject: string, flags: Flags) => Promise<void>) | undefined>
> = {
  create,
  diff,
  apply,
  backtest,
  export: exportFile,
};

async function onDatabase(verb: string, subject: string | undefined, flags: Flags): Promise<void> {
  const pool = createPool(loadConfig().databaseUrl, 2);
  try {
    if (verb !== 'list') await verbs[verb]!(pool, subject!, flags);
    else await (subject === undefined ? list(pool) : listOf(pool, subject));
  } finally {
    await pool.end();
  }
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parsed(args);
  const [verb, subject, ...rest] = positionals;
  if (values.help || verb === undefined || verb === 'help') {
    print(help);
    return 0;
  }
  if (rest.length > 0) throw new UsageFault(`unexpected ${rest.join(' ')}`);
  if (!['list', ...Object.keys(onFile), ...Object.keys(verbs)].includes(verb))
    throw new UsageFault(`unknown command ${verb}`);
  if (verb !== 'list' && subject === undefined)
    throw new UsageFault(
      `${verb} needs ${verb === 'create' || verb === 'export' ? 'the name of a program' : 'a FILE'}`,
    );
  try {
    if (onFile[verb]) await onFile[verb](subject!);
    else await onDatabase(verb, subject, values);
    return 0;
  } catch (error) {
    if (error instanceof WrongFile) return 1;
    throw error;
  }
}

await runCommand('program', main);
