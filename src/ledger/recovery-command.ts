/** `npm run recover`: where every shard stands, and the word of a person that a restored PostgreSQL is to be gone on with. */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { installedShards } from './installation.ts';
import { askMove, askStay, masterId, movesAsked } from './move.ts';
import { renderRestoration, renderStatuses, shardStatuses } from './recovery-status.ts';
import type { Restoration } from './restore.ts';

const help = `npm run recover -- --status [--json]
npm run recover -- --accept-restore [--shard N]
npm run recover -- --move N HOST:PORT

Shards recover by themselves; --status shows where each stands: state, epoch, written position, the writer that holds its
lease and its term, operations that were decided on stale balances, and numbers that were acknowledged by the journal alone
and lost (epoch-from…to).

  --status          the table, or plain lines where no terminal reads them
  --accept-restore  for shards that are ledger_behind: PostgreSQL was restored to a point that is older than the journal
                    reaches. Restore a newer backup instead if there is one. Otherwise this goes on with the older copy:
                    the writer books what Redis still knows against the account "recovered" and lists the rest
  --move N H:P      on a Redis Cluster: shard N goes to the master at that address, with its members and journal. It is closed
                    meanwhile. A move that was interrupted goes on by itself; with the address where the shard still is, it
                    is given up and the shard comes back from the books
  --shard N         one shard alone
  --json            one JSON object instead of the table
  --help            this text
`;

const waitMsMax = 120_000;
const moveMsMax = 600_000;
const pollMs = 200;
/** That a slot has another owner is read within a second. */
const noticedMsMax = 5_000;

const options = {
  status: { type: 'boolean' },
  'accept-restore': { type: 'boolean' },
  move: { type: 'string' },
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

interface Move {
  readonly shard: number;
  readonly target: string;
}

function moveAsked(shard: string | undefined, positionals: readonly string[]): Move | undefined {
  const [target, ...more] = positionals;
  if (shard === undefined) {
    if (target !== undefined) throw new UsageFault(`what is "${target}"?`);
    return undefined;
  }
  if (!/^\d{1,4}$/.test(shard) || target === undefined || !/^[^ @/]+:\d+$/.test(target) || more.length > 0)
    throw new UsageFault('--move takes a shard and the host:port of a master');
  return { shard: Number(shard), target };
}

/** Takes a move back and waits until a writer has ended it. */
async function stay(connection: pg.Client, shard: number, address: string): Promise<number> {
  if (!(await askStay(connection, shard))) {
    print(`shard ${shard} is at ${address} already`);
    return 0;
  }
  const deadline = Date.now() + waitMsMax;
  while (Date.now() < deadline) {
    await delay(pollMs);
    if ((await movesAsked(connection, [shard])).size > 0) continue;
    print(`the move of shard ${shard} is given up: it stays at ${address}`);
    return 0;
  }
  process.stderr.write(`No ledger writer has ended the move of shard ${shard}; its log says why.\n`);
  return 1;
}

/** Notes the move and waits until a writer has carried it out. */
async function moveShard(connection: pg.Client, nodes: RedisNodes, { shard, target }: Move): Promise<number> {
  if (!nodes.cluster) throw new UsageFault('--move: REDIS_URL names one Redis and not a cluster');
  if (shard >= (await installedShards(connection))) throw new UsageFault(`there is no shard ${shard}`);
  await nodes.cluster.at(target, (redis) => masterId(redis, target));
  if (nodes.nodeOf(shard).address === target) return stay(connection, shard, target);
  const goesTo = await askMove(connection, shard, target);
  if (goesTo !== target) {
    process.stderr.write(
      `Shard ${shard} is on its way to ${goesTo}: move it from there when it has arrived, or back to where it is.\n`,
    );
    return 1;
  }
  const deadline = Date.now() + moveMsMax;
  let endedAt: number | undefined;
  while (Date.now() < deadline) {
    await delay(pollMs);
    if ((await movesAsked(connection, [shard])).size > 0) continue;
    endedAt ??= Date.now();
    if (nodes.nodeOf(shard).address !== target && Date.now() - endedAt > noticedMsMax) {
      process.stderr.write(
        `The move of shard ${shard} was given up: ${target} is not a master of the cluster any more. See --status, and ask again.\n`,
      );
      return 1;
    }
    const [status] = (await shardStatuses(connection, nodes)).filter((each) => each.shard === shard);
    if (status?.state !== 'serving' || status.node !== target) continue;
    print(`shard ${shard} is at ${target} and serves in epoch ${status.epoch}`);
    return 0;
  }
  process.stderr.write(
    `No ledger writer has moved shard ${shard} within ${moveMsMax / 1_000} s; the word stands, and the writer that holds it will. Its log says what keeps it; "--move ${shard} ${nodes.nodeOf(shard).address}" takes the word back.\n`,
  );
  return 1;
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  if (values.help) {
    print(help);
    return 0;
  }
  const move = moveAsked(values.move, positionals);
  if (!values.status && !values['accept-restore'] && !move)
    throw new UsageFault('--status, --accept-restore or --move?');
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
    if (move) return await moveShard(connection, nodes, move);
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
