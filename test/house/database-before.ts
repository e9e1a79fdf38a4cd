/** A database as an older version of the service left it. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { checkout } from './folders.ts';
import type { Stores } from './stores.ts';

const folder = join(checkout, 'prisma/migrations');

/** A database of its own, at the schema of before a migration; the caller ends the client. */
export async function databaseBefore(
  migration: string,
  { pool, databaseUrl }: Pick<Stores, 'pool' | 'databaseUrl'>,
  name: string,
): Promise<{ url: string; client: pg.Client }> {
  await pool.query(`create database ${name}`);
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  const names = (await readdir(folder)).filter((each) => /^\d/.test(each) && each < migration).sort();
  await client.query(`create table _prisma_migrations (id varchar(36) primary key, checksum varchar(64) not null,
    finished_at timestamptz, migration_name varchar(255) not null, logs text, rolled_back_at timestamptz,
    started_at timestamptz not null default now(), applied_steps_count integer not null default 0)`);
  for (const each of names) {
    const sql = await readFile(join(folder, each, 'migration.sql'), 'utf8');
    await client.query(sql);
    await client.query(
      `insert into _prisma_migrations (id, checksum, migration_name, finished_at)
       values (gen_random_uuid()::text, encode(sha256(convert_to($1, 'UTF8')), 'hex'), $2, now())`,
      [sql, each],
    );
  }
  return { url: url.href, client };
}
