/** A ledger writer's own connection to PostgreSQL: named after its owner, so that whoever takes a lease over can end it. */
import pg from 'pg';
import { writerName } from './lease.ts';

/** Far above any turn; a connection that is silent for so long is given up. */
const statementMs = 15_000;

/** Opens it; `onEnded` is called when it breaks. */
export async function openWriterConnection(
  databaseUrl: string,
  owner: string,
  onEnded: (client: pg.Client) => void,
): Promise<{ client: pg.Client; backendPid: number }> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: writerName(owner),
    connectionTimeoutMillis: 5_000,
    statement_timeout: statementMs,
    query_timeout: statementMs,
    keepAlive: true,
  });
  client.on('error', () => onEnded(client));
  await client.connect();
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return { client, backendPid: rows[0]!.pid };
}
