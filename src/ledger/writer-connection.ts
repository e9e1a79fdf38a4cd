/** The database connection on which a writer commits; its lease names it, so that whoever takes the lease can end it. */
import pg from 'pg';
import { writerName } from './lease.ts';

/** Far above any turn; a connection that is silent for so long is given up. */
const statementMs = 15_000;

/** Connects a writer; `onBroken` is called when the connection ends. Answers it and the number of its PostgreSQL process. */
export async function openConnection(
  databaseUrl: string,
  owner: string,
  onBroken: (client: pg.Client) => void,
): Promise<{ readonly client: pg.Client; readonly pid: number }> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: writerName(owner),
    connectionTimeoutMillis: 5_000,
    statement_timeout: statementMs,
    query_timeout: statementMs,
    keepAlive: true,
    pipeline: true,
  });
  client.on('error', () => onBroken(client));
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return { client, pid: rows[0]!.pid };
}

/** Ends a connection whose state is unknown. A pipelining one that is asked to end waits for its answers first. */
export function giveUp(client: pg.Client): void {
  client.connection.stream.destroy();
}
