/**
 * The most that PostgreSQL takes of what the ledger writer writes: the same rows of operations and entries, byte for byte,
 * into tables of the same columns and indexes by COPY, one commit a batch and batches of the size of the writer's own turns.
 * Balances, lots, references, positions and hashes are left out, and so are reading, checking and formatting.
 */
import { once } from 'node:events';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { withPostgres } from '../setup/with-postgres.ts';

const tables = ['operation', 'entry'] as const;
const copyMs = 60_000;

/** How far each shard's books reach. */
type Reach = ReadonlyMap<number, { readonly epoch: number; readonly seq: number }>;

export async function reachOf(client: pg.ClientBase): Promise<Reach> {
  const { rows } = await client.query<{ shard: number; epoch: number; seq: number }>(
    'select shard, epoch, seq::float8 as seq from position',
  );
  return new Map(rows.map(({ shard, epoch, seq }) => [shard, { epoch, seq }]));
}

/** How many turns the writer needed between two reaches: what one turn wrote has one time. */
export async function turnsBetween(client: pg.ClientBase, from: Reach, to: Reach): Promise<number> {
  const { rows } = await client.query<{ turns: number }>(
    `select count(distinct written_at)::int as turns from block b join (values ${spans(from, to, 0, 1)}) as s(shard, epoch, after, through)
       on b.shard = s.shard and b.epoch = s.epoch and b.first_seq > s.after and b.first_seq <= s.through`,
  );
  return rows[0]!.turns;
}

/** The part of each shard's records that falls into one of so many batches, as rows of numbers. */
function spans(from: Reach, to: Reach, batch: number, batches: number): string {
  const rows: string[] = [];
  for (const [shard, { epoch, seq }] of to) {
    const start = from.get(shard);
    if (start?.epoch !== epoch) throw new Error(`shard ${shard} was recovered between the two reaches`);
    const at = (share: number) => start.seq + Math.floor(((seq - start.seq) * share) / batches);
    rows.push(`(${shard}, ${epoch}, ${at(batch)}, ${at(batch + 1)})`);
  }
  return rows.join(', ');
}

interface Batch {
  readonly rows: Readonly<Record<(typeof tables)[number], Buffer>>;
}

interface WrittenRows {
  readonly batches: readonly Batch[];
  readonly rows: number;
}

/** Reads the rows between two reaches back, in batches. */
export async function writtenRows(
  client: pg.ClientBase,
  from: Reach,
  to: Reach,
  batchCount: number,
): Promise<WrittenRows> {
  const batches: Batch[] = [];
  let rows = 0;
  for (let batch = 0; batch < batchCount; batch += 1) {
    const read = async (table: (typeof tables)[number]): Promise<Buffer> => {
      const stream = client.query(
        copyTo(
          `copy (select t.* from (values ${spans(from, to, batch, batchCount)}) as s(shard, epoch, after, through)
             join operation o on o.shard = s.shard and o.epoch = s.epoch and o.seq > s.after and o.seq <= s.through
             join ${table} t on t.operation = o.operation order by o.shard, o.seq) to stdout`,
        ),
      );
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks);
      // The stream ends before PostgreSQL has said how many there were. A line feed inside a value is escaped.
      for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) rows += 1;
      return text;
    };
    batches.push({ rows: { operation: await read('operation'), entry: await read('entry') } });
  }
  return { batches, rows };
}

/** Makes empty tables of the same columns and indexes as the partitions that the writer fills now. */
async function emptyTables(client: pg.ClientBase): Promise<void> {
  await client.query('drop schema if exists ceiling cascade');
  await client.query('create schema ceiling');
  for (const table of tables) {
    const { rows } = await client.query<{ partition: string }>(
      `select tableoid::regclass::text as partition from ${table} order by operation desc limit 1`,
    );
    await client.query(`create table ceiling.${table} (like ${rows[0]!.partition} including all)`);
  }
}

async function writeBatch(client: pg.Client, batch: Batch): Promise<void> {
  await client.query('begin');
  for (const table of tables) {
    const stream = client.query(copyFrom(`copy ceiling.${table} from stdin`));
    const finished = once(stream, 'finish', { signal: AbortSignal.timeout(copyMs) });
    stream.end(batch.rows[table]);
    await finished;
  }
  await client.query('commit');
}

/** Writes the rows with nothing else; rows a second. */
export async function copyRaw(databaseUrl: string, { batches, rows }: WrittenRows): Promise<number> {
  const write = async (client: pg.Client): Promise<number> => {
    try {
      await emptyTables(client);
      const startedMs = performance.now();
      for (const batch of batches) await writeBatch(client, batch);
      const seconds = (performance.now() - startedMs) / 1_000;
      const stored = await client.query<{ count: number }>(
        `select ((select count(*) from ceiling.operation) + (select count(*) from ceiling.entry))::int as count`,
      );
      if (stored.rows[0]!.count !== rows)
        throw new Error(`${stored.rows[0]!.count} of ${rows} rows were copied`);
      return rows / seconds;
    } finally {
      await client.query('drop schema if exists ceiling cascade').catch(() => undefined);
    }
  };
  return withPostgres(databaseUrl, write, copyMs);
}
