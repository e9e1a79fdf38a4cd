/**
 * Several API processes behind one port: who dies, stands still or is told to stop takes nothing acknowledged along, the
 * others go on, and whichever process is asked answers for all.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { createAcknowledgedNote } from '#src/platform/acknowledged.ts';
import { childrenOf } from '../loadtest/chaos/member-process.ts';
import { type Shop, waitFor } from './harness.ts';
import { allServe, byProcess, isGone, page } from './house/api-processes.ts';
import { type Load, startLoad } from './house/load.ts';
import { type SpawnedApi, spawnEngine } from './house/spawn.ts';

const processes = 3;
const engine = await spawnEngine({
  shardCount: 16,
  writers: 2,
  env: { API_PROCESSES: String(processes), SHUTDOWN_SECONDS: '8' },
});
afterAll(() => engine.end());
const { stores } = engine;
const first = (): SpawnedApi => engine.apis[0]!;

/** A shop whose keys every process knows: one that was not asked reads them within 0.4 s. */
async function openShop(): Promise<Shop> {
  const shop = await engine.shop();
  await waitFor('every process knows the keys', async () => {
    for (const token of Object.values(shop.tokens))
      for (let i = 0; i < processes; i += 1)
        if ((await page(`${first().url}/v1/program`, false, token)).status === 401) return false;
    return true;
  });
  return shop;
}

async function loadOf(callers: number): Promise<Load> {
  const shop = await openShop();
  const load = await startLoad(() => engine.apis.map((api) => api.http), shop, callers);
  await waitFor('the load runs', () => load.answered() > 100, 30_000);
  return load;
}

async function endLoad(load: Load): Promise<void> {
  await load.stop();
  await engine.drained(30_000);
  await load.verify(stores.pool);
  await engine.audit();
}

describe('one port', () => {
  test('is served by all processes in turn, and every page of metrics shows each of them', async () => {
    await allServe(first().url, processes);
    for (let i = 0; i < 2 * processes; i += 1) await page(`${first().url}/healthz`);
    const names = ['1', '2', '3'];
    for (let i = 0; i < processes; i += 1) {
      const { text } = await page(`${first().url}/metrics`);
      const asked = byProcess(text, 'loyalty_http_request_duration_seconds_count', 'route="/healthz"');
      expect([...asked.keys()].toSorted()).toEqual(names);
      for (const count of asked.values()) expect(count).toBeGreaterThan(0);
      const memory = byProcess(text, 'process_resident_memory_bytes');
      expect([...memory.keys()].toSorted()).toEqual([...names, 'supervisor']);
      const helps = text.split('\n').filter((line) => line.startsWith('# HELP'));
      expect(new Set(helps).size).toBe(helps.length);
    }
  });

  test('counts on the page are those of all: none is lost, none twice', async () => {
    const shop = await openShop();
    const member = await shop.enrol();
    const booked = async () => {
      const { text } = await page(`${first().url}/metrics`);
      const counts = byProcess(text, 'loyalty_operations_total', 'kind="accrual"').values();
      return [...counts].reduce((sum, count) => sum + count, 0);
    };
    const before = await booked();
    for (let i = 0; i < 10; i += 1) await shop.accrue(member, 1);
    expect((await booked()) - before).toBe(10);
  });

  test('logs name the process that wrote them', async () => {
    const lines = (await readFile(first().logPath, 'utf8')).trim().split('\n');
    const names = new Set(lines.map((line) => (JSON.parse(line) as { process: string }).process));
    expect([...names].toSorted()).toEqual(['api-1', 'api-2', 'api-3', 'api-supervisor']);
  });
});

test('two ledger writers share sixteen shards, eight and eight, and both write', async () => {
  const load = await loadOf(8);
  await waitFor(
    'both hold eight shards whose books move',
    async () => {
      const { rows } = await stores.pool.query<{ shards: number }>(
        `select count(*)::int as shards from lease join position using (shard)
         where heartbeat_at > clock_timestamp() - interval '1 second'
           and written_through_at > clock_timestamp() - interval '2 seconds'
         group by owner`,
      );
      return rows.length === 2 && rows.every(({ shards }) => shards === 8);
    },
    30_000,
  );
  await endLoad(load);
}, 90_000);

