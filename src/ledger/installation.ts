/** Facts that an installation is founded on: its number of shards never changes. */
import type pg from 'pg';

/** How many shards the installation has, for commands that run without its settings. */
export async function installedShards(connection: Pick<pg.ClientBase, 'query'>): Promise<number> {
  const found = await connection.query<{ shard_count: number }>('select shard_count from installation');
  const shardCount = found.rows[0]?.shard_count;
  if (shardCount === undefined) throw new Error('the database holds no installation');
  return shardCount;
}

/** Founds the installation at its first start; refuses a different shard count afterwards. */
export async function ensureInstallation(pool: pg.Pool, shardCount: number): Promise<void> {
  await pool.query('insert into installation (shard_count) values ($1) on conflict do nothing', [shardCount]);
  const result = await pool.query<{ shard_count: number }>('select shard_count from installation');
  const founded = result.rows[0]?.shard_count;
  if (founded !== shardCount) {
    throw new Error(
      `this installation has ${founded} shards; SHARD_COUNT says ${shardCount}, and it can never change`,
    );
  }
  await pool.query(
    `insert into position (shard, epoch, seq, hash, written_through_at)
     select s, 0, 0, '\\x00', now() from generate_series(0, $1::int - 1) s on conflict do nothing`,
    [shardCount],
  );
  await pool.query(
    'insert into lease (shard) select s from generate_series(0, $1::int - 1) s on conflict do nothing',
    [shardCount],
  );
}
