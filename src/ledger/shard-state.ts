/** Shards that wait for a person, as every process and `npm run recover` sees them: a row while they do. */
import type pg from 'pg';
import type { Lease } from './lease.ts';

export type StandingState = 'ledger_behind' | 'stopped';

/** Notes that a shard waits and why. Only the holder of its lease has a say: one that stood still judges old books. */
export async function noteState(
  pool: Pick<pg.Pool, 'query'>,
  { shard, term }: Lease,
  owner: string,
  state: StandingState,
  reason: string,
): Promise<void> {
  await pool.query(
    `insert into shard_state (shard, state, reason)
     select shard, $2, $3 from lease where shard = $1 and owner = $4 and term = $5
     on conflict (shard) do update set state = excluded.state, reason = excluded.reason,
       accepted_at = case when shard_state.state = excluded.state then shard_state.accepted_at end`,
    [shard, state, reason, owner, term],
  );
}

/** Whether a person has said that the books as they came back are to be gone on with. */
export async function isAccepted(connection: Pick<pg.ClientBase, 'query'>, shard: number): Promise<boolean> {
  const { rows } = await connection.query(
    `select 1 from shard_state where shard = $1 and state = 'ledger_behind' and accepted_at is not null`,
    [shard],
  );
  return rows.length > 0;
}

/** The shard serves: nothing waits for a person. */
export async function clearState(connection: Pick<pg.ClientBase, 'query'>, shard: number): Promise<void> {
  await connection.query('delete from shard_state where shard = $1', [shard]);
}