describe('a process that fails', () => {
  test('kill -9 of one under load: nothing is lost, the connections of the others live on, and another takes its place', async () => {
    await allServe(first().url, processes);
    const agents = Array.from({ length: 2 * processes }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
    const cut = new Set<Agent>();
    for (const agent of agents) {
      await page(`${first().url}/healthz`, agent);
      for (const socket of Object.values(agent.freeSockets).flat())
        socket?.on('close', () => void cut.add(agent));
    }
    const load = await loadOf(12);
    const before = await childrenOf(first().pid);
    expect(before).toHaveLength(processes);
    process.kill(before[0]!, 'SIGKILL');
    await waitFor('it is gone', () => isGone(before[0]!));
    await waitFor('its connections are cut', () => cut.size > 0);
    const answered = load.answered();
    await waitFor('callers are served', () => load.answered() > answered + 100, 40_000);
    const kept = agents.filter((agent) => !cut.has(agent));
    expect(kept.length).toBeGreaterThan(0);
    expect(cut.size).toBeGreaterThan(0);
    for (const agent of kept) expect((await page(`${first().url}/healthz`, agent)).status).toBe(200);
    expect(kept.filter((agent) => cut.has(agent))).toEqual([]);
    await allServe(first().url, processes);
    const after = await childrenOf(first().pid);
    expect(after.filter((pid) => before.includes(pid))).toEqual(before.slice(1));
    for (const agent of agents) agent.destroy();
    await endLoad(load);
  }, 240_000);

  test('SIGHUP replaces all of them under load, one by one: each drains, no port is closed meanwhile, nothing is lost', async () => {
    await allServe(first().url, processes);
    const before = await childrenOf(first().pid);
    const unexpected = async () =>
      (await readFile(first().logPath, 'utf8')).split('ended unexpectedly').length;
    const endedBefore = await unexpected();
    const load = await loadOf(8);
    const faults: string[] = [];
    const note = (error: NodeJS.ErrnoException) => void faults.push(error.code ?? error.message);
    process.kill(first().pid, 'SIGHUP');
    await waitFor(
      'all are replaced',
      async () => {
        await page(`${first().url}/healthz`).catch(note);
        const now = await childrenOf(first().pid);
        return now.length === processes && !now.some((pid) => before.includes(pid));
      },
      90_000,
    );
    await allServe(first().url, processes);
    expect(faults).not.toContain('ECONNREFUSED');
    expect(await unexpected()).toBe(endedBefore);
    await endLoad(load);
  }, 240_000);

  test('kill -9 of the supervisor: the processes finish what they are at, end, and the port is free at once', async () => {
    const load = await loadOf(8);
    const victim = first();
    await allServe(victim.url, processes);
    const children = await childrenOf(victim.pid);
    const drains = async () => (await readFile(victim.logPath, 'utf8')).split('"draining"').length;
    const before = await drains();
    const port = Number(new URL(victim.url).port);
    await victim.kill();
    engine.apis[0] = await engine.startApi(port);
    await waitFor(
      'they are gone',
      async () => (await Promise.all(children.map(isGone))).every(Boolean),
      20_000,
    );
    expect((await drains()) - before).toBe(processes);
    await endLoad(load);
  }, 240_000);
});

test('a note of what was acknowledged that its owner renews while another process carries it over is kept', async () => {
  const folder = join(stores.folder, 'notes');
  await mkdir(folder);
  const [owner, carrier] = [randomUUID(), randomUUID()];
  const path = join(folder, `acknowledged-${owner}.json`);
  const noteOf = (seq: number) =>
    JSON.stringify({ process: owner, positions: [{ shard: 0, epoch: 1, seq }] });
  await writeFile(path, noteOf(1));
  const pool = Object.create(stores.pool) as pg.Pool;
  const query = async (sql: string, values: unknown[]) => {
    if (values?.[0] === owner) await writeFile(path, noteOf(2));
    return stores.pool.query(sql, values);
  };
  Object.assign(pool, { query });
  await createAcknowledgedNote(pool, carrier, folder).write();
  expect(await readdir(folder)).toEqual([`acknowledged-${owner}.json`]);
  await createAcknowledgedNote(stores.pool, carrier, folder).write();
  expect(await readdir(folder)).toEqual([]);
  const { rows } = await stores.pool.query('select seq from acknowledged where process = $1', [owner]);
  expect(rows).toEqual([{ seq: 2 }]);
  await stores.pool.query('delete from acknowledged where process = $1', [owner]);
});

test('SIGTERM under load: requests in flight get their answers, exit code 0, no process is left', async () => {
  engine.apis.push(await engine.startApi());
  const load = await loadOf(8);
  const victim = engine.apis.shift()!;
  const children = await childrenOf(victim.pid);
  expect(children).toHaveLength(processes);
  await victim.stop();
  expect(await victim.running.exited).toBe('exit code 0');
  for (const pid of children) expect(await isGone(pid)).toBe(true);
  await endLoad(load);
}, 90_000);
