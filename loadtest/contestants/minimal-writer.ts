/**
 * Contestant: the least that brings the journal of `script-only` to the books, and the best such writer that we could
 * write. It reads a batch, writes it in one database transaction (rows by COPY, balances as one aggregated statement, the
 * position with them, so that each record is booked once) and trims what is written. While batches are small it waits a
 * little for more, as ours does, because small turns cost twice as much a record. No lineage, chain, lease or quarantine.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

interface Settings {
  readonly redisUrl: string;
  readonly databaseUrl: string;
}

const { redisUrl, databaseUrl } = JSON.parse(process.argv[2] ?? '') as Settings;
const batchSizeMax = 1_000;
const blockMs = 1_000;
/** Between batches that were not full. */
const gatherMs = 80;

const redis = new Redis(redisUrl);
const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();

const special = /[\\\t\n\r]/;
const specials = /[\\\t\n\r]/g;
const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** A text in COPY's format. */
function cell(text: string): string {
  return special.test(text) ? text.replace(specials, (character) => escapes[character]!) : text;
}

async function copy(target: string, rows: string): Promise<void> {
  const stream = client.query(copyFrom(`copy ${target} from stdin`));
  const finished = once(stream, 'finish');
  stream.end(rows);
  await finished;
}

interface Batch {
  readonly operations: string;
  readonly entries: string;
  readonly balances: ReadonlyMap<number, number>;
  readonly issued: number;
}

interface Effect {
  readonly legs: readonly (readonly [string, number, number, ...number[]])[];
}

/** Turns records into rows; the columns of a record are those of `script-only.ts`. */
function batchOf(records: readonly (readonly [string, readonly string[]])[], firstSeq: number): Batch {
  let operations = '';
  let entries = '';
  let issued = 0;
  const balances = new Map<number, number>();
  for (const [i, [, fields]] of records.entries()) {
    const [kind, name, operation, reference, fingerprint, at, program, by, order, occurred, request, effect] =
      fields[1]!.split('\t') as string[] & { length: 12 };
    const seq = firstSeq + i;
    const member = Number(name!.slice(2));
    operations += `${operation}\t${seq}\t${program}\t${by}\t${kind}\t${member}\t${cell(order!)}\t${reference}\t${fingerprint}\t${instant(at!)}\t${instant(occurred!)}\t${cell(request!)}\t${cell(effect!)}\n`;
    const { legs } = JSON.parse(effect!) as Effect;
    for (const [line, [account, currency, points, lot]] of legs.entries()) {
      const isWallet = account === 'wallet';
      entries += `${seq}\t${line}\t${account}\t${program}\t${currency}\t${points}\t${isWallet ? `${member}\t${lot}` : '\\N\t\\N'}\n`;
      if (isWallet) balances.set(member, (balances.get(member) ?? 0) + points);
      else issued += points;
    }
  }
  return { operations, entries, balances, issued };
}

function instant(ms: string): string {
  return new Date(Number(ms)).toISOString();
}

async function write({ operations, entries, balances, issued }: Batch, id: string, records: number) {
  await client.query('begin');
  await copy(
    'operation (operation, seq, program, client, kind, member, order_reference, reference_key, fingerprint, at, occurred_at, request, effect)',
    operations,
  );
  await copy('entry (seq, line, account, program, currency, points, member, lot)', entries);
  const members = [...balances.keys()].sort((a, b) => a - b);
  await client.query({
    name: 'balances',
    text: `insert into balance (account, member, points)
     select 'wallet', * from unnest($1::bigint[], $2::bigint[]) union all select 'issuance', 0, $3::bigint
     on conflict (account, member) do update set points = balance.points + excluded.points`,
    values: [members, members.map((member) => balances.get(member)), issued],
  });
  await client.query({
    name: 'position',
    text: 'update position set id = $1, records = records + $2, seq = seq + $2',
    values: [id, records],
  });
  await client.query('commit');
}

const found = await client.query<{ id: string; seq: string }>('select id, seq from position');
let { id } = found.rows[0]!;
let seq = Number(found.rows[0]!.seq);
let isEnding = false;
const end = () => {
  isEnding = true;
};
process.on('SIGTERM', end);
process.on('disconnect', end);
process.send?.('listening');
while (!isEnding) {
  const read = await redis.xread('COUNT', batchSizeMax, 'BLOCK', blockMs, 'STREAMS', 'journal', id);
  const records = read?.[0]?.[1] as [string, string[]][] | undefined;
  if (!records) continue;
  const last = records.at(-1)![0];
  await write(batchOf(records, seq + 1), last, records.length);
  id = last;
  seq += records.length;
  await redis.xtrim('journal', 'MINID', '~', id);
  if (records.length < batchSizeMax) await delay(gatherMs);
}
redis.disconnect();
await client.end();
