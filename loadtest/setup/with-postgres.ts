/** One connection to a PostgreSQL for a few statements, past everything that is broken on purpose. */
import pg from 'pg';

/** Connects, does the work and disconnects. A connection of its own, because servers come and go. */
export async function withPostgres<T>(
  url: string,
  work: (client: pg.Client) => Promise<T>,
  queryMsMax = 20_000,
): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    query_timeout: queryMsMax,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
