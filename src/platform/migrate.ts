/**
 * Applies `prisma/migrations` to a database and keeps Prisma's own `_prisma_migrations` table, so that
 * `prisma migrate deploy` goes on from here wherever its engine can be had. Prisma's CLI downloads that engine, which a
 * machine without free access to the internet cannot; the files are plain SQL, so a short runner is enough.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import pg from 'pg';

const folder = new URL('../../prisma/migrations/', import.meta.url);
/** Any constant works; all processes of an installation must use the same. */
const migrationLock = 7_305_411_201;

const table = `create table if not exists _prisma_migrations (
  id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz, migration_name varchar(255) not null,
  logs text, rolled_back_at timestamptz, started_at timestamptz not null default now(), applied_steps_count integer not null default 0)`;

async function migrationNames(): Promise<string[]> {
  const names = await readdir(folder, { withFileTypes: true });
  return names
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** Brings the database to the schema of this version. Concurrent callers wait for one another (30 s at most). */
export async function prepareDatabase(databaseUrl: string): Promise<void> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 120_000,
  });
  await client.connect();
  try {
    await client.query(`set lock_timeout = '30s'`);
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    await client.query(table);
    const done = await client.query<{ migration_name: string; checksum: string }>(
      'select migration_name, checksum from _prisma_migrations where finished_at is not null and rolled_back_at is null',
    );
    const applied = new Map(done.rows.map((row) => [row.migration_name, row.checksum]));
    for (const name of await migrationNames()) {
      const sql = await readFile(new URL(`${name}/migration.sql`, folder), 'utf8');
      const checksum = createHash('sha256').update(sql).digest('hex');
      const before = applied.get(name);
      if (before === checksum) continue;
      if (before !== undefined) throw new Error(`migration ${name} was changed after it was applied`);
      await client.query('begin');
      await client.query(sql);
      await client.query(
        `insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) values ($1, $2, $3, now(), 1)`,
        [randomUUID(), checksum, name],
      );
      await client.query('commit');
    }
    // Upkeep does this too; here it is for a database that was left alone for months.
    await client.query('select extend_ledger()').catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === '55P03')) throw error;
    });
  } finally {
    await client.end();
  }
}

/**
 * Refuses to start on a schema that lacks something, or that was changed since in a way that this version does not stand. A
 * migration that older versions stand names itself in `compatible_migration`.
 */
export async function checkSchema(pool: pg.Pool): Promise<void> {
  const known = await migrationNames();
  const result = await pool.query<{ migration_name: string }>(
    'select migration_name from _prisma_migrations where finished_at is not null and rolled_back_at is null',
  );
  const applied = result.rows.map((row) => row.migration_name);
  const missing = known.filter((name) => !applied.includes(name));
  if (missing.length > 0)
    throw new Error(`the database lacks the migrations ${missing.join(', ')}: run npm run migrate`);
  const unknown = applied.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const compatible = await pool.query<{ migration: string }>('select migration from compatible_migration');
  const stood = new Set(compatible.rows.map((row) => row.migration));
  const breaking = unknown.filter((name) => !stood.has(name));
  if (breaking.length > 0)
    throw new Error(`the database is newer than this version: it has ${breaking.join(', ')}`);
}
