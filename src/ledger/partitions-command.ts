/** `npm run partitions`: the months of the ledger, and the way of old ones to the archive and back. */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
// Its parser of 64-bit integers is the one that the archive's counts need.
import '#src/platform/postgres.ts';
import { archivedMonths, attachMonth, detachMonth } from './archive.ts';
import { stretches } from './partitions.ts';

const help = `npm run partitions -- list | detach MONTH [--keep MONTHS] | attach MONTH

The ledger (operations and entries) is kept in months of UTC. Upkeep adds them ahead of time.

  list              what is in the ledger and in the archive
  detach MONTH      moves the oldest month to the schema "archive". Sums, numbers and references stay behind, so balances,
                    audit and repeats go on; operations of the month answer 410 operation_archived from then on
  attach MONTH      brings the newest archived month back

  --keep MONTHS     months that stay in the ledger at least, the present one not counted (default 13, at least 1)
  --json            JSON instead of the table
  --help            this text

MONTH is 2026-11, or until-2026-12 for what stood there before there were months. Run \`npm run audit\` before and after. From
the archive a month can be dumped (pg_dump -t 'archive.*_2026_11') and dropped; attach needs its two tables back.
`;

const options = {
  keep: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

const monthPattern = /^(?:until-)?\d{4}-\d{2}$/;

function tableName(month: string): string {
  return month.replaceAll('-', '_');
}

function monthName(table: string): string {
  return table.replaceAll('_', '-');
}

function day(at: Date | null): string {
  return at === null ? '…' : at.toISOString().slice(0, 10);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`;
}

interface Line {
  readonly month: string;
  readonly state: 'ledger' | 'archive';
  readonly from: string;
  readonly to: string;
  /** Exact in the archive, PostgreSQL's estimate in the ledger; null where there is none yet. */
  readonly operations: number | null;
  readonly bytes?: number;
}

function counted({ operations, state }: Line): string {
  if (operations === null) return 'not counted yet';
  return `${state === 'ledger' ? 'about ' : ''}${operations.toLocaleString('en-US')} operations`;
}

async function lines(connection: pg.Client): Promise<Line[]> {
  const archived = (await archivedMonths(connection)).map(
    ({ month, firstId, to, operations }): Line => ({
      month: monthName(month),
      state: 'archive',
      from: firstId === null ? '…' : month.replaceAll('_', '-'),
      to: day(to),
      operations,
    }),
  );
  const present = (await stretches(connection)).map(
    ({ name, from, to, operations, bytes }): Line => ({
      month: monthName(name),
      state: 'ledger',
      from: day(from),
      to: day(to),
      operations,
      bytes,
    }),
  );
  return [...archived, ...present];
}

function render(rows: readonly Line[]): string {
  const cells = rows.map((row) => [
    row.month,
    row.state,
    `${row.from} to ${row.to}`,
    counted(row),
    row.bytes === undefined ? '' : megabytes(row.bytes),
  ]);
  return inColumns(cells);
}

/** Midnight before the first day of the month that lies `keep` whole months before this one. */
function endedBefore(keep: number): Date {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - keep, 1));
}

function keepOf(text: string | undefined): number {
  const keep = Number(text ?? 13);
  if (!Number.isInteger(keep) || keep < 1 || keep > 1_200)
    throw new UsageFault('--keep takes 1 to 1200 months');
  return keep;
}

async function move(connection: pg.Client, verb: string, month: string, keep: number): Promise<string> {
  if (verb === 'attach') {
    await attachMonth(connection, tableName(month));
    return `${month} is in the ledger again`;
  }
  const { operations, entries } = await detachMonth(connection, tableName(month), endedBefore(keep));
  return `${month} is in the archive: ${operations.toLocaleString('en-US')} operations, ${entries.toLocaleString('en-US')} entries`;
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  const [verb, month, ...rest] = positionals;
  if (values.help || verb === undefined) return print(help);
  const isKnown = verb === 'list' ? month === undefined : ['detach', 'attach'].includes(verb);
  if (!isKnown || rest.length > 0) throw new UsageFault(`unknown command ${positionals.join(' ')}`);
  if (verb !== 'list' && !monthPattern.test(month ?? ''))
    throw new UsageFault(`${verb} takes a month such as 2026-11`);
  const keep = keepOf(values.keep);
  const connection = new pg.Client({
    connectionString: loadConfig().databaseUrl,
    application_name: 'partitions',
    connectionTimeoutMillis: 5_000,
    statement_timeout: 3_600_000,
  });
  await connection.connect();
  try {
    if (verb !== 'list') return print(await move(connection, verb, month!, keep));
    const rows = await lines(connection);
    print(values.json ? JSON.stringify(rows) : render(rows));
  } finally {
    await connection.end();
  }
}

await runCommand('partitions', main);
