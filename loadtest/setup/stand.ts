/** An installation of this service that stands and can be loaded like a contestant. */
import type pg from 'pg';
import type { Contestant, Standing, Surroundings } from '../contestant.ts';
import { type Lag, watchLag } from '../lag.ts';
import { only } from '../requests.ts';
import { type Installation, openInstallation } from './installation.ts';
import { withPostgres } from './with-postgres.ts';

export interface Stand {
  readonly installation: Installation;
  readonly standing: Standing & { readonly lag: Lag };
}

/** Brings one up; `standing.stop` ends it. */
export async function openStand(around: Surroundings, dataDir: string): Promise<Stand> {
  await using stack = new AsyncDisposableStack();
  const installation = await openInstallation(around, dataDir);
  stack.defer(() => installation.stop());
  const { port, redis, postgres, api, writers } = installation;
  const lag = watchLag(redis.url, postgres.url);
  stack.defer(() => lag.close());
  const opened = stack.move();
  const processes = { api: api.pid, writer: writers[0]!.pid, redis: redis.pid, postgres: postgres.pid };
  return { installation, standing: { port, processes, lag, stop: () => opened.disposeAsync() } };
}

/** How many operations of these kinds the books hold. */
export async function countBooked(databaseUrl: string, ...kinds: readonly string[]): Promise<number> {
  const sql = 'select count(*)::int as count from operation where kind = any($1)';
  const count = (client: pg.Client) => client.query<{ count: number }>(sql, [kinds]);
  return (await withPostgres(databaseUrl, count, 60_000)).rows[0]!.count;
}

/** How durable an accrual is that asks for nothing more. */
export const inJournal = 'journal in Redis, appendfsync always; the ledger writer brings it to PostgreSQL';

/** One load of accruals, by the same connections as the contestants'. */
export function accruals(name: string, request: string, members?: number): Contestant {
  return {
    name,
    title: 'this service, accrual at journal',
    durability: inJournal,
    connections: 128,
    counted: { name: 'accruals', perRequest: 1 },
    isAccrual: true,
    ...(members === undefined ? {} : { members }),
    traffic: only(request),
  };
}
