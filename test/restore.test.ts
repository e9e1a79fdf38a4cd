/**
 * A PostgreSQL that is away, or comes back as an older copy of itself: what the journals keep feeds it again, and where
 * they do not reach a person decides, after which the books are what Redis has and the rest is listed.
 */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { keys } from '#src/wallet/keys.ts';
import { reference, startEngine, uuidV7, waitFor } from './harness.ts';
import { accrueCounting, countersOf, newMember } from './house/counting.ts';
import { checkout } from './house/folders.ts';
import { backUp, putBackPostgres } from './house/older-postgres.ts';

const engine = await startEngine({ ownPostgres: true, shardCount: 2 });
afterAll(() => engine.end());
const { pool, redis, stores } = engine;
const shop = await engine.shop();

async function ready(): Promise<void> {
  await waitFor(
    'the engine is ready',
    async () => (await fetch(`${engine.url}/readyz`)).status === 200,
    40_000,
  );
}
beforeEach(ready);

async function recover(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [`${checkout}src/ledger/recovery-command.ts`, ...args],
    {
      env: {
        ...process.env,
        DATABASE_URL: stores.databaseUrl,
        REDIS_URL: stores.redisUrl,
        DATA_DIR: stores.folder,
      },
    },
  );
  return stdout;
}

/** As a till does: what is answered 503 while an epoch opens was not applied and is sent again. */
async function moved(path: string, body: object): Promise<string> {
  const answer = await waitFor('the movement is taken', async () => {
    const last = await shop.pos('POST', path, body);
    return last.status === 503 ? undefined : last;
  });
  expect(answer.status).toBe(201);
  return answer.id;
}

function ledgerAccrual(member: string, points: number): Promise<string> {
  return moved('/v1/accruals', shop.receipt(member, points, { durability: 'ledger' }));
}

/** Members in both shards, with points that a backup holds. */
async function twoMembers(points: number): Promise<[string, string]> {
  const members = [await shop.enrol(), await shop.enrol()] as [string, string];
  for (const member of members) await ledgerAccrual(member, points);
  await engine.drained();
  return members;
}

async function available(member: string): Promise<number> {
  await waitFor(
    'the member is served',
    async () => (await shop.pos('GET', `/v1/members/${member}/balances`)).status === 200,
    40_000,
  );
  return (await shop.balances(member)).available;
}

async function clean(): Promise<void> {
  await ready();
  await engine.drained();
  await engine.audit();
}

test('while it is away self-dated movements go on, and what was acknowledged is noted on disk and carried over', async () => {
  const [member] = await twoMembers(10);
  const noteNames = async () =>
    (await readdir(stores.folder)).filter((name) => name.startsWith('acknowledged-'));
  process.kill(stores.postgresPid(), 'SIGKILL');
  const answer = await waitFor('a movement is acknowledged', async () => {
    const accrued = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 3, { reference: uuidV7() }));
    return accrued.status === 201 ? accrued : undefined;
  });
  const [shard, epoch, seq] = String(answer.at('ledger.position')).split('.').map(Number);
  await waitFor('the note stands on disk', async () => (await noteNames()).length > 0);
  await stores.startPostgresAgain();
  await waitFor('the note is carried over', async () => (await noteNames()).length === 0, 20_000);
  const { rows } = await pool.query(
    'select 1 from acknowledged where shard = $1 and (epoch, seq) >= ($2, $3)',
    [shard, epoch, seq],
  );
  expect(rows).not.toEqual([]);
  await clean();
  expect(await available(member)).toBe(13);
}, 90_000);

