/**
 * Brings up this service as it is shipped: its own PostgreSQL and Redis, the API and one ledger writer, the sample program
 * with its keys. The processes are stopped and started for every round; the data stays.
 */
import { join } from 'node:path';
import pg from 'pg';
import type { Contestant, Standing, Surroundings } from '../contestant.ts';
import { drained, watchLag } from '../lag.ts';
import { accrual, accrualInBooks, balances, memberName, redemption } from '../requests.ts';
import { openInstallation } from './installation.ts';

const itemsPerCall = 1_000;

async function post(port: number, path: string, key: string, body: object): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  const list = answer.ok ? (JSON.parse(text) as { data: { status?: number }[] }) : undefined;
  const failed = list?.data.find(({ status }) => status !== undefined && status >= 300);
  if (!list || failed)
    throw new Error(`${path}: ${failed ? JSON.stringify(failed) : `${answer.status} ${text}`}`);
}

/** Enrols the members and gives each 100,000 points to redeem, so that all are hot. */
export async function populate(port: number, members: number): Promise<void> {
  const occurredAt = new Date().toISOString();
  for (let from = 0; from < members; from += itemsPerCall) {
    const names = Array.from({ length: Math.min(itemsPerCall, members - from) }, (_, i) => from + i).map(
      memberName,
    );
    await post(port, '/v1/members/bulk', 'demo-pos', { items: names.map((member) => ({ member })) });
    const items = names.map((member) => ({
      member,
      reference: `start/${member}`,
      occurredAt,
      purchase: { currency: 'EUR', lines: [{ line: 1, amount: 10_000_000 }] },
    }));
    await post(port, '/v1/accruals/bulk', 'demo-pos', { items });
  }
}

/**
 * Lets the API meet every member once, by receipts of 0: each round starts a new process, and its first ten thousand
 * requests would measure how it gets to know people, not how it serves those it knows.
 */
async function meet(port: number, members: number): Promise<void> {
  const occurredAt = new Date().toISOString();
  for (let from = 0; from < members; from += itemsPerCall) {
    const items = Array.from({ length: Math.min(itemsPerCall, members - from) }, (_, i) => ({
      member: memberName(from + i),
      reference: `meet/${occurredAt}/${from + i}`,
      occurredAt,
      purchase: { currency: 'EUR', lines: [{ line: 1, amount: 0 }] },
    }));
    await post(port, '/v1/accruals/bulk', 'demo-pos', { items });
  }
}

/** How the installation of all of the service's contestants is started. */
function installation(around: Surroundings) {
  const dataDir = join(around.folder, 'service');
  let isPopulated = false;

  async function begin(): Promise<Standing> {
    await using stack = new AsyncDisposableStack();
    const { port, redis, postgres, api, writers, ...engine } = await openInstallation(around, dataDir);
    stack.defer(() => engine.stop());
    const lag = watchLag(redis.url, postgres.url);
    stack.defer(() => lag.close());
    const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
    pool.on('error', () => undefined);
    stack.defer(() => pool.end());
    if (!isPopulated) await populate(port, around.members);
    isPopulated = true;
    await meet(port, around.members);
    await drained(lag);
    const count = async () => {
      const sql = `select count(*)::int as count from operation where kind = 'accrual'`;
      return (await pool.query<{ count: number }>(sql)).rows[0]!.count;
    };
    const before = await count();
    const standing = stack.move();
    return {
      port,
      processes: { api: api.pid, writer: writers[0]!.pid, redis: redis.pid, postgres: postgres.pid },
      lag,
      stored: async () => (await count()) - before,
      stop: () => standing.disposeAsync(),
    };
  }
  return begin;
}

/** This service's contestants; the first is the one that the marks are about. */
export function thisEngine(around: Surroundings): Contestant[] {
  const start = installation(around);
  // The first start populates, so that no round does.
  let prepared: Promise<void> | undefined;
  const of = (own: Pick<Contestant, 'name' | 'title' | 'durability' | 'request'>): Contestant => ({
    ...own,
    connections: 128,
    isAccrual: own.request === accrual || own.request === accrualInBooks,
    prepare: async () => {
      prepared ??= start().then((standing) => standing.stop());
      await prepared;
      return `${around.members.toLocaleString('en')} members that the API has met, one API and one ledger writer, settings as shipped`;
    },
    start,
  });
  return [
    of({
      name: 'service',
      title: 'this service, accrual at journal',
      durability: 'journal in Redis, appendfsync always; the ledger writer brings it to PostgreSQL',
      request: accrual,
    }),
    of({
      name: 'service-ledger',
      title: 'this service, accrual at ledger',
      durability: 'PostgreSQL, synchronous commit, and the journal',
      request: accrualInBooks,
    }),
    of({
      name: 'service-redemption',
      title: 'this service, redemption (at ledger)',
      durability: 'PostgreSQL, synchronous commit, and the journal',
      request: redemption,
    }),
    of({
      name: 'service-balances',
      title: 'this service, balance read',
      durability: 'none needed',
      request: balances,
    }),
  ];
}
