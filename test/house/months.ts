/** Months of the ledger that a test needs: one that ends now, and some that have passed. */
import pg from 'pg';

function firstIdAt(ms: number): string {
  const hex = ms.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** Cuts the stretch of the present moment in two, named so; everything booked so far is in the first. */
export async function cutHere(databaseUrl: string, first: string, second: string): Promise<Date> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query('begin');
    await client.query('lock table operation, entry in access exclusive mode');
    const cutMs = Date.now() + 1;
    const { rows } = await client.query<{ name: string; first_id: string; end_id: string }>(
      `select substring(relname from '^operation_(.+)$') as name,
         substring(pg_get_expr(relpartbound, oid) from 'FROM \\(''([0-9a-f-]{36})''\\)') as first_id,
         substring(pg_get_expr(relpartbound, oid) from 'TO \\(''([0-9a-f-]{36})''\\)') as end_id
       from pg_class where oid in (select inhrelid from pg_inherits where inhparent = 'operation'::regclass)`,
    );
    const cut = firstIdAt(cutMs);
    const { name, first_id, end_id } = rows.find((row) => row.first_id <= cut && cut < row.end_id)!;
    for (const table of ['operation', 'entry'])
      await client.query(`alter table ${table} detach partition ${table}_${name}`);
    for (const [part, from, to] of [
      [first, first_id, cut],
      [second, cut, end_id],
    ]) {
      await client.query('select create_stretch($1)', [part]);
      await client.query('select move_rows($1, $2, $3, $4)', [name, part, from, to]);
      await client.query('select attach_stretch($1, quote_literal($2), quote_literal($3))', [part, from, to]);
    }
    for (const table of ['operation', 'entry']) await client.query(`drop table ${table}_${name}`);
    await client.query('commit');
    return new Date(cutMs);
  } finally {
    await client.end();
  }
}

/** Adds months before the first one, whose past must be empty; answers their beginnings and that of the first one. */
export async function addMonthsBefore(databaseUrl: string, count: number): Promise<Date[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const now = new Date();
  const month = (back: number) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1));
  const begins = Array.from({ length: count + 1 }, (_, i) => month(count - i));
  const literal = (i: number) => `'${firstIdAt(begins[i]!.getTime())}'`;
  try {
    await client.query('begin');
    await client.query('alter table operation detach partition operation_past');
    await client.query('alter table entry detach partition entry_past');
    await client.query(`select attach_stretch('past', 'minvalue', $1)`, [literal(0)]);
    for (let i = 0; i < count; i += 1) {
      const name = begins[i]!.toISOString().slice(0, 7).replace('-', '_');
      await client.query('select create_stretch($1)', [name]);
      await client.query('select attach_stretch($1, $2, $3)', [name, literal(i), literal(i + 1)]);
    }
    await client.query('commit');
    return begins;
  } finally {
    await client.end();
  }
}
