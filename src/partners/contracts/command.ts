/** `npm run partners`: brings partners up to date with their files. Running processes know within half a second. */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { DateTime } from 'luxon';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import type { FileFault } from '#src/earning/file/read.ts';
import { programNamed } from '#src/earning/named.ts';
import { programNow } from '#src/earning/program.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { applyPartner } from './applying.ts';
import { contractAt, holdsAt } from './arithmetic.ts';
import { readPartnerFile } from './resolve.ts';
import { partnersOfProgram } from './store.ts';

const help = `Partners of the points engine, described by files. The folder src/partners/samples/ has some to start from.

  npm run partners -- validate FILE [--zone ZONE]
  npm run partners -- apply FILE [--program NAME] [--dry-run]
  npm run partners -- list [--program NAME] [--json]

  validate     says what is wrong in a file, as FILE:LINE:COLUMN and a sentence; ends with 1 where something is
  apply        makes a partner what its file says. What has begun keeps its terms: it can be given a last day (through),
               and another version can follow
  list         the partners with the contract and the rates in force

  --program NAME   the program; may be left out when there is only one
  --zone ZONE      the zone that the days of the file are of, for validate; default UTC
  --dry-run        says what would change and applies nothing
  --json           for programs

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  program: { type: 'string' },
  zone: { type: 'string', default: 'UTC' },
  'dry-run': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
type Flags = ReturnType<typeof parsed>['values'];

/** The file was read and is wrong; what it is was printed. */
class WrongFile extends Error {}

function complain(path: string, faults: readonly FileFault[]): void {
  for (const { line, column, pointer, detail } of faults)
    process.stderr.write(`${path}:${line}:${column}  ${pointer === '' ? '' : `${pointer} `}${detail}\n`);
}

async function fileAt(path: string, timeZone: string) {
  const bytes = await readFile(path).catch(() => {
    throw new UsageFault(`${path} cannot be read`);
  });
  if (!isUtf8(bytes)) throw new UsageFault(`${path} is not text in UTF-8`);
  const source = bytes.toString('utf8');
  const { file, faults, locate } = readPartnerFile(source, timeZone);
  if (file) return { source, file, locate };
  complain(path, faults);
  throw new WrongFile();
}

async function validate(path: string, { zone }: Flags): Promise<void> {
  if (!DateTime.local({ zone }).isValid)
    throw new UsageFault(`--zone needs a zone such as Europe/Berlin, not ${zone}`);
  const { file } = await fileAt(path, zone);
  print(
    `${path} is right: ${file.contracts.length} contracts, ${file.rates.length} rates of ${file.partner}.`,
  );
}

async function apply(pool: pg.Pool, path: string, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const dryRun = flags['dry-run'];
  const { file, source, locate } = await fileAt(path, program.timeZone);
  const applied = await applyPartner(pool, program, { file, source, actor: 'command' }, { dryRun });
  if (applied.status === 'outdated') throw new Error('a file that replaces any other cannot be outdated');
  if (applied.status === 'refused') {
    complain(path, applied.findings.map(locate));
    throw new WrongFile();
  }
  const { contracts, rates } = applied.changes;
  const counts = `contracts ${contracts.added} added, ${contracts.ended} ended; rates ${rates.added} added, ${rates.ended} ended`;
  const what =
    applied.status === 'unchanged' ? 'is what the file says already' : `${applied.status}: ${counts}`;
  print(`${dryRun ? 'Not applied. ' : ''}Partner ${applied.name} of ${program.name} ${what}.`);
}

async function list(pool: pg.Pool, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const now = programNow(program);
  const partners = await partnersOfProgram(pool, program.number);
  if (flags.json) return print(JSON.stringify(partners));
  if (partners.length === 0) return print(`Program ${program.name} has no partners.`);
  const rows = partners.map((partner) => {
    const contract = contractAt(partner, now);
    const rates = partner.rates
      .filter((rate) => holdsAt(rate, now))
      .map(({ direction, currency, partnerCurrency, ratio, tier, version }) => {
        const line =
          direction === 'out' ? `${currency} to ${partnerCurrency}` : `${partnerCurrency} to ${currency}`;
        return `${line} ${ratio.denominator}:${ratio.numerator}${tier === null ? '' : ` for ${tier}`} (${version})`;
      });
    return [
      String(partner.number),
      partner.name,
      partner.status,
      contract ? `contract ${contract.version}, ${contract.billing.kind}` : 'no contract',
      rates.join(', ') || 'no rates',
    ];
  });
  print(inColumns(rows));
}

async function onDatabase(verb: string, path: string | undefined, flags: Flags): Promise<void> {
  const pool = createPool(loadConfig().databaseUrl, 2);
  try {
    await (verb === 'apply' ? apply(pool, path!, flags) : list(pool, flags));
  } finally {
    await pool.end();
  }
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parsed(args);
  const [verb, path, ...rest] = positionals;
  if (values.help || verb === undefined || verb === 'help') {
    print(help);
    return 0;
  }
  if (rest.length > 0 || (verb === 'list' && path !== undefined))
    throw new UsageFault(`unexpected ${rest[0] ?? path}`);
  if (!['validate', 'apply', 'list'].includes(verb)) throw new UsageFault(`unknown command ${verb}`);
  if (verb !== 'list' && path === undefined) throw new UsageFault(`${verb} needs a FILE`);
  try {
    if (verb === 'validate') await validate(path!, values);
    else await onDatabase(verb, path, values);
    return 0;
  } catch (error) {
    if (error instanceof WrongFile) return 1;
    throw error;
  }
}

await runCommand('partners', main);
