/**
 * The process that reads the diary is killed in the middle of its turns, again and again, and the diary is damaged and made
 * again while it reads on: in the end it is what the books say. `DIARY_KILLS=50` is the long form.
 */
import { afterAll, expect, test } from 'vitest';
import { reference, waitFor } from './harness.ts';
import { commandOf } from './house/command.ts';
import { type Spawned, spawnEngine } from './house/spawn.ts';

const kills = Number(process.env.DIARY_KILLS ?? 3);
const receiptsPerRound = 1_000;
const members = 40;

const engine = await spawnEngine();
afterAll(() => engine.end());
const { pool } = engine.stores;
const shop = await engine.shop();
const diary = commandOf('diary/command.ts', { ...process.env, ...engine.env });

interface Comparison {
  readonly operations: number;
  readonly differences: readonly { table: string; missing: number; extra: number; different: number }[];
}

async function compared(
  action: 'check' | 'rebuild',
): Promise<{ code: number; rows: number; operations: number }> {
  const { code, out, complaint } = await diary(action, '--json');
  if (code > 1) throw new Error(complaint);
  const { operations, differences } = JSON.parse(out) as Comparison;
  const rows = differences.reduce((sum, row) => sum + row.missing + row.extra + row.different, 0);
  return { code, rows, operations };
}

async function unread(): Promise<number> {
  const { rows } = await pool.query<{ unread: number }>(
    `select coalesce(sum(p.seq - coalesce(case when d.epoch = p.epoch then d.seq end, 0)), 0)::int as unread
     from position p left join diary_position d using (shard)`,
  );
  return rows[0]!.unread;
}

/** Receipts of random members, and the first of them given back again. */
async function buy(names: readonly string[], round: number): Promise<void> {
  const items = Array.from({ length: receiptsPerRound }, (_, i) =>
    shop.receipt(names[(i * 7 + round) % members]!, 1 + (i % 50), {
      occurredAt: new Date(shop.now() - ((i + round) % 30) * 86_400_000).toISOString(),
    }),
  );
  const answer = await shop.pos('POST', '/v1/accruals/bulk', { items }, { timeoutMs: 30_000 });
  const made = answer.body.data as { status: number; accrual?: { id: string } }[];
  expect(made.every(({ status }) => status === 201)).toBe(true);
  for (const { accrual } of made.slice(0, 20)) {
    const body = { reference: reference(), occurredAt: shop.time() };
    expect((await shop.pos('POST', `/v1/accruals/${accrual!.id}/reversals`, body)).status).toBe(201);
  }
}

/** Starts the process; until a turn of the diary is under way. Of one that was killed a connection may be left for a moment. */
async function startedMidTurn(): Promise<Spawned> {
  const since = new Date();
  const tiers = await engine.startTiers();
  await waitFor(
    'a turn is under way',
    async () => {
      const { rowCount } = await pool.query(
        `select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
         and state in ('active', 'idle in transaction') and xact_start is not null and query like '%diary%' and backend_start >= $1`,
        [since],
      );
      return rowCount! > 0 || (await unread()) === 0;
    },
    60_000,
  );
  return tiers;
}

test(
  `after ${kills} kills in the middle of turns every receipt is in the diary once`,
  async () => {
    const names = await Promise.all(Array.from({ length: members }, () => shop.enrol()));
    for (let kill = 0; kill < kills; kill += 1) {
      await buy(names, kill);
      const tiers = await startedMidTurn();
      await tiers.kill();
    }
    // Something to read, so that it has begun to work when it is told to end.
    await buy(names, kills);
    const drained = await startedMidTurn();
    await drained.stop();
    expect(await drained.running.exited).toBe('exit code 0');
    await engine.startTiers();
    await engine.drained(60_000);
    await waitFor('everything is read', async () => (await unread()) === 0, 60_000);
    const { rows } = await pool.query<{ visits: number; spend: number; days: number }>(
      'select sum(visits)::int as visits, sum(spend)::int as spend, count(*)::int as days from diary_day',
    );
    const kept = (kills + 1) * (receiptsPerRound - 20);
    const spent = Array.from({ length: receiptsPerRound }, (_, i) => (i < 20 ? 0 : 1 + (i % 50)));
    expect(rows[0]).toMatchObject({
      visits: kept,
      spend: (kills + 1) * 100 * spent.reduce((sum, each) => sum + each, 0),
    });
    expect(await compared('check')).toMatchObject({ code: 0, rows: 0 });
  },
  60_000 + kills * 20_000,
);

test('a diary that was damaged is what the books say after a rebuild, although purchases and the follower go on', async () => {
  const names = await Promise.all(Array.from({ length: members }, () => shop.enrol()));
  await pool.query('update diary_day set spend = spend + 1 where member % 3 = 0');
  await pool.query('delete from diary_points where member % 5 = 0');
  await pool.query('insert into diary_day (member, day, visits) values (999999, 1, 1)');
  const damaged = await compared('check');
  expect(damaged.code).toBe(1);
  expect(damaged.rows).toBeGreaterThan(3);
  let isDone = false;
  const buying = (async () => {
    for (let round = 0; !isDone && round < 20; round += 1) await buy(names, round);
  })();
  const rebuilt = await compared('rebuild').finally(() => {
    isDone = true;
  });
  await buying;
  expect(rebuilt).toMatchObject({ code: 0, rows: damaged.rows });
  await engine.drained(60_000);
  await waitFor('everything is read', async () => (await unread()) === 0, 60_000);
  const after = await compared('check');
  expect(after).toMatchObject({ code: 0, rows: 0 });
  expect(after.operations).toBeGreaterThan(damaged.operations);
}, 180_000);
