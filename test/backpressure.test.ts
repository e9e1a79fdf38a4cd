/**
 * What happens while PostgreSQL is away: what can go on goes on up to a stated limit, the rest is refused and says so,
 * memory stays bounded, and afterwards everything drains.
 */
import { readFile } from 'node:fs/promises';
import { afterAll, expect, test } from 'vitest';
import { childrenOf } from '../loadtest/chaos/member-process.ts';
import { type Answer, reference, uuidV7, waitFor } from './harness.ts';
import { isGone } from './house/api-processes.ts';
import { spawnEngine } from './house/spawn.ts';

const megabyte = 1_048_576;

/** Resident memory of a process. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1_024;
}

const limitBytes = 2 * megabyte;
const engine = await spawnEngine({ ownPostgres: true, env: { JOURNAL_LIMIT_BYTES: String(limitBytes) } });
afterAll(() => engine.end());
const shop = await engine.shop();
const { stores } = engine;
const together = 16;

test('PostgreSQL away: fresh references go on at `journal` up to the limit, others are refused, and everything drains when it is back', async () => {
  const [member, cold] = [await shop.enrol(), await shop.enrol()];
  await shop.accrue(member, 1, { durability: 'ledger' });
  const processes = [engine.apis[0]!, engine.writers[0]!];
  const before = await Promise.all(processes.map(({ pid }) => residentBytes(pid)));
  const fresh = (who: string, more = {}): Promise<Answer> =>
    shop.pos(
      'POST',
      '/v1/accruals',
      shop.receipt(who, 1, { reference: uuidV7(), durability: 'journal', ...more }),
    );
  const backends = await childrenOf(stores.postgresPid());
  process.kill(stores.postgresPid(), 'SIGKILL');
  // One in the middle of a commit ends it before it notices.
  await waitFor('its backends are gone', async () =>
    (await Promise.all(backends.map(isGone))).every(Boolean),
  );

  const acknowledged: string[] = [];
  const late = await fresh(member, { durability: 'ledger' });
  expect([late.status, (late.body.ledger as { durability: string }).durability]).toEqual([202, 'journal']);
  acknowledged.push(late.id);
  const till = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 1, { reference: reference() }));
  expect([till.status, till.code]).toEqual([503, 'not_ready']);
  expect((await fresh(cold)).code).toBe('not_ready');
  const others = await Promise.all([
    shop.pos('POST', '/v1/members', { member: 'new' }),
    shop.care('GET', `/v1/members/${member}/statement`),
  ]);
  expect(others.map(({ status, code }) => [status, code])).toEqual([
    [504, 'outcome_unknown'],
    [503, 'not_ready'],
  ]);
  const readiness = (path: string) => fetch(`${engine.apis[0]!.url}${path}`).then(({ status }) => status);
  await waitFor('the API says that it is not ready', async () => (await readiness('/readyz')) === 503);
  // A balancer that asks this one leaves what goes on alone.
  expect(await readiness('/readyz/partly')).toBe(200);

  let refused: Answer | undefined;
  for (let round = 0; round < 2_000 && !refused; round += 1) {
    for (const answer of await Promise.all(Array.from({ length: together }, () => fresh(member)))) {
      if (answer.status === 201) acknowledged.push(answer.id);
      else refused = answer;
    }
  }
  expect([refused?.status, refused?.code]).toEqual([503, 'journal_full']);
  // About 600 bytes a record: far from the first one, and well before ten times the limit.
  expect(acknowledged.length).toBeGreaterThan(500);
  expect(acknowledged.length).toBeLessThan(20_000);
  const grown = (await Promise.all(processes.map(({ pid }) => residentBytes(pid)))).map(
    (bytes, i) => (bytes - before[i]!) / megabyte,
  );
  for (const megabytes of grown) expect(megabytes).toBeLessThan(200);

  await stores.startPostgresAgain();
  await engine.drained(60_000);
  await waitFor('movements are taken again', async () => (await fresh(member)).status === 201, 30_000);
  const { rows } = await stores.pool.query<{ count: number }>(
    'select count(*)::int as count from operation where operation = any($1::uuid[])',
    [acknowledged.map((id) => id.split('_')[1])],
  );
  expect(rows[0]!.count).toBe(acknowledged.length);
  expect((await fresh(cold)).status).toBe(201);
}, 120_000);

test('PostgreSQL stands still: who needs it is told within seconds, not after half a minute', async () => {
  const member = await shop.enrol();
  await shop.accrue(member, 1, { durability: 'ledger' });
  const backends = await stores.pool.query<{ pid: number }>(
    `select pid from pg_stat_activity where backend_type = 'client backend'`,
  );
  const all = [stores.postgresPid(), ...backends.rows.map(({ pid }) => pid)];
  const fresh = { reference: uuidV7(), durability: 'journal' };
  for (const pid of all) process.kill(pid, 'SIGSTOP');
  try {
    const [till, hot] = await Promise.all([
      shop.pos('POST', '/v1/accruals', shop.receipt(member, 1, { reference: reference() }), {
        timeoutMs: 20_000,
      }),
      shop.pos('POST', '/v1/accruals', shop.receipt(member, 1, fresh)),
    ]);
    expect([till.status, till.code]).toEqual([503, 'not_ready']);
    expect(hot.status).toBe(201);
  } finally {
    for (const pid of all) process.kill(pid, 'SIGCONT');
  }
  await engine.drained(60_000);
}, 120_000);
