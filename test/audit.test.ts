/** The audit finds nothing in sound books, and each kind of damage exactly where it was done. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditReport, checks, type Finding } from '#src/ledger/audit-report.ts';
import { auditUnclaimed } from '#src/ledger/audit-rows.ts';
import { type MemberNumber, memberId, parseMemberId, parseOperationId, shardOfMember } from '#src/values.ts';
import { keys, shardPrefix } from '#src/wallet/keys.ts';
import { reference, startEngine } from './harness.ts';
import { auditOf } from './house/books.ts';
import { commandOf } from './house/command.ts';
import { accrueCounting, newMember } from './house/counting.ts';
import { damageState } from './house/journal.ts';

const shardCount = 2;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const shop = await engine.shop({
  definition: {
    budgets: [{ name: 'campaign', points: 1_000 }],
    promotions: [
      {
        name: 'gift',
        currency: 'points',
        code: 'GIFT',
        budget: 'campaign',
        earn: { by: 'fixed', points: 5 },
      },
    ],
  },
});
const { pool, redis, stores } = engine;

const audited = (shard?: number): Promise<AuditReport> => auditOf(stores, shard);

const appendOnly = ['entry', 'operation', 'block'] as const;

/** Does damage, which the books' triggers would refuse, audits, and makes it good again. */
async function afterDamage(
  damage: () => Promise<unknown>,
  repair: () => Promise<unknown>,
): Promise<AuditReport> {
  for (const table of appendOnly) await pool.query(`alter table ${table} disable trigger user`);
  try {
    await damage();
    return await audited();
  } finally {
    await repair();
    for (const table of appendOnly) await pool.query(`alter table ${table} enable trigger user`);
  }
}

/** Runs a statement with the damaged value as $1, audits, and runs it again with the sound one. */
function afterUpdate(
  statement: string,
  damaged: unknown,
  sound: unknown,
  ...values: unknown[]
): Promise<AuditReport> {
  return afterDamage(
    () => pool.query(statement, [damaged, ...values]),
    () => pool.query(statement, [sound, ...values]),
  );
}

/** Takes rows out of a table and puts them back. */
async function afterRemoving(table: string, where: string, ...values: unknown[]): Promise<AuditReport> {
  const kept = await pool.query<{ rows: string }>(
    `select coalesce(json_agg(t), '[]')::text as rows from ${table} t where ${where}`,
    values,
  );
  return afterDamage(
    () => pool.query(`delete from ${table} t where ${where}`, values),
    () =>
      pool.query(`insert into ${table} select * from json_populate_recordset(null::${table}, $1)`, [
        kept.rows[0]!.rows,
      ]),
  );
}

/** Changes what Redis stores under a key, by a Lua statement on the unpacked state `s`, while `look` is run. */
async function whileChangedInRedis<T>(key: string, change: string, look: () => Promise<T>): Promise<T> {
  const sound = await redis.getBuffer(key);
  try {
    await damageState(redis, key, change);
    return await look();
  } finally {
    await redis.set(key, sound!);
  }
}

const afterChangeInRedis = (key: string, change: string) => whileChangedInRedis(key, change, () => audited());

/** What a report found: by check, where and by how many points. */
function findings(report: AuditReport): Pick<Finding, 'check' | 'where' | 'points'>[] {
  return report.findings.map(({ check, where, points }) => ({ check, where, points }));
}

