/** `npm run quarantine`: what could not be booked, and what a person says becomes of it. */
import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { NotResolved, resolveQuarantined } from '#src/jobs/resolve.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import {
  listQuarantine,
  parseQuarantineId,
  type QuarantinedRow,
  quarantineView,
  readQuarantined,
  renderList,
  renderOne,
} from './quarantine.ts';

const help = `npm run quarantine -- list|show|retry|void

Journal records that could not be booked. Each stands in the books under its number with the difference in the account
"suspense", and the spending of its member is frozen until it is settled.

  list [--all]           what is open; --all: what was settled, too
  show ID                one record: why, what is booked of it, what the journal had
  retry ID [--by NAME]   books what it should have booked, where this version can read it
  void ID [--by NAME]    it stays out: what was booked of it is taken back

  --by NAME  who says so; the name stands in the journal (default: the user of this terminal)
  --json     JSON instead of the table
  --help     this text

ID is shard, epoch and number: 3-1-17. Commands may be repeated: a record is settled once, and the first word counts.
`;

async function settle(row: QuarantinedRow, verb: string, by: string, json: boolean): Promise<void> {
  const app = await createApp({ ...loadConfig(), logLevel: 'silent' }, 'quarantine');
  try {
    const done = await resolveQuarantined(app, row, verb === 'retry' ? 'retried' : 'voided', by);
    if (json) print(JSON.stringify({ object: 'quarantine_resolution', ...done }));
    else
      print(
        `${done.resolution} by ${done.by} with operation cor_${done.correction}; spending is ${done.spendingOpen ? 'open' : 'still frozen: there is another cause'}`,
      );
  } finally {
    await app.close();
  }
}

const options = {
  all: { type: 'boolean' },
  by: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  const [verb, text, ...rest] = positionals;
  const json = values.json ?? false;
  if (values.help || verb === undefined) return print(help);
  if (rest.length > 0 || !['list', 'show', 'retry', 'void'].includes(verb))
    throw new UsageFault(`unknown command ${positionals.join(' ')}`);
  const by = values.by ?? userInfo().username;
  if (!/^[\p{L}\p{N} ._@-]{1,64}$/u.test(by)) throw new UsageFault('--by takes a name');
  const pool = createPool(loadConfig().databaseUrl, 1);
  let row: QuarantinedRow | undefined;
  try {
    if (verb === 'list') {
      const rows = await listQuarantine(pool, values.all ?? false);
      return print(json ? JSON.stringify(rows.map(quarantineView)) : renderList(rows));
    }
    const id = parseQuarantineId(text ?? '');
    if (!id) throw new UsageFault(`${verb} takes an id such as 3-1-17`);
    row = await readQuarantined(pool, id);
  } finally {
    await pool.end();
  }
  if (!row) throw new NotResolved(`there is no record ${text} in quarantine`);
  if (verb !== 'show') return settle(row, verb, by, json);
  const { request, effectText } = row.record;
  print(
    json
      ? JSON.stringify({ ...quarantineView(row), booked: row.booked.legs, journal: { request, effectText } })
      : renderOne(row),
  );
}

await runCommand('quarantine', main);
