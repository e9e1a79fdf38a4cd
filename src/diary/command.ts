/** `npm run diary -- rebuild | check`: makes the diary again from the books, to compare it or to take its place. */
import { parseArgs } from 'node:util';
import { loadConfig } from '#src/config.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { type Comparison, makeAgain } from './again.ts';

const help = `npm run diary -- check | rebuild [--json]

The diary is what members did by day: visits, spending, flights, points earned. Tiers and segments are sums over it. It
follows from the books alone, and this makes it again from them, beside the one in use, while everything goes on.

  check      compares the two at the same numbers of every shard; exit 1 where they differ
  rebuild    the one in use becomes what the books say; says what differed

  --json     one JSON object instead of the table
  --help     this text

It writes into a schema of its own, "diary_again", as much as the diary has, and needs the right to create one. Archived
months are read where they are still in the schema "archive". Followers wait while a rebuild compares and writes.
`;

const options = { json: { type: 'boolean' }, help: { type: 'boolean' } } as const;

function countOf({ differences }: Comparison): number {
  return differences.reduce((sum, { missing, extra, different }) => sum + missing + extra + different, 0);
}

function report(comparison: Comparison, isRebuild: boolean): string {
  const rows = comparison.differences.map(({ table, missing, extra, different }) =>
    [table, missing, extra, different].map(String),
  );
  const count = countOf(comparison);
  const outcome = isRebuild ? 'the diary is what the books say now' : 'nothing was changed';
  return [
    `${comparison.operations} operations of the books make ${comparison.days} days.`,
    '',
    inColumns([['table', 'missing', 'extra', 'different'], ...rows]),
    '',
    count === 0 ? 'The diary is what the books say.' : `${count} rows differed; ${outcome}.`,
  ].join('\n');
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  if (values.help) {
    print(help);
    return 0;
  }
  const [action, ...rest] = positionals;
  if ((action !== 'check' && action !== 'rebuild') || rest.length > 0)
    throw new UsageFault('say check or rebuild');
  const { databaseUrl } = loadConfig();
  const pool = createPool(databaseUrl, 1);
  const showsProgress = process.stderr.isTTY && !values.json;
  try {
    const comparison = await makeAgain(
      databaseUrl,
      await loadPrograms(pool),
      action === 'rebuild',
      (operations) => {
        if (showsProgress) process.stderr.write(`\r\x1b[K${operations} operations`);
      },
    );
    if (showsProgress) process.stderr.write('\r\x1b[K');
    print(
      values.json
        ? JSON.stringify({ object: 'diary_comparison', ...comparison })
        : report(comparison, action === 'rebuild'),
    );
    return action === 'check' && countOf(comparison) > 0 ? 1 : 0;
  } finally {
    await pool.end();
  }
}

await runCommand('diary', main, 2);
