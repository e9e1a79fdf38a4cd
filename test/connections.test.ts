/** Connections to PostgreSQL that the server ends while somebody holds them. */
import { afterAll, expect, test } from 'vitest';
import { createPool, inTransaction } from '#src/platform/postgres.ts';
import { startEngine, waitFor } from './harness.ts';

const engine = await startEngine();
afterAll(() => engine.end());

test('one that ends between two statements of a database transaction fails that alone, and the process lives', async () => {
  const uncaught: unknown[] = [];
  const note = (error: unknown) => uncaught.push(error);
  process.on('uncaughtException', note);
  const pool = createPool(engine.stores.databaseUrl, 1);
  try {
    const work = inTransaction(pool, async (tx) => {
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
      const ended = new Promise((resolve) => tx.once('end', resolve));
      await engine.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
      await ended;
      await tx.query('select 1');
    });
    await expect(work).rejects.toThrow();
    await waitFor('another connection serves', async () => (await pool.query('select 1')).rowCount === 1);
    expect(uncaught).toEqual([]);
  } finally {
    process.off('uncaughtException', note);
    await pool.end();
  }
});
