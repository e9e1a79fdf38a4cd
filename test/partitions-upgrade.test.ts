/** A ledger from before there were months: it becomes the partition `past`, loses nothing, and can be archived as a whole. */
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { attachMonth, detachMonth } from '#src/ledger/archive.ts';
import { stretches } from '#src/ledger/partitions.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { reference, startEngine } from './harness.ts';
import { databaseBefore } from './house/database-before.ts';
import { followerOf, readAll } from './house/diary.ts';

const engine = await startEngine({ shardCount: 2 });
afterAll(() => engine.end());
const { stores } = engine;
const diaryRead = () => readAll(engine.app, followerOf(engine.app));

async function book(client: pg.Client, seq: number, at: string): Promise<string> {
  const hex = Date.parse(at).toString(16).padStart(12, '0');
  const id = `${hex.slice(0, 8)}-${hex.slice(8)}-7001-8000-00000000000${seq}`;
  await client.query(
    `insert into operation (operation, shard, epoch, seq, program, client, kind, member, at, occurred_at, request, effect)
     values ($1, 1, 4, $2, 1, 1, 'accrual', 7, $3, $3, '{}', '{}')`,
    [id, seq, at],
  );
  await client.query(
    `insert into entry (shard, epoch, seq, line, account, program, currency, points, member, lot, party)
     values (1, 4, $1, 0, 'wallet', 1, 1, 50, 7, 3, 0), (1, 4, $1, 1, 'issuance', 1, 1, -50, null, null, 0)`,
    [seq],
  );
  return id;
}

test('the migration names every entry by its operation and keeps old and new in their places', async () => {
  const { url, client } = await databaseBefore('20261122100000', stores, 'older_ledger');
  try {
    const ids = [
      await book(client, 1, '2024-05-06T00:00:00Z'),
      await book(client, 2, '2026-01-02T00:00:00Z'),
    ];
    await client.query(`insert into position values (1, 4, 2, '\\x00', now())`);
    await prepareDatabase(url);
    const { rows } = await client.query(
      `select e.tableoid::regclass::text as place, o.seq, e.line, e.account, e.points, e.member, e.lot, e.shard
       from operation o join entry e using (operation) order by o.operation, line`,
    );
    const wallet = { line: 0, account: 'wallet', points: 50, member: 7, lot: 3, shard: 1 };
    expect(rows).toHaveLength(4);
    expect(rows[0]).toEqual({ place: 'entry_past', seq: 1, ...wallet });
    expect(rows[2]).toEqual({ place: 'entry_past', seq: 2, ...wallet });
    expect((await client.query('select operation from position')).rows).toEqual([{ operation: ids[1] }]);
    // Everything of this month goes where the old is; the months begin after it.
    const [past, first] = await stretches(client);
    const now = new Date();
    const nextMonth = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
    expect([past!.to, first!.from]).toEqual([nextMonth, nextMonth]);
    const plan = await client.query<{ 'QUERY PLAN': string }>(
      'explain select from operation where member = 7 order by operation desc limit 1',
    );
    expect(plan.rows.map((row) => row['QUERY PLAN']).join('\n')).not.toContain('Sort');
  } finally {
    await client.end();
  }
});

test('entries without an operation stop the migration, which then has changed nothing', async () => {
  const { url, client } = await databaseBefore('20261122100000', stores, 'damaged_ledger');
  try {
    await book(client, 1, '2026-01-02T00:00:00Z');
    await client.query('alter table operation disable trigger user');
    await client.query('delete from operation');
    await expect(prepareDatabase(url)).rejects.toThrow('2 entries have no operation');
    expect((await client.query('select from entry')).rowCount).toBe(2);
    expect((await client.query(`select from pg_class where relname = 'operation_past'`)).rowCount).toBe(0);
  } finally {
    await client.end();
  }
});

test('what stood there before the months is archived and comes back as a whole', async () => {
  const shop = await engine.shop();
  const who = await shop.enrol();
  const accrued = await shop.accrue(who, 90);
  await engine.drained();
  // As the migration leaves a ledger that had operations: all of them, and the present month, in the past.
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  try {
    await client.query('begin');
    const [past, month] = await stretches(client);
    for (const name of [past!.name, month!.name])
      for (const table of ['operation', 'entry'])
        await client.query(`alter table ${table} detach partition ${table}_${name}`);
    await client.query(`select move_rows($1, 'past', $2, $3)`, [month!.name, month!.firstId, month!.endId]);
    for (const table of ['operation', 'entry']) await client.query(`drop table ${table}_${month!.name}`);
    await client.query(`select attach_stretch('past', 'minvalue', quote_literal($1::text))`, [month!.endId]);
    await client.query('commit');
    await engine.audit();

    const name = `until_${month!.to!.toISOString().slice(0, 7).replace('-', '_')}`;
    await diaryRead();
    const archived = await detachMonth(client, name, month!.to!);
    expect(archived).toMatchObject({ month: name, firstId: null });
    await engine.audit();
    // What comes under an id of the archived stretch is booked all the same.
    await shop.pos('POST', '/v1/redemptions', { member: who, reference: reference(), points: 20 });
    await engine.drained();
    expect(await shop.balances(who)).toMatchObject({ available: 70 });
    expect((await client.query('select from operation_past')).rowCount).toBe(1);
    expect((await shop.care('GET', `/v1/operations/${accrued.body.id}`)).code).toBe('operation_archived');
    await attachMonth(client, name);
    expect((await shop.care('GET', `/v1/operations/${accrued.body.id}`)).status).toBe(200);
    expect((await stretches(client))[0]).toMatchObject({ name: 'past', firstId: null, endId: month!.endId });
    await engine.audit();
    // And once more: the names of the first time are not in the way.
    await diaryRead();
    await detachMonth(client, name, month!.to!);
    await attachMonth(client, name);
  } finally {
    await client.end();
  }
});
