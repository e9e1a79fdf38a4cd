/**
 * Two versions beside each other, as during an upgrade: this tree, and copies of it with a changed script, a changed source
 * file, a migration, and a newer format of records. Real processes of both share the stores.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { recordFormat } from '#src/journal.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { run } from '#src/platform/local/processes.ts';
import { checkSchema } from '#src/platform/migrate.ts';
import { versionsInUse } from '#src/wallet/script-versions.ts';
import { ownScripts } from '#src/wallet/scripts.ts';
import { buildChanged } from '../loadtest/chaos/broken.ts';
import { uuidV7, waitFor } from './harness.ts';
import { checkout } from './house/folders.ts';
import { startLoad } from './house/load.ts';
import { type Spawned, type SpawnedApi, spawnEngine } from './house/spawn.ts';

const shardCount = 4;
const engine = await spawnEngine({ shardCount });
const shop = await engine.shop();
const { pool, redis } = engine.stores;
afterAll(() => engine.end());

const laterMigration = '20991231000000_later';

/** The next version: accruals say who decided them, it calls itself otherwise, and it has a migration more. */
async function buildLater(): Promise<string> {
  const changes = [
    {
      file: 'src/wallet/scripts/accrue.lua',
      guard: /return legs, extra, nil, save\n/,
      instead: `return legs, ',"decidedBy":"later"', nil, save\n`,
    },
    { file: 'src/app.ts', guard: /const version = '[^']+'/, instead: "const version = 'later'" },
  ];
  const root = await buildChanged('later', changes, checkout, join(engine.stores.folder, 'later'));
  const folder = join(root, 'prisma/migrations', laterMigration);
  await mkdir(folder);
  await writeFile(
    join(folder, 'migration.sql'),
    `alter table member add column nickname text;
     insert into compatible_migration (migration) values ('${laterMigration}');`,
  );
  return root;
}

/** A version whose records this one cannot read. */
function buildNewer(): Promise<string> {
  const changes = [
    {
      file: 'src/journal.ts',
      guard: /recordFormat: number = \d+/,
      instead: `recordFormat: number = ${recordFormat + 1}`,
    },
  ];
  return buildChanged('newer', changes, checkout, join(engine.stores.folder, 'newer'));
}

async function migrate(root: string): Promise<void> {
  const args = [join(root, 'src/platform/migrate-command.ts')];
  const ended = await run({ file: process.execPath, args, cwd: root, env: engine.env }, 60_000);
  expect(ended.code, ended.stderr).toBe(0);
}

const later = await buildLater();

interface EpochRow {
  readonly shard: number;
  readonly epoch: number;
}

async function epochs(): Promise<EpochRow[]> {
  const { rows } = await pool.query<EpochRow>('select shard, epoch from epoch order by shard, epoch');
  return rows;
}

/** How many shards each living writer holds, most first. */
async function held(): Promise<number[]> {
  const { rows } = await pool.query<{ shards: number }>(
    `select count(*)::int as shards from lease where heartbeat_at > clock_timestamp() - interval '1 second' and owner is not null
     group by owner order by shards desc`,
  );
  return rows.map((row) => row.shards);
}

function untilHeld(...shards: number[]): Promise<unknown> {
  return waitFor(
    `the shards are held by ${shards.join(' and ')}`,
    async () => (await held()).join() === shards.join(),
    20_000,
  );
}

/** A member of every shard. */
async function members(): Promise<string[]> {
  const byShard = new Map<number, string>();
  for (let i = 0; i < 200 && byShard.size < shardCount; i += 1) {
    const member = await shop.enrol('each');
    const answer = await shop.accrue(member, 10);
    byShard.set(Number(String(answer.at('ledger.position')).split('.')[0]), member);
  }
  expect(byShard.size).toBe(shardCount);
  return [...byShard.values()];
}

const everywhere = await members();

/** Through one API a movement in every shard, repeated until it is taken. */
async function accruesEverywhere(api: SpawnedApi): Promise<void> {
  for (const member of everywhere) {
    const receipt = shop.receipt(member, 1, { reference: uuidV7() });
    await waitFor(
      `${member} gets points`,
      async () => (await api.http('POST', '/v1/accruals', receipt, { key: shop.tokens.pos })).status < 300,
      20_000,
    );
  }
}

test('a new API beside an old one is ready without a new epoch, and both decide in the same epochs of the same shards', async () => {
  const before = await epochs();
  await migrate(later);
  engine.apis.push(await engine.startApi(undefined, later));
  const load = await startLoad(() => engine.apis.map((api) => api.http), await engine.shop(), 12);
  await waitFor('both have answered', () => load.answered() > 200, 60_000);
  await load.stop();
  await engine.drained();
  await load.verify(pool);
  const { rows } = await pool.query<{ decided: number; by_later: number }>(
    `select count(*)::int as decided, count(*) filter (where effect ->> 'decidedBy' = 'later')::int as by_later
     from operation where kind = 'accrual' and member in (select member from operation where effect ->> 'decidedBy' = 'later')
     group by shard, epoch`,
  );
  expect(rows).toHaveLength(shardCount);
  for (const { decided, by_later } of rows) {
    expect(by_later).toBeGreaterThan(0);
    expect(by_later).toBeLessThan(decided);
  }
  expect(await epochs()).toEqual(before);
  const metrics = await (await fetch(`${engine.apis[1]!.url}/metrics`)).text();
  expect(metrics).toContain('version="later"');
}, 120_000);

