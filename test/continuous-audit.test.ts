/** The audit that never stops: what differs is frozen, said and repaired; what the books contradict is left to a person. */
import { afterAll, expect, test } from 'vitest';
import { auditPart, publishAudit } from '#src/jobs/audit.ts';
import { type AuditPart, auditParts, passes } from '#src/ledger/audit-place.ts';
import { type MemberNumber, parseMemberId, parseOperationId, shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { type Answer, reference, startEngine } from './harness.ts';
import { damageState } from './house/journal.ts';

const shardCount = 2;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const shop = await engine.shop();
const { app, pool, redis } = engine;

interface Known {
  readonly name: string;
  readonly number: MemberNumber;
  readonly key: string;
  readonly accrual: string;
}

async function withPoints(points: number): Promise<Known> {
  const name = await shop.enrol();
  const { body } = await shop.accrue(name, points, { durability: 'ledger' });
  const number = parseMemberId(String(body.member))!;
  return {
    name,
    number,
    key: keys.member(shardOfMember(number, shardCount), number),
    accrual: String(body.id),
  };
}

const spend = (who: Known, points: number): Promise<Answer> =>
  shop.pos('POST', '/v1/redemptions', { member: who.name, reference: reference(), points });

const damage = (key: string, change: string): Promise<void> => damageState(redis, key, change);

/** Goes over everything once, however many runs that takes. */
async function wholePass(part: AuditPart): Promise<void> {
  const count = async () => (await passes(pool)).find((row) => row.part === part)?.passes ?? 0;
  const before = await count();
  for (let run = 0; run < 1_000 && (await count()) === before; run += 1) await auditPart(app, part, 0);
  expect(await count()).toBe(before + 1);
}

async function findingOf(who: Known) {
  const { rows } = await pool.query<{ fault: string; points: number; settled_at: Date | null }>(
    'select fault, points::int as points, settled_at from audit_finding where member = $1 order by number desc limit 1',
    [who.number],
  );
  return rows[0];
}

async function metric(name: string, labels: Record<string, string> = {}): Promise<number> {
  const { values } = await app.telemetry.registry.getSingleMetric(name)!.get();
  const found = values.find((value) =>
    Object.entries(labels).every(([label, text]) => value.labels[label] === text),
  );
  return found?.value ?? 0;
}

test('a member whose balance in Redis is wrong is frozen with a record, alarmed, reloaded, and may spend again', async () => {
  const [who, neighbour] = [await withPoints(50), await withPoints(50)];
  await damage(who.key, 's[8][1][4][1][2] = s[8][1][4][1][2] + 7');
  await wholePass('hot');
  expect(await findingOf(who)).toMatchObject({ fault: 'redis', points: 7, settled_at: null });
  const offered = await shop.pos('POST', '/v1/redemptions/quote', { member: who.name });
  expect(offered.body).toMatchObject({ maximum: 0, limitedBy: 'member' });
  expect((await spend(who, 1)).code).toBe('spending_frozen');
  expect((await shop.balances(who.name)).available).toBe(50);
  expect((await spend(neighbour, 1)).status).toBe(201);
  await engine.drained();
  const records = await pool.query<{ action: string }>(
    `select request -> 'body' ->> 'action' as action from operation where member = $1 and kind = 'status' order by epoch, seq`,
    [who.number],
  );
  expect(records.rows).toEqual([{ action: 'freeze' }]);
  await publishAudit(app);
  expect(await metric('loyalty_ledger_drift_points')).toBe(7);
  expect(await metric('loyalty_audit_findings', { part: 'hot' })).toBe(1);
  expect((await findingOf(who))!.settled_at).not.toBeNull();
  expect((await spend(who, 50)).status).toBe(201);
});

test('a state that nobody can read, or that names a record that never was, is dropped and loaded again', async () => {
  const [unreadable, ahead] = [await withPoints(30), await withPoints(30)];
  await damage(unreadable.key, 's = { 1 }');
  await damage(ahead.key, 's[2] = s[2] + 1000000 s[8][1][4][1][2] = 9');
  await wholePass('hot');
  await publishAudit(app);
  await engine.drained();
  for (const who of [unreadable, ahead]) {
    expect((await shop.balances(who.name)).available).toBe(30);
    expect((await spend(who, 30)).status).toBe(201);
  }
  await engine.drained();
  await engine.audit();
});

test('lots that contradict their entries are frozen and never changed, until a person has put them right', async () => {
  const who = await withPoints(40);
  const change = 'update lot set points = points + $1 where member = $2';
  await pool.query(change, [5, who.number]);
  await wholePass('rows');
  await wholePass('rows');
  await engine.drained();
  await publishAudit(app);
  expect(await findingOf(who)).toMatchObject({ fault: 'books', points: 5, settled_at: null });
  expect((await spend(who, 1)).code).toBe('spending_frozen');
  const lots = await pool.query('select points from lot where member = $1', [who.number]);
  expect(lots.rows).toEqual([{ points: 45 }]);
  // The state in Redis agrees with the entries, and it was not thrown away for the wrong row.
  expect((await shop.balances(who.name)).available).toBe(40);
  await pool.query(change, [-5, who.number]);
  await publishAudit(app);
  expect((await findingOf(who))!.settled_at).not.toBeNull();
  expect((await spend(who, 40)).status).toBe(201);
});

test('a changed operation is found by its block, from a remembered place and in bounded runs', async () => {
  const who = await withPoints(20);
  await wholePass('books');
  await publishAudit(app);
  const before = await metric('loyalty_audit_findings', { part: 'books' });
  const { operation } = parseOperationId(who.accrual)!;
  const setTo = async (text: string) => {
    await pool.query('alter table operation disable trigger user');
    await pool.query('update operation set request = $1 where operation = $2', [text, operation]);
    await pool.query('alter table operation enable trigger user');
  };
  const { rows } = await pool.query<{ request: string }>(
    'select request::text from operation where operation = $1',
    [operation],
  );
  await setTo(rows[0]!.request.replace('2000', '2001'));
  await wholePass('books');
  await setTo(rows[0]!.request);
  await publishAudit(app);
  expect(await metric('loyalty_audit_findings', { part: 'books' })).toBe(before + 1);
  await wholePass('books');
  await publishAudit(app);
  expect(await metric('loyalty_audit_findings', { part: 'books' })).toBe(before);
});

test('two processes share one pass: both may look, and only one moves on', async () => {
  const place = async () =>
    (await pool.query<{ version: number }>(`select version from audit_place where part = 'books'`)).rows[0]!
      .version;
  const before = await place();
  await Promise.all([auditPart(app, 'books', 0), auditPart(app, 'books', 0)]);
  const moved = (await place()) - before;
  expect(moved).toBeGreaterThanOrEqual(1);
  expect(moved).toBeLessThanOrEqual(2);
});

test('points that stay on the way after a transfer are found', async () => {
  const [from, to] = [await withPoints(50), await withPoints(1)];
  await shop.admin('POST', '/v1/transfers', {
    from: from.name,
    to: to.name,
    reference: reference(),
    points: 20,
  });
  await engine.drained();
  await wholePass('transfers');
  await publishAudit(app);
  expect(await metric('loyalty_audit_findings', { part: 'transfers' })).toBe(0);
  const set = `update account_balance set points = points + $1 where account = 'clearing' and shard = 0`;
  await pool.query(`insert into account_balance select $1, 1, 'clearing', 0, 0, 0 on conflict do nothing`, [
    shop.program.number,
  ]);
  await pool.query(set, [3]);
  await wholePass('transfers');
  await pool.query(set, [-3]);
  await publishAudit(app);
  expect(await metric('loyalty_audit_findings', { part: 'transfers' })).toBe(1);
});

test('under load nobody is frozen by mistake', async () => {
  const members = await Promise.all(Array.from({ length: 8 }, () => withPoints(10)));
  const found = async () =>
    (await pool.query<{ count: number }>('select count(*)::int as count from audit_finding')).rows[0]!.count;
  const before = await found();
  let running = true;
  const till = async (turn: number) => {
    for (let i = 0; running && i < 2_000; i += 1) {
      const who = members[(turn + i) % members.length]!;
      await shop.accrue(who.name, 3);
      if (i % 3 === 0) await spend(who, 2);
    }
  };
  const tills = Promise.all([0, 1, 2, 3].map(till));
  try {
    for (let i = 0; i < 5; i += 1) for (const part of auditParts) await wholePass(part);
  } finally {
    running = false;
    await tills;
  }
  expect(await found()).toBe(before);
});