interface Place {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

async function placeOf(id: string): Promise<Place> {
  const { rows } = await pool.query<Place>('select shard, epoch, seq from operation where operation = $1', [
    parseOperationId(id)!.operation,
  ]);
  return rows[0]!;
}

async function blockOf({ shard, epoch, seq }: Place): Promise<string> {
  const { rows } = await pool.query<{ block: string }>(
    `select first_seq || '-' || last_seq as block from block where shard = $1 and epoch = $2 and $3 between first_seq and last_seq`,
    [shard, epoch, seq],
  );
  return rows[0]!.block;
}

let accrual: string;
let hold: string;
let member: MemberNumber;
let shard: number;
const lot = 1;

beforeAll(async () => {
  const own = await shop.enrol('audited');
  const counting = await newMember(shop);
  await accrueCounting(engine.app, shop, counting.number, { points: [], counts: [[1, 0, 1]] });
  const codes = { purchase: { currency: 'EUR', lines: [{ line: 1, amount: 100 }], codes: ['GIFT'] } };
  await shop.accrue(await shop.enrol('budgeted'), 0, codes);
  const first = await shop.accrue(own, 1_000);
  accrual = String(first.body.id);
  member = parseMemberId(String(first.body.member))!;
  shard = shardOfMember(member, shardCount);
  const redeem = await shop.pos('POST', '/v1/redemptions', {
    member: own,
    reference: reference(),
    points: 300,
  });
  await shop.pos('POST', `/v1/redemptions/${redeem.body.id}/refunds`, {
    reference: reference(),
    points: 100,
  });
  const held = await shop.pos('POST', '/v1/holds', { member: own, reference: reference(), points: 50 });
  hold = String(held.body.id);
  const spent = await shop.enrol('spent');
  const given = await shop.accrue(spent, 70);
  await shop.pos('POST', '/v1/redemptions', { member: spent, reference: reference(), points: 70 });
  const back = { reference: reference(), occurredAt: shop.time() };
  await shop.pos('POST', `/v1/accruals/${given.body.id}/reversals`, back);
  await shop.admin('POST', '/v1/transfers', { from: own, to: spent, reference: reference(), points: 20 });
  await shop.admin('POST', `/v1/members/${spent}/suspend`, { reference: reference(), reason: 'test' });
  await engine.drained();
});

test('sound books and a Redis that agrees with them have no findings', async () => {
  const report = await audited();
  expect(report).toMatchObject({ clean: true, driftPoints: 0, findings: [], notes: [] });
  const compared = Object.fromEntries(report.checks.map((row) => [row.check, row.compared]));
  for (const check of Object.keys(checks)) expect(compared[check], check).toBeGreaterThan(0);
  expect(report.checks.every((row) => row.skipped === 0)).toBe(true);
});

test('one shard alone is audited when it is asked for', async () => {
  const [own, all] = [await audited(shard), await audited()];
  expect(own.clean).toBe(true);
  expect(own.checks[0]!.compared).toBeLessThan(all.checks[0]!.compared);
});

describe('in Redis', () => {
  test('a changed balance names member and lot', async () => {
    const report = await afterChangeInRedis(
      keys.member(shard, member),
      's[8][1][4][1][2] = s[8][1][4][1][2] + 7',
    );
    expect(findings(report)).toEqual([
      { check: 'hot members', where: { shard, member, currency: 1, lot }, points: 7 },
    ]);
    expect(report).toMatchObject({ clean: false, driftPoints: 7 });
    expect(report.findings[0]!.detail).toContain('737 points');
    expect(report.findings[0]!.detail).toContain('730 points');
  });

  test('a changed status, a changed expiry and a lost hold are named', async () => {
    const key = keys.member(shard, member);
    const status = await afterChangeInRedis(key, "s[4] = 'suspended'");
    expect(findings(status)).toEqual([{ check: 'hot members', where: { shard, member }, points: 0 }]);
    const expiry = await afterChangeInRedis(key, 's[8][1][4][1][3] = 4102444800000');
    expect(findings(expiry)).toEqual([
      { check: 'hot members', where: { shard, member, currency: 1, lot }, points: 0 },
    ]);
    const lost = await afterChangeInRedis(key, 's[9] = {}');
    const { operation } = parseOperationId(hold)!;
    expect(findings(lost)).toEqual([
      { check: 'hot members', where: { shard, member, hold: operation }, points: 0 },
      { check: 'hot members', where: { shard, member, hold: operation, currency: 1, lot }, points: 50 },
    ]);
  });

  test('a state that nobody can read is named', async () => {
    const report = await afterChangeInRedis(keys.member(shard, member), 's = { 1 }');
    expect(findings(report)).toEqual([{ check: 'hot members', where: { shard, member }, points: 0 }]);
  });

  test('a changed rest of a redemption is named', async () => {
    const [key] = await redis.keys(`${shardPrefix(shard)}o:*`);
    const report = await afterChangeInRedis(key!, 's[5][1][3] = s[5][1][3] + 5');
    expect(findings(report)).toMatchObject([{ check: 'hot operations', where: { shard, lot }, points: 5 }]);
  });
});

describe('in rows that the writer keeps', () => {
  test('one lot is named, and Redis is not blamed for it', async () => {
    const report = await afterUpdate(
      'update lot set points = $1 where member = $2 and lot = $3',
      725,
      730,
      member,
      lot,
    );
    expect(findings(report)).toEqual([
      { check: 'lots', where: { shard, member, currency: 1, lot }, points: 5 },
    ]);
    expect(report.driftPoints).toBe(5);
  });

  test('a lot’s expiry is named', async () => {
    const report = await afterUpdate(
      'update lot set expires_at = $1 where member = $2',
      4_102_444_800_000,
      0,
      member,
    );
    expect(report.findings[0]).toMatchObject({
      check: 'lot terms',
      where: { shard, member, currency: 1, lot },
    });
  });

  test('an account balance is named, and that all accounts no longer sum to zero', async () => {
    const change = 'update account_balance set points = points + $1 where shard = $2 and account = $3';
    const report = await afterUpdate(change, 4, -4, shard, 'redemption');
    const { program } = shop;
    const where = { shard, program: program.number, currency: 1 };
    expect(findings(report)).toEqual([
      { check: 'accounts', where: { ...where, account: 'redemption', party: 0 }, points: 4 },
      { check: 'zero sum', where, points: 4 },
    ]);
  });

  test('a hold, a debt, a reference and a status are named', async () => {
    const { operation } = parseOperationId(hold)!;
    const settle = 'update hold set status = $1 where hold = $2';
    const held = await afterUpdate(settle, 'released', 'held', operation);
    const where = { shard, member, hold: operation, currency: 1, lot };
    expect(findings(held)).toContainEqual({ check: 'holds', where, points: 50 });
    const debt = await afterUpdate('update debt set points = points + $1 where points > 0', 1, -1);
    expect(findings(debt)).toMatchObject([{ check: 'debts', points: 1 }]);
    const gone = await afterRemoving('reference', 'operation = $1', operation);
    expect(findings(gone)).toMatchObject([{ check: 'references', where: { operation } }]);
    const status = await afterUpdate(`update member set frozen = $1 where status = 'suspended'`, true, false);
    expect(status.findings[0]).toMatchObject({ check: 'statuses' });
  });
});

describe('in the ledger', () => {
  test('a changed entry is named with its number and line', async () => {
    const place = await placeOf(accrual);
    const change = 'update entry set points = $1 where operation = $2 and line = 0';
    const report = await afterUpdate(change, 1_003, 1_000, parseOperationId(accrual)!.operation);
    expect(report.findings[0]).toMatchObject({
      check: 'entries',
      where: { ...place, line: 0, account: 'wallet', member, lot },
      detail: 'points 1003, should be 1000',
      points: 3,
    });
    expect(new Set(report.findings.map((finding) => finding.check))).toEqual(
      new Set(['entries', 'legs', 'lots', 'accounts']),
    );
    expect(report.checks.filter((row) => row.findings > 1)).toEqual([]);
    expect(report.driftPoints).toBe(3);
  });

  test('a deleted entry is named with its number and line', async () => {
    const place = await placeOf(accrual);
    const { operation } = parseOperationId(accrual)!;
    const report = await afterRemoving('entry', 'operation = $1 and line = 1', operation);
    expect(report.findings[0]).toMatchObject({
      check: 'entries',
      where: { ...place, line: 1, account: 'issuance' },
      detail: 'the entry of -1000 points is missing',
    });
    expect(new Set(report.findings.map((finding) => finding.check))).toEqual(
      new Set(['entries', 'legs', 'accounts']),
    );
  });

  test('entries without an operation are named, by either audit', async () => {
    const place = await placeOf(accrual);
    const { operation } = parseOperationId(accrual)!;
    const stranger = `${operation.slice(0, -1)}${operation.endsWith('0') ? '1' : '0'}`;
    let continuous: readonly Finding[] = [];
    const report = await afterDamage(
      async () => {
        await pool.query('update entry set operation = $1 where operation = $2', [stranger, operation]);
        continuous = (await auditUnclaimed(pool, '0'.repeat(32), 1_000)).findings;
      },
      () => pool.query('update entry set operation = $1 where operation = $2', [operation, stranger]),
    );
    const where = { shard: place.shard, operation: stranger, line: 0, account: 'wallet', currency: 1 };
    expect(continuous).toHaveLength(2);
    expect(continuous[0]).toMatchObject({ check: 'entries', where, points: 1_000 });
    expect(findings(report)).toContainEqual({ check: 'entries', where, points: 1_000 });
    expect(report.findings.filter((finding) => finding.check === 'entries')).toHaveLength(4);
  });

  test('a missing number is named, with the block that it stood in', async () => {
    const place = await placeOf(accrual);
    const block = await blockOf(place);
    const report = await afterRemoving('operation', 'operation = $1', parseOperationId(accrual)!.operation);
    const ofCheck = (check: string) => report.findings.filter((finding) => finding.check === check);
    expect(ofCheck('density')).toMatchObject([{ where: place, detail: `number ${place.seq} is missing` }]);
    expect(ofCheck('blocks')).toMatchObject([{ where: { shard: place.shard, epoch: place.epoch, block } }]);
    expect(ofCheck('references')).toHaveLength(1);
    expect(ofCheck('legs')).toEqual([]);
  });

  test('a changed request is named by its block alone', async () => {
    const place = await placeOf(accrual);
    const block = await blockOf(place);
    const { operation } = parseOperationId(accrual)!;
    const { rows } = await pool.query<{ request: string }>(
      'select request::text from operation where operation = $1',
      [operation],
    );
    const { request } = rows[0]!;
    const change = 'update operation set request = $1 where operation = $2';
    const report = await afterUpdate(change, request.replace('100000', '100001'), request, operation);
    expect(findings(report)).toEqual([
      { check: 'blocks', where: { shard: place.shard, epoch: place.epoch, block }, points: 0 },
    ]);
  });

  test('two swapped blocks are named, and nothing else', async () => {
    const { rows } = await pool.query<{ epoch: number; first_seq: number; last_seq: number }>(
      'select epoch, first_seq, last_seq from block where shard = $1 order by epoch, first_seq limit 2 offset 1',
      [shard],
    );
    const [a, b] = rows as [(typeof rows)[0], (typeof rows)[0]];
    const swap = () =>
      pool.query(
        `update block x set hash = y.hash, previous_hash = y.previous_hash from block y
         where x.shard = $1 and y.shard = $1 and x.epoch = $2 and y.epoch = $2
           and (x.first_seq, y.first_seq) in (($3::bigint, $4::bigint), ($4::bigint, $3::bigint))`,
        [shard, a.epoch, a.first_seq, b.first_seq],
      );
    const report = await afterDamage(swap, swap);
    expect(report.findings.every((finding) => finding.check === 'blocks')).toBe(true);
    const named = new Set(report.findings.map((finding) => finding.where.block));
    expect(named).toContain(`${a.first_seq}-${a.last_seq}`);
    expect(named).toContain(`${b.first_seq}-${b.last_seq}`);
  });
});

test('under load there is no false alarm', async () => {
  const members = await Promise.all(Array.from({ length: 12 }, () => shop.enrol('busy')));
  let running = true;
  const till = async (turn: number) => {
    for (let i = 0; running && i < 2_000; i += 1) {
      const own = members[(turn + i) % members.length]!;
      const sale = await shop.accrue(own, 20);
      if (i % 3 === 0)
        await shop.pos('POST', '/v1/redemptions', { member: own, reference: reference(), points: 5 });
      if (i % 4 === 0) {
        const back = { reference: reference(), occurredAt: shop.time() };
        await shop.pos('POST', `/v1/accruals/${sale.body.id}/reversals`, back);
      }
    }
  };
  const tills = Promise.all([0, 1, 2, 3].map(till));
  try {
    for (let i = 0; i < 5; i += 1) expect((await audited()).findings).toEqual([]);
  } finally {
    running = false;
    await tills;
  }
});

describe('npm run audit', () => {
  const environment = { ...process.env, DATABASE_URL: stores.databaseUrl, REDIS_URL: stores.redisUrl };
  const run = commandOf('ledger/audit-command.ts', environment);

  test('prints what it compared and ends with 0 when all is well, with 2 when it cannot run', async () => {
    await engine.drained();
    const { code, out } = await run();
    expect(out).toMatch(/^check +compared +findings$/m);
    expect(out.trim().split('\n').at(-1)).toBe('no findings, drift 0 points');
    expect(code).toBe(0);
    expect((await run('--everything')).code).toBe(2);
  });

  test('names the damage and ends with 1', async () => {
    const change = 's[8][1][4][1][2] = 1';
    const [table, json] = await whileChangedInRedis(keys.member(shard, member), change, () =>
      Promise.all([run(), run('--json', '--shard', String(shard))]),
    );
    expect([table.code, json.code]).toEqual([1, 1]);
    expect(table.out).toContain(
      `hot members: shard ${shard}, member ${memberId(member)}, currency 1, lot 1: `,
    );
    expect(table.out.trim().split('\n').at(-1)).toBe('1 finding, drift 729 points');
    expect(JSON.parse(json.out)).toMatchObject({ object: 'audit', clean: false, driftPoints: 729 });
  });
});
