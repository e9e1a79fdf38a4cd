/** A PostgreSQL of a contestant's own, with the settings of ours, and its tables from one file. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import type { Surroundings } from '../contestant.ts';

export interface Database extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly pool: pg.Pool;
  /** The rows of a table, counted. */
  count(table: string): Promise<number>;
}

/** Starts it on `<folder>/<name>`; the first start makes the tables. The data stays when it is disposed of. */
export async function openDatabase(name: string, sqlPath: string, around: Surroundings): Promise<Database> {
  await using stack = new AsyncDisposableStack();
  const dataDir = join(around.folder, name);
  await mkdir(dataDir, { recursive: true });
  const { cacheDir, abort } = around;
  const postgres = await startLocalPostgres({ dataDir, cacheDir, abort });
  stack.defer(() => postgres.stop());
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1, query_timeout: 60_000 });
  pool.on('error', () => undefined);
  stack.defer(() => pool.end());
  const found = await pool.query<{ tables: number }>(
    `select count(*)::int as tables from pg_tables where schemaname = 'public'`,
  );
  if (found.rows[0]!.tables === 0)
    await pool.query(await readFile(join(around.checkout, 'loadtest/contestants', sqlPath), 'utf8'));
  const open = stack.move();
  return {
    url: postgres.url,
    pid: postgres.pid,
    pool,
    async count(table) {
      const { rows } = await pool.query<{ count: number }>(
        `select count(*)::int as count from ${pg.escapeIdentifier(table)}`,
      );
      return rows[0]!.count;
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
