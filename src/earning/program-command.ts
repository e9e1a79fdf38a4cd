/**
 * `npm run program`: founds a program and shows what is stored of one. Running processes serve a new program within a
 * second; its first key comes from `npm run keys`.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { z } from 'zod';
import { loadConfig } from '#src/config.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createProgram, definitionSchema, loadPrograms, type Program } from './program.ts';

const help = `Programs of the points engine.

  npm run program -- create NAME --definition FILE [--time-zone ZONE] [--mode live|test]
  npm run program -- list
  npm run program -- export NAME

  --definition FILE   JSON with currencies, rules and funders; "export" prints one to start from
  --time-zone ZONE    IANA time zone in which its days begin (default UTC); it cannot change later
  --mode MODE         live (default), or test: its clock can be moved forward

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  definition: { type: 'string' },
  'time-zone': { type: 'string', default: 'UTC' },
  mode: { type: 'string', default: 'live' },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
type Flags = ReturnType<typeof parsed>['values'];

function checkTimeZone(zone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    throw new UsageFault(`--time-zone needs an IANA zone such as Europe/Berlin, not ${zone}`);
  }
}

async function definitionIn(path: string | undefined): Promise<z.input<typeof definitionSchema>> {
  if (path === undefined) throw new UsageFault('create needs --definition FILE');
  const text = await readFile(path, 'utf8').catch(() => {
    throw new UsageFault(`${path} cannot be read`);
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageFault(`${path} is not JSON`);
  }
  const checked = definitionSchema.safeParse(value);
  if (!checked.success) throw new UsageFault(`${path}:\n${z.prettifyError(checked.error)}`);
  return checked.data;
}

async function create(pool: pg.Pool, name: string, flags: Flags): Promise<void> {
  if (!/^[a-z][a-z0-9_-]{0,63}$/.test(name))
    throw new UsageFault('a program is named by 1 to 64 small letters, digits, - and _, a letter first');
  const { mode, 'time-zone': timeZone } = flags;
  if (mode !== 'live' && mode !== 'test') throw new UsageFault('--mode needs live or test');
  checkTimeZone(timeZone);
  const definition = await definitionIn(flags.definition);
  const programs = (await loadPrograms(pool)).all();
  if (programs.some((program) => program.name === name)) throw new UsageFault(`there is a program ${name}`);
  const program = await createProgram(pool, { name, mode, timeZone, definition });
  print(`Program ${program.name} (${mode}, ${timeZone}) is there. Its first key:`);
  print(`  npm run keys -- create --program ${program.name} --client office --role admin`);
}

function line(program: Program): string {
  const currencies = program.definition.currencies.map((currency) => currency.code).join(', ');
  return [program.name, program.mode, program.timeZone, currencies].join('  ');
}

async function list(pool: pg.Pool): Promise<void> {
  const programs = (await loadPrograms(pool)).all();
  for (const program of programs) print(line(program));
  if (programs.length === 0) print('There is no program yet.');
}

async function show(pool: pg.Pool, name: string): Promise<void> {
  const program = (await loadPrograms(pool)).all().find((known) => known.name === name);
  if (!program) throw new UsageFault(`there is no program ${name}`);
  print(JSON.stringify(program.definition, undefined, 2));
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parsed(args);
  const [verb, name, ...rest] = positionals;
  if (values.help || verb === undefined || verb === 'help') {
    print(help);
    return;
  }
  if (rest.length > 0) throw new UsageFault(`unexpected ${rest.join(' ')}`);
  if (!['create', 'list', 'export'].includes(verb)) throw new UsageFault(`unknown command ${verb}`);
  if (verb !== 'list' && name === undefined) throw new UsageFault(`${verb} needs the name of a program`);
  const pool = createPool(loadConfig().databaseUrl, 1);
  try {
    if (verb === 'create') await create(pool, name!, values);
    else if (verb === 'export') await show(pool, name!);
    else await list(pool);
  } finally {
    await pool.end();
  }
}

await runCommand('program', main);