test('killed while it commits: the position, read again, says what became of the turn', async () => {
  const [member] = await twoMembers(10);
  const accruals = Array.from({ length: 40 }, () =>
    shop.pos('POST', '/v1/accruals', shop.receipt(member, 1, { reference: uuidV7() })),
  );
  await Promise.race(accruals);
  // The writer's own connection ends in the middle of whatever it does.
  await pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'ledger-writer %'`,
  );
  for (const answer of await Promise.all(accruals)) expect(answer.status).toBe(201);
  await clean();
  expect(await available(member)).toBe(50);
}, 90_000);

test('an older copy is fed again from the journals, across epochs; hot members stay', async () => {
  const [a, b] = await twoMembers(100);
  const copy = await backUp(stores);
  await ready();
  const first = await ledgerAccrual(a, 1);
  const epochs = await pool.query<{ epoch: number }>('select max(epoch) as epoch from epoch');
  await redis.script('FLUSH');
  await waitFor('new epochs are open', async () => {
    const { rows } = await pool.query('select 1 from position where epoch > $1', [epochs.rows[0]!.epoch]);
    return rows.length > 0;
  });
  await Promise.all([available(a), available(b)]);
  const second = await ledgerAccrual(a, 2);
  const redemption = await moved('/v1/redemptions', { member: b, reference: reference(), points: 60 });
  await putBackPostgres(stores, copy);
  await clean();
  for (const id of [first, second, redemption])
    expect((await shop.pos('GET', `/v1/operations/${id}`)).status).toBe(200);
  expect([await available(a), await available(b)]).toEqual([103, 40]);
  expect((await pool.query('select 1 from decided_stale')).rows).toEqual([]);
}, 120_000);

/** Forgets what is in the books, as time does after the kept minutes. */
async function forgetJournals(): Promise<void> {
  await engine.drained();
  const { rows } = await pool.query<{ shard: number; epoch: number; seq: number }>(
    'select shard, epoch, seq from position',
  );
  for (const { shard, epoch, seq } of rows)
    await redis.xtrim(keys.journal(shard), 'MINID', `${epoch}-${seq}`);
}

test('a copy older than the journals reach: the shards say ledger_behind and serve nobody until a person accepts it; then the books are what Redis has', async () => {
  const [a, b] = await twoMembers(100);
  const { number } = await newMember(shop);
  // Numbers alternate between two shards: the newcomer below must come to lie beside the first.
  await shop.enrol('neighbour');
  const count = (by: number) =>
    accrueCounting(engine.app, shop, number, { points: [], counts: [[1, 202611, by]] });
  await count(1);
  await engine.drained();
  const copy = await backUp(stores);
  await ready();
  await count(4);
  const inGap = shop.receipt(a, 20, { durability: 'ledger' });
  expect((await shop.pos('POST', '/v1/accruals', inGap)).status).toBe(201);
  await ledgerAccrual(b, 20);
  const hold = await shop.pos('POST', '/v1/holds', { member: a, reference: reference(), points: 30 });
  await shop.pos('POST', '/v1/redemptions', { member: b, reference: reference(), points: 50 });
  const newcomer = await shop.enrol('newcomer');
  await ledgerAccrual(newcomer, 8);
  await forgetJournals();
  const kept = await ledgerAccrual(a, 5);
  await count(2);
  await engine.drained();
  const before = [await shop.balances(a), await shop.balances(b)];
  await putBackPostgres(stores, copy);

  const readyz = await waitFor(
    'the shards say that the books are behind',
    async () => {
      const text = await (await fetch(`${engine.url}/readyz`)).text();
      return text.includes('ledger_behind') && text;
    },
    30_000,
  );
  expect(readyz).toContain('npm run recover');
  const refused = await shop.pos('POST', '/v1/accruals', shop.receipt(a, 1, { reference: uuidV7() }));
  expect([refused.status, refused.code]).toEqual([503, 'shard_recovering']);
  expect(await recover('--status')).toMatch(/shard=0 state=ledger_behind /);

  const said = await recover('--accept-restore');
  expect(said).toMatch(/shard 0: the books ended at/);
  expect(said).toMatch(/members that were enrolled in the gap/);
  await clean();
  expect([await shop.balances(a), await shop.balances(b)]).toEqual(before);
  expect(await countersOf(engine.app, number)).toEqual({ '1.202611': 7 });
  expect((await shop.pos('GET', `/v1/operations/${kept}`)).status).toBe(200);
  const repeated = await shop.pos('POST', '/v1/accruals', inGap);
  expect([repeated.status, repeated.code]).toEqual([504, 'outcome_unknown']);
  expect(await shop.balances(a)).toEqual(before[0]);
  const captured = await shop.pos('POST', `/v1/holds/${hold.id}/capture`, { reference: reference() });
  expect(captured.status).toBe(200);
  const accounts = await pool.query<{ points: string }>(
    `select sum(points)::text as points from account_balance where account = 'recovered'`,
  );
  // What nobody can explain are the two accruals of 20. The hold only moved points; the redemption and the newcomer's
  // accrual were the last records of their shards, which a journal always keeps.
  expect(Number(accounts.rows[0]!.points)).toBe(-40);
  // Nobody is enrolled under the number of a member whom the copy did not know.
  const again = await shop.enrol('newcomer');
  expect(await available(again)).toBe(0);
  expect(await recover('--status')).toMatch(/shard=0 state=serving /);
  await clean();
}, 180_000);

test('a copy older than both the journals and an emptied Redis: what was acknowledged and is nowhere is listed', async () => {
  const [a] = await twoMembers(100);
  const copy = await backUp(stores);
  await ready();
  await redis.script('FLUSH');
  await waitFor('new epochs are open', async () => {
    const { rows } = await pool.query(`select 1 from epoch where opened_at > now() - interval '5 seconds'`);
    return rows.length > 0;
  });
  await available(a);
  await ledgerAccrual(a, 7);
  await redis.flushall();
  await putBackPostgres(stores, copy);
  await waitFor(
    'a shard says that the books are behind',
    async () => (await recover('--status')).includes('ledger_behind'),
    60_000,
  );
  expect(await recover('--accept-restore')).toMatch(/not in the books under their numbers: epoch \d+/);
  await clean();
  expect(await available(a)).toBe(100);
}, 180_000);