test('writers of both versions take leases from each other, and no epoch is opened for it', async () => {
  const before = await epochs();
  const [old] = engine.writers as [Spawned];
  const load = await startLoad(() => engine.apis.map((api) => api.http), await engine.shop(), 8);
  const next = await engine.startWriter(later);
  await untilHeld(2, 2);
  await old.kill();
  await untilHeld(4);
  // Started again on a schema that is newer than its own.
  engine.writers.splice(0, 1, await engine.startWriter());
  await untilHeld(2, 2);
  await next.kill();
  await untilHeld(4);
  engine.writers.push(await engine.startWriter(later));
  await untilHeld(2, 2);
  const answered = load.answered();
  await waitFor('movements go on', () => load.answered() > answered + 100, 60_000);
  await load.stop();
  await engine.drained();
  await load.verify(pool);
  expect(await epochs()).toEqual(before);
}, 180_000);

test('after SCRIPT FLUSH every shard opens one epoch, in which both versions are served, and then they stay put', async () => {
  const before = await epochs();
  await redis.script('FLUSH');
  const after = await waitFor(
    'every shard has an epoch more',
    async () => {
      const now = await epochs();
      return now.length === before.length + shardCount && now;
    },
    30_000,
  );
  for (const api of engine.apis) await accruesEverywhere(api);
  const load = await startLoad(() => engine.apis.map((api) => api.http), await engine.shop(), 8);
  await waitFor('both have answered', () => load.answered() > 100, 60_000);
  await load.stop();
  await engine.drained();
  await load.verify(pool);
  expect(await epochs()).toEqual(after);
}, 120_000);

test('versions that cannot be loaded are left alone, whatever is wrong with them, and the others are served', async () => {
  const before = await epochs();
  const strange = [
    { version: 'of another world', sources: { accrue: 'return @{planet}' } },
    { version: 'no scripts', sources: ['return 1'] },
    { version: 'no Lua', sources: { accrue: 'this is no Lua' } },
  ];
  for (const { version, sources } of strange) {
    const row = [version, JSON.stringify(sources)];
    await pool.query('insert into script_version (version, format, sources) values ($1, 1, $2)', row);
  }
  for (const { version } of strange) {
    await waitFor(`both writers have met ${version}`, async () => {
      const logs = await Promise.all(engine.writers.map(({ logPath }) => readFile(logPath, 'utf8')));
      return logs.every((log) => log.includes(`"${version}"`));
    });
  }
  const { loadable, left } = await versionsInUse(pool);
  expect(left).toContainEqual({
    version: 'of another world',
    reason: expect.stringContaining('planet') as string,
  });
  expect(loadable[0]).toBe(ownScripts);
  await redis.script('FLUSH');
  for (const api of engine.apis) await accruesEverywhere(api);
  await engine.drained();
  expect(await epochs()).toHaveLength(before.length + shardCount);
  await pool.query("delete from script_version where version like '% %'");
});

test('a schema that is newer in a way that stops this version is refused at the start', async () => {
  await checkSchema(pool);
  await pool.query(
    "insert into _prisma_migrations (id, checksum, migration_name, finished_at) values ('breaking', 'x', '29990101000000_breaking', now())",
  );
  await expect(checkSchema(pool)).rejects.toThrow(/newer than this version: it has 29990101000000_breaking$/);
  await pool.query("delete from _prisma_migrations where id = 'breaking'");
});

test('records that only a newer writer can read wait for one: nothing is stopped, quarantined or lost', async () => {
  const newer = await buildNewer();
  const old = engine.writers.splice(0);
  const port = await freeLoopbackPort();
  const first = await engine.startWriter(newer);
  const starting = engine.startApi(port, newer);
  await waitFor(
    'the newer API says that old writers keep its scripts from it',
    async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2_000) });
      return answer.status === 503 && (await answer.text()).includes('shards_closed');
    },
    20_000,
  );
  for (const writer of old) await writer.stop();
  const api = await starting;
  engine.apis.push(api);
  await accruesEverywhere(api);
  await engine.drained();
  const before = await epochs();
  const outdated = await engine.startWriter();
  await waitFor('the old writer leaves its shards', async () =>
    (await readFile(outdated.logPath, 'utf8')).includes('left to a newer writer'),
  );
  await untilHeld(4);
  await first.kill();
  const receipt = shop.receipt(everywhere[0]!, 1, { reference: uuidV7() });
  const key = shop.tokens.pos;
  expect((await api.http('POST', '/v1/accruals', receipt, { key })).status).toBe(201);
  const told = await engine.apis[0]!.http('POST', '/v1/accruals', receipt, { key });
  expect([told.status, told.code]).toEqual([504, 'outcome_unknown']);
  const { rows } = await pool.query(
    'select (select count(*) from shard_state) + (select count(*) from quarantine) as waiting',
  );
  expect(rows).toEqual([{ waiting: 0 }]);
  engine.writers.push(await engine.startWriter(newer), outdated);
  await engine.drained(40_000);
  const again = await engine.apis[0]!.http('POST', '/v1/accruals', receipt, { key });
  expect([again.status, again.replayed]).toEqual([201, true]);
  expect(await epochs()).toEqual(before);
}, 180_000);
