/** Shards that wait for a person, as every process and `npm run recover` sees them: a row while they do. */
import type pg from 'pg';

export type StandingState = 'ledger_behind' | 'stopped';

/** Notes that a shard waits and why. */
export async function noteState(
  pool: Pick<pg.Pool, 'query'>,
  shard: number,
  state: StandingState,
  reason: string,
): Promise<void> {
  await pool.query(
    `insert into shard_state (shard, state, reason) values ($1, $2, $3)
     on conflict (shard) do update set state = excluded.state, reason = excluded.reason,
       accepted_at = case when shard_state.state = excluded.state then shard_state.accepted_at end`,
    [shard, state, reason],
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
