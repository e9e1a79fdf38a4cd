/** The pools of PostgreSQL connections of a process, and the checks that its durability settings are what we promise. */
import pg from 'pg';

// Counts and numbers below 2^53 come back as numbers; the ledger's checks keep every bigint in that range.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new Error(`bigint ${text} is beyond 2^53-1`);
  return value;
});

/** Whatever answers a query: a pool, or a connection in the middle of a database transaction. */
export type Queryable = Pick<pg.Pool | pg.PoolClient, 'query'>;

/** SQL of an operation's id as everybody but PostgreSQL writes it: 32 digits without hyphens. */
export function hexOf(column: string): string {
  return `replace(${column}::text, '-', '')`;
}

/** SQL of a time as epoch milliseconds. */
export function epochMsOf(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::bigint`;
}

/**
 * For connections on which everything is asked by keys, by named statements: each is planned once, by its indexes. PostgreSQL would plan
 * anew at each of them (a third of what a look-up costs, measured), or keep a plan from when tables were small, which reads all of them.
 */
const plannedByKeys = [
  'plan_cache_mode=force_generic_plan',
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
].map((setting) => `-c ${setting}`);

/** A pool for statements that are named and ask by keys, many a second; all others would be planned badly. */
export function createKeyedPool(databaseUrl: string, connectionsMax: number): pg.Pool {
  // The text is changed, not parsed: a path to a socket is no URL to Node.
  const own = encodeURIComponent(plannedByKeys.join(' '));
  const given = /([?&]options=[^&]*)/;
  const url = given.test(databaseUrl)
    ? databaseUrl.replace(given, `$1%20${own}`)
    : `${databaseUrl}${databaseUrl.includes('?') ? '&' : '?'}options=${own}`;
  return createPool(url, connectionsMax);
}

export function createPool(databaseUrl: string, connectionsMax = 10): pg.Pool {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: connectionsMax,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 30_000,
    query_timeout: 35_000,
  });
  // An idle connection that the server ended is replaced at the next use; without a listener it would end the process.
  pool.on('error', () => {});
  // The pool listens to idle ones only. One that ends in the hands of somebody fails the next statement; that is enough.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** Settings without which an acknowledged operation could be lost; empty when all is well. */
export async function durabilityFaults(pool: pg.Pool): Promise<string[]> {
  const result = await pool.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')`,
  );
  return result.rows
    .filter((row) => row.setting === 'off')
    .map((row) => `PostgreSQL runs with ${row.name} = off`);
}

/** Runs `work` in one database transaction on one connection; rolls back and rethrows when it fails. */
export async function inTransaction<T>(pool: pg.Pool, work: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  const tx = await pool.connect();
  let broken: Error | undefined;
  try {
    await tx.query('begin');
    const result = await work(tx);
    await tx.query('commit');
    return result;
  } catch (error) {
    broken = error instanceof Error ? error : new Error(String(error));
    await tx.query('rollback').then(
      () => {
        broken = undefined;
      },
      () => {},
    );
    throw error;
  } finally {
    tx.release(broken);
  }
}

/** Runs `work` in one database transaction on a connection that is the caller's; `mode` follows `begin`. */
export async function inTransactionOn<T>(
  connection: pg.ClientBase,
  work: () => Promise<T>,
  mode = '',
): Promise<T> {
  await connection.query(`begin ${mode}`);
  try {
    const done = await work();
    await connection.query('commit');
    return done;
  } catch (error) {
    await connection.query('rollback').catch(() => {});
    throw error;
  }
}
