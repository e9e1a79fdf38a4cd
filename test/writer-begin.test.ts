/** A turn of the ledger writer is one database transaction, or nothing: its statements are sent before the answers to all are there. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { acquire, release } from '#src/ledger/lease.ts';
import { readProgress, readTurns, writeTurn } from '#src/ledger/writer.ts';
import { startEngine } from './harness.ts';

const engine = await startEngine({ shardCount: 1 });
const shop = await engine.shop();
const client = new pg.Client({ connectionString: engine.stores.databaseUrl, pipeline: true });
beforeAll(() => client.connect());
afterAll(async () => {
  await client.end();
  await engine.end();
});

/** The same connection, on which PostgreSQL refuses BEGIN as it does where a timeout or an operator cancels it. */
function withoutBegin(): pg.Client {
  const query = (asked: string | { text: string }, ...more: unknown[]) => {
    const text = typeof asked === 'string' ? asked : asked.text;
    return Reflect.apply(client.query, client, [
      text === 'begin' ? 'select 1 / 0' : asked,
      ...more,
    ]) as unknown;
  };
  return Object.create(client, { query: { value: query } }) as pg.Client;
}

async function inBooks(): Promise<unknown> {
  const sql = `select (select count(*) from operation) as operations, (select count(*) from entry) as entries,
    (select sum(points) from lot) as points, (select sum(points) from account_balance where account = 'wallet') as wallets,
    (select count(*) from block) as blocks, (select seq from position) as seq`;
  return (await engine.pool.query(sql)).rows[0];
}

test('where BEGIN is refused nothing of the turn is booked; with it all of it is', async () => {
  const member = await shop.enrol();
  await shop.accrue(member, 5, { durability: 'ledger' });
  await engine.withoutWriter(async () => {
    await shop.accrue(member, 7);
    const before = await inBooks();
    const owner = randomUUID();
    const leases = await acquire(engine.pool, owner, 0);
    const [turn] = await readTurns(engine.redis, await readProgress(client, leases), () => {});
    expect(turn?.postings).toHaveLength(1);
    await expect(writeTurn(withoutBegin(), owner, [turn!])).rejects.toThrow('division by zero');
    expect(await inBooks()).toEqual(before);
    await writeTurn(client, owner, [turn!]);
    expect(await inBooks()).toMatchObject({ operations: 2, points: '12', wallets: '12' });
    await release(engine.pool, owner, [0]);
  });
  await engine.drained();
});
