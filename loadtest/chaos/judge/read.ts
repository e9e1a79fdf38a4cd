/** Reads the books for the judge, straight from PostgreSQL in one snapshot. */
import pg from 'pg';
import type { BookRecord, Books, Entry } from './evidence.ts';

const pageMax = 10_000;
const pagesMax = 10_000;

const recordsQuery = `
  select o.shard, o.epoch, o.seq, replace(o.operation::text, '-', '') as operation, o.kind, o.client, o.member,
    (select coalesce(array_agg(replace(c.origin::text, '-', '')), '{}') from consequence c where c.operation = o.operation) as origins,
    replace(o.reference_key::text, '-', '') as "referenceKey", extract(epoch from o.at)::float8 * 1000 as "atMs",
    replace(o.conflict_with::text, '-', '') as "conflictWith",
    exists (select 1 from decided_stale d where d.operation = o.operation) as "decidedStale",
    o.effect, o.request,
    (select coalesce(json_agg(json_build_object('account', e.account, 'currency', e.currency, 'points', e.points,
       'member', e.member, 'lot', e.lot, 'hold', replace(e.hold::text, '-', ''), 'party', e.party) order by e.line), '[]')
     from entry e where e.operation = o.operation) as entries
  from operation o where (o.shard, o.epoch, o.seq) > ($1, $2, $3) order by o.shard, o.epoch, o.seq limit ${pageMax}`;

interface Row extends Omit<BookRecord, 'seq' | 'member' | 'entries'> {
  readonly seq: string;
  readonly member: string;
  readonly entries: Entry[];
}

async function readRecords(client: pg.Client): Promise<BookRecord[]> {
  const records: BookRecord[] = [];
  let after: (number | string)[] = [-1, 0, 0];
  for (let page = 0; page < pagesMax; page += 1) {
    const { rows } = await client.query<Row>(recordsQuery, after);
    for (const row of rows) {
      records.push({ ...row, seq: Number(row.seq), member: Number(row.member), atMs: Math.round(row.atMs) });
    }
    const last = rows.at(-1);
    if (!last || rows.length < pageMax) return records;
    after = [last.shard, last.epoch, last.seq];
  }
  throw new Error('the books do not end');
}

async function rowsOf<T extends pg.QueryResultRow>(client: pg.Client, sql: string): Promise<T[]> {
  return (await client.query<T>(sql)).rows;
}

/** Reads everything that the judge asks of the books. */
export async function readBooks(databaseUrl: string, program: number): Promise<Books> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 10_000,
    query_timeout: 300_000,
  });
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    const books: Books = {
      program,
      records: await readRecords(client),
      epochs: await rowsOf(
        client,
        `select shard, epoch, extract(epoch from opened_at)::float8 * 1000 as "openedAtMs", previous_epoch as "previousEpoch",
           previous_last_seq::float8 as "previousLastSeq", lost_from::float8 as "lostFrom", lost_to::float8 as "lostTo"
         from epoch order by shard, epoch`,
      ),
      positions: await rowsOf(client, 'select shard, epoch, seq::float8 as seq from position order by shard'),
      lots: await rowsOf(
        client,
        'select member::float8 as member, currency, lot, points::float8 as points from lot',
      ),
      debts: await rowsOf(
        client,
        'select member::float8 as member, currency, points::float8 as points from debt',
      ),
      holds: await rowsOf(client, `select replace(hold::text, '-', '') as hold, status from hold`),
      accounts: (
        await rowsOf<{ account: string; currency: number; party: number; points: string }>(
          client,
          `select account::text, currency, party, sum(points)::text as points from account_balance group by 1, 2, 3`,
        )
      ).map((row) => ({ ...row, points: BigInt(row.points) })),
      transfers: await rowsOf(
        client,
        `select replace(transfer::text, '-', '') as transfer, state from transfer`,
      ),
      quarantined: await rowsOf(client, 'select shard, epoch, seq::float8 as seq from quarantine'),
    };
    await client.query('commit');
    return books;
  } finally {
    await client.end();
  }
}
