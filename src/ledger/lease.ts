/**
 * Who writes which shard. A lease is a row, not an advisory lock: a stopped process keeps a lock for ever. A holder
 * renews its rows three times a second; one that is silent for 1.6 s loses them to another writer, which raises the term
 * and ends the old holder's database connection, so that even a writer frozen inside COPY cannot commit afterwards.
 */
import type pg from 'pg';

export const heartbeatMs = 300;
const silentSeconds = 1.6;

export interface Lease {
  readonly shard: number;
  readonly term: number;
}

/**
 * Renews this writer's own row and what it holds; the answer lists what it still has. One that does not count among the living
 * keeps what it holds and leaves its share of the rest to the others.
 */
export async function renew(
  pool: pg.Pool,
  owner: string,
  backendPid: number,
  counts = true,
): Promise<Lease[]> {
  const result = await pool.query<Lease>(
    `with alive as (insert into writer (owner, heartbeat_at) select $1, clock_timestamp() where $3
       on conflict (owner) do update set heartbeat_at = excluded.heartbeat_at)
     update lease set heartbeat_at = clock_timestamp(), backend_pid = $2 where owner = $1 returning shard, term`,
    [owner, backendPid, counts],
  );
  return result.rows;
}

interface Share {
  /** How many shards each living writer should hold, rounded up. */
  readonly fair: number;
  readonly mine: number;
}

async function shareOf(pool: pg.Pool, owner: string): Promise<Share> {
  const result = await pool.query<Share>(
    `select ceil(count(*)::numeric / greatest(1, (select count(*) from writer
        where heartbeat_at > clock_timestamp() - make_interval(secs => $2))))::int as fair,
      (count(*) filter (where owner = $1))::int as mine from lease`,
    [owner, silentSeconds],
  );
  return result.rows[0]!;
}

/** Takes free or silent shards up to this owner's fair share. Answers the new leases. */
export async function acquire(pool: pg.Pool, owner: string, backendPid: number): Promise<Lease[]> {
  const { fair, mine } = await shareOf(pool, owner);
  if (mine >= fair) return [];
  // The old holder's connection ends in the same statement: a lease is never ours while the other can still commit.
  const taken = await pool.query<Lease & { ended: number }>(
    `with free as (
       select shard, owner as old_owner, backend_pid as old_pid from lease
       where owner is null or heartbeat_at < clock_timestamp() - make_interval(secs => $4)
       order by shard limit $3 for update skip locked),
     taken as (
       update lease l set owner = $1, term = l.term + 1, backend_pid = $2, heartbeat_at = clock_timestamp()
       from free where l.shard = free.shard returning l.shard, l.term, free.old_pid, free.old_owner),
     ended as (
       select pg_terminate_backend(a.pid) from pg_stat_activity a
       join (select distinct old_pid, old_owner from taken where old_owner is not null) t
         on a.pid = t.old_pid and a.application_name = $5 || t.old_owner)
     select shard, term, (select count(*) from ended)::int as ended from taken`,
    [owner, backendPid, fair - mine, silentSeconds, writerName('')],
  );
  return taken.rows.map(({ shard, term }) => ({ shard, term }));
}

/** How many shards this owner holds beyond its fair share, now that others have come. */
export async function surplus(pool: pg.Pool, owner: string): Promise<number> {
  const { fair, mine } = await shareOf(pool, owner);
  return Math.max(0, mine - fair);
}

/** Gives shards back so that another writer can take them at once. */
export async function release(pool: pg.Pool, owner: string, shards: readonly number[]): Promise<void> {
  await pool.query(
    `update lease set owner = null, backend_pid = null where owner = $1 and shard = any($2::int[])`,
    [owner, shards],
  );
}

/** Leaves: this writer counts no more, and rows of writers that ended long ago go too. */
export async function leave(pool: pg.Pool, owner: string): Promise<void> {
  await pool.query(
    `delete from writer where owner = $1 or heartbeat_at < clock_timestamp() - interval '1 day'`,
    [owner],
  );
}

/** The application_name of a writer's connection. */
export function writerName(owner: string): string {
  return `ledger-writer ${owner}`;
}
