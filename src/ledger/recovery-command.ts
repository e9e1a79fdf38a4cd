/** `npm run recover`: where every shard stands, and the word of a person that a restored PostgreSQL is to be gone on with. */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { installedShards } from './installation.ts';
import { renderRestoration, renderStatuses, shardStatuses } from './recovery-status.ts';
import type { Restoration } from './restore.ts';

const help = `npm run recover -- --status [--json]
npm run recover -- --accept-restore [--shard N]

Shards recover by themselves; --status shows where each stands: state, epoch, written position, the writer that holds its
lease and its term, operations that were decided on stale balances, and numbers that were acknowledged by the journal alone
and lost (epoch-from…to).

  --status          the table, or plain lines where no terminal reads them
  --accept-restore  for shards that are ledger_behind: PostgreSQL was restored to a point that is older than the journal
                    reaches. Restore a newer backup instead if there is one. Otherwise this goes on with the older copy:
                    the writer books what Redis still knows against the account "recovered" and lists the rest
  --shard N         one shard alone
  --json            one JSON object instead of the table
  --help            this text
`;

const waitMsMax = 120_000;
const pollMs = 200;

const options = {
  status: { type: 'boolean' },
  'accept-restore': { type: 'boolean' },
  shard: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

async function accept(connection: pg.Client, shard: number | null): Promise<number[]> {
  const { rows } = await connection.query<{ shard: number }>(
    `update shard_state set accepted_at = now() where state = 'ledger_behind' and ($1::int is null or shard = $1) returning shard`,
    [shard],
  );
  return rows.map((row) => row.shard).sort((a, b) => a - b);
}

/** Waits until a writer has rebuilt the shards and says what came of each. */
async function acceptRestore(connection: pg.Client, shard: number | null): Promise<number> {
  const shards = await accept(connection, shard);
  if (shards.length === 0) {
    process.stdout.write('No shard is ledger_behind: there is nothing to accept.\n');
    return 0;
  }
  const deadline = Date.now() + waitMsMax;
  let waiting = shards;
  while (waiting.length > 0 && Date.now() < deadline) {
    await delay(pollMs);
    const { rows } = await connection.query<{ shard: number }>(
      `select shard from shard_state where state = 'ledger_behind' and shard = any($1::int[])`,
      [shards],
    );
    waiting = rows.map((row) => row.shard);
  }
  const done = await connection.query<{ shard: number; report: Restoration }>(
    `select distinct on (shard) shard, report from restoration where shard = any($1::int[]) order by shard, epoch desc`,
    [shards.filter((each) => !waiting.includes(each))],
  );
  for (const row of done.rows) process.stdout.write(`${renderRestoration(row.shard, row.report)}\n`);
  if (waiting.length === 0) return 0;
  process.stderr.write(
    `No ledger writer has rebuilt shards ${waiting.join(', ')} within ${waitMsMax / 1_000} s; the word stands, and the writer that holds them will. Is one running?\n`,
  );
  return 1;
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = typed(() => parseArgs({ args: [...args], options }));
  if (values.help) {
    print(help);
    return 0;
  }
  if (!values.status && !values['accept-restore']) throw new UsageFault('--status or --accept-restore?');
  if (values.shard !== undefined && !/^\d{1,4}$/.test(values.shard))
    throw new UsageFault('--shard takes a number');
  const shard = values.shard === undefined ? null : Number(values.shard);
  const { databaseUrl, redisUrl } = loadConfig();
  const connection = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'recover',
    connectionTimeoutMillis: 5_000,
    statement_timeout: 30_000,
  });
  let nodes: RedisNodes | undefined;
  try {
    await connection.connect();
    if (values['accept-restore']) return await acceptRestore(connection, shard);
    nodes = await openShardNodes(redisUrl, await installedShards(connection), { commandTimeoutMs: 2_000 });
    const all = await shardStatuses(connection, nodes);
    const asked = all.filter((status) => shard === null || status.shard === shard);
    const text = values.json
      ? JSON.stringify({ object: 'recovery', shards: asked })
      : renderStatuses(asked, process.stdout.isTTY);
    print(text);
    return 0;
  } finally {
    nodes?.close();
    await connection.end().catch(() => {});
  }
}

await runCommand('recover', main, 2);
