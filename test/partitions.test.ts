/** The ledger in months: every id has a place, nobody changes one, old ones go to the archive and come back. */
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { ArchiveRefusal, attachMonth, detachMonth } from '#src/ledger/archive.ts';
import { memberRows } from '#src/ledger/audit-hot-books.ts';
import { extendLedger, stretches } from '#src/ledger/partitions.ts';
import { type MemberNumber, parseMemberId, parseOperationId } from '#src/values.ts';
import { amountRule, reference, startEngine, waitFor } from './harness.ts';
import { auditOf } from './house/books.ts';
import { commandOf } from './house/command.ts';
import { accrueCounting, newMember } from './house/counting.ts';
import { followerOf, readAll } from './house/diary.ts';
import { cutHere } from './house/months.ts';

const engine = await startEngine({ shardCount: 2 });
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, stores } = engine;
const diaryRead = () => readAll(engine.app, followerOf(engine.app));

async function connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs work in a database transaction that never commits. */
function undone<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  return connected(async (client) => {
    await client.query('begin');
    return work(client);
  });
}

const operationRow = (id: string, seq: number) =>
  `insert into operation (operation, shard, epoch, seq, program, client, kind, member, at, occurred_at, request, effect)
   values ('${id}', 0, 1, ${seq}, 1, 0, 'accrual', 1, now(), now(), '{}', '{"legs":[],"balances":[]}') returning tableoid::regclass::text as place`;

async function placeOf(client: pg.Client, id: string, seq = 1_000_000): Promise<string> {
  return (await client.query<{ place: string }>(operationRow(id, seq))).rows[0]!.place;
}

/** The id of a time, in the middle of its millisecond. */
function idAt(at: string): string {
  const hex = Date.parse(at).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

describe('months', () => {
  test('follow one another without a gap from before all time to after it, three ahead of now', async () => {
    const found = await stretches(pool);
    expect(found[0]).toMatchObject({ name: 'past', firstId: null });
    expect(found.at(-1)).toMatchObject({ name: 'ahead', endId: null });
    for (const [i, stretch] of found.slice(1).entries()) expect(stretch.firstId).toBe(found[i]!.endId);
    const ahead = new Date(found.at(-1)!.from!);
    const now = new Date();
    expect(ahead).toEqual(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 4, 1)));
  });

  test('take every id, however wrong the clock that made it', async () => {
    const places = await undone(async (client) => [
      await placeOf(client, '00000000-0000-7000-8000-000000000000', 1_000_000),
      await placeOf(client, 'ffffffff-ffff-7000-8000-000000000000', 1_000_001),
      await placeOf(client, idAt(new Date().toISOString()), 1_000_002),
    ]);
    const month = new Date().toISOString().slice(0, 7).replace('-', '_');
    expect(places).toEqual(['operation_past', 'operation_ahead', `operation_${month}`]);
  });

  test('are added before they begin, and what was booked beyond them moves into its own', async () => {
    const moved = await undone(async (client) => {
      const year = new Date().getUTCFullYear() + 2;
      const id = idAt(`${year}-03-05T00:00:00Z`);
      expect(await placeOf(client, id)).toBe('operation_ahead');
      const entry = `insert into entry (operation, points, program, account, currency, line, shard) values ($1, 5, 1, 'issuance', 1, 0, 0)`;
      await client.query(entry, [id]);
      await client.query('select extend_ledger(36)');
      const { rows } = await client.query<{ operation: string; entry: string }>(
        `select o.tableoid::regclass::text as operation, e.tableoid::regclass::text as entry
         from operation o join entry e using (operation) where operation = $1`,
        [id],
      );
      return { rows, year };
    });
    const { year } = moved;
    expect(moved.rows).toEqual([{ operation: `operation_${year}_03`, entry: `entry_${year}_03` }]);
  });

  test('that are there are not added again, also by two at once', async () => {
    expect(await Promise.all([extendLedger(pool), extendLedger(pool)])).toEqual([
      { added: 0, ahead: 0, isPutOff: false },
      { added: 0, ahead: 0, isPutOff: false },
    ]);
  });

  test('are put off while somebody reads the ledger, rather than holding up everybody', async () => {
    const later = await undone(async (reader) => {
      await reader.query('select count(*) from operation');
      return connected(async (client) => {
        await client.query('begin');
        const adding = client.query('select extend_ledger(36)');
        await expect(adding).rejects.toMatchObject({ code: '55P03' });
        await client.query('rollback');
        return stretches(client);
      });
    });
    expect(later).toEqual(await stretches(pool));
  });

  test('are as append-only as the whole, each by its own name', async () => {
    const { rows } = await pool.query<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c where relkind in ('r', 'p') and relname ~ '^(operation|entry)(_|$)'`,
    );
    expect(rows.length).toBeGreaterThan(10);
    for (const { name } of rows) {
      for (const change of [
        `delete from ${name}`,
        `update ${name} set operation = operation`,
        `truncate ${name} cascade`,
      ])
        await expect(
          undone((client) => client.query(change)),
          change,
        ).rejects.toThrow('append-only');
    }
  });
});

describe('one number', () => {
  test('is not given twice within a month; over months the audit names it', async () => {
    const who = await shop.enrol();
    const { operation } = parseOperationId(String((await shop.accrue(who, 10)).body.id))!;
    await engine.drained();
    const { rows } = await pool.query<{ epoch: number; seq: number; shard: number }>(
      'select shard, epoch, seq from operation where operation = $1',
      [operation],
    );
    const place = rows[0]!;
    const twice = (id: string) =>
      operationRow(id, place.seq).replace('0, 1,', `${place.shard}, ${place.epoch},`);
    await expect(undone((client) => client.query(twice(idAt(new Date().toISOString()))))).rejects.toThrow(
      'unique constraint',
    );
    const stray = idAt('2001-01-01T00:00:00Z');
    await pool.query(twice(stray));
    try {
      const report = await auditOf(stores);
      const density = report.findings.filter(({ check }) => check === 'density');
      expect(density).toMatchObject([{ where: place }]);
    } finally {
      await pool.query('alter table operation disable trigger user');
      await pool.query('delete from operation where operation = $1', [stray]);
      await pool.query('alter table operation enable trigger user');
    }
    await engine.audit();
  });
});

test('a member’s last operation is the one with the last number, also where another one has the newer id', async () => {
  const now = Date.now();
  const [before, after] = [idAt(new Date(now - 30_000).toISOString()), idAt(new Date(now).toISOString())];
  const [row] = await undone(async (client) => {
    const { rows } = await client.query<{ number: MemberNumber }>(
      'insert into member (program, joined_at) values ($1, now()) returning number',
      [shop.program.number],
    );
    const { number } = rows[0]!;
    for (const [id, seq, at] of [
      [after, 2_000_000, now - 5_000],
      [before, 2_000_001, now],
    ] as const)
      await client.query(
        operationRow(id, seq).replace(
          "'accrual', 1, now()",
          `'accrual', ${number}, to_timestamp(${at} / 1000.0)`,
        ),
      );
    return memberRows(client, [number]);
  });
  expect(row).toMatchObject({ last_seq: 2_000_001, at: now, newest_at: now - 5_000 });
});

/** A receipt under a budget, and half of it returned. */
async function giveFromBudget(): Promise<void> {
  const budgeted = await engine.shop({
    definition: {
      rules: [amountRule('spend', 'points', [1, 100], { budget: 'campaign' })],
      budgets: [{ name: 'campaign', points: 1_000 }],
    },
  });
  const purchase = { currency: 'EUR', lines: [1, 2].map((line) => ({ line, amount: 600 })) };
  const given = await budgeted.accrue(await budgeted.enrol(), 0, { purchase });
  const back = { reference: reference(), occurredAt: budgeted.time(), lines: [{ line: 1 }] };
  expect((await budgeted.pos('POST', `/v1/accruals/${given.id}/reversals`, back)).status).toBe(201);
}

describe('the archive', () => {
  const outcome = (run: Promise<unknown>) =>
    run.then(
      () => 'done',
      (error: unknown) => (error instanceof ArchiveRefusal ? error.message : error),
    );

  test('takes the oldest month, and balances, audit and repeats go on without it', async () => {
    const who = await shop.enrol();
    const idle = await shop.enrol();
    const receipt = shop.receipt(who, 500);
    const accrued = await shop.pos('POST', '/v1/accruals', receipt);
    await shop.accrue(idle, 7);
    const twice = { points: [], counts: [[1, 0, 2]] as const };
    const { number } = await newMember(shop);
    await accrueCounting(engine.app, shop, number, twice);
    await giveFromBudget();
    const held = await shop.pos('POST', '/v1/holds', { member: who, reference: reference(), points: 60 });
    const redeemed = await shop.pos('POST', '/v1/redemptions', {
      member: who,
      reference: reference(),
      points: 200,
    });
    await shop.admin('POST', '/v1/transfers', { from: who, to: idle, reference: reference(), points: 40 });
    await shop.admin('POST', `/v1/members/${idle}/suspend`, { reference: reference(), reason: 'test' });
    await engine.drained();
    const end = await cutHere(stores.databaseUrl, 'early', 'middle');
    await giveFromBudget();
    const later = await shop.accrue(who, 30);
    await accrueCounting(engine.app, shop, number, twice);
    await engine.drained();
    await engine.audit();

    await connected(async (client) => {
      expect(await outcome(detachMonth(client, 'middle', new Date()))).toContain('early: it goes first');
      expect(await outcome(detachMonth(client, 'early', new Date(end.getTime() - 1)))).toContain(
        'did not end',
      );
      expect(await outcome(detachMonth(client, 'early', end))).toBe('1 open holds: settle them first');
      expect(await outcome(attachMonth(client, 'early'))).toBe('nothing is archived');
    });
    await shop.pos('POST', `/v1/holds/${held.id}/release`, { reference: reference() });
    await engine.drained();
    const unread = await connected((client) => outcome(detachMonth(client, 'early', end)));
    expect(unread).toContain('shards of which the diary has not read so far');
    await diaryRead();
    const archived = await connected((client) => detachMonth(client, 'early', end));
    expect(archived).toMatchObject({ month: 'early', firstId: expect.any(String) as string });
    const left = await pool.query('select from operation where operation < archived_below()');
    expect(left.rowCount).toBe(0);

    await engine.audit();
    expect(await shop.balances(who)).toMatchObject({ available: 290, held: 0, debt: 0 });
    const answers = [
      await shop.pos('POST', '/v1/accruals', receipt),
      await shop.care('GET', `/v1/operations/${accrued.id}`),
      await shop.pos('POST', `/v1/redemptions/${redeemed.id}/refunds`, { reference: reference(), points: 1 }),
      await shop.pos('POST', `/v1/accruals/${accrued.id}/reversals`, {
        reference: reference(),
        occurredAt: shop.time(),
      }),
    ];
    for (const { status, code } of answers) expect([status, code]).toEqual([410, 'operation_archived']);
    expect((await shop.care('GET', `/v1/operations/${later.body.id}`)).status).toBe(200);
    const statement = await shop.care('GET', `/v1/members/${who}/statement`);
    expect(statement.body).toMatchObject({
      nextCursor: null,
      opening: {
        before: end.toISOString(),
        balances: [{ currency: 'points', points: 200, held: 60, debt: 0 }],
      },
    });
    expect((statement.body.data as unknown[]).length).toBe(3);
    const exported = await shop.admin('GET', `/v1/members/${who}/export`);
    expect(exported.body).toMatchObject({ operationsSince: end.toISOString() });
    expect(exported.body.operations).toHaveLength(2);
    // Everybody comes back from the books: who has nothing but archived operations, too.
    await engine.redis.flushall();
    const isServed = async (name: string) =>
      (await shop.pos('GET', `/v1/members/${name}/balances`)).status === 200;
    await waitFor('both shards serve again', async () => (await isServed(idle)) && isServed(who), 60_000);
    expect(await shop.balances(idle)).toMatchObject({ available: 47 });
    const counted = await accrueCounting(engine.app, shop, number, twice);
    expect(counted.effect.counters).toEqual([[1, 0, 2, 6]]);
    await engine.drained();
    await engine.audit();
  });

  test('hides no fault: a changed entry, sum or number is found, and what is there is checked as before', async () => {
    const { driftPoints } = await (async () => {
      await pool.query(`update carried set points = points + 3 where account = 'issuance'`);
      try {
        return await auditOf(stores);
      } finally {
        await pool.query(`update carried set points = points - 3 where account = 'issuance'`);
      }
    })();
    expect(driftPoints).toBeGreaterThanOrEqual(3);
    await pool.query('update carried_counter set value = value + 1');
    const miscounted = await auditOf(stores);
    await pool.query('update carried_counter set value = value - 1');
    expect(miscounted.findings.map(({ check }) => check)).toEqual(['counters']);
    await pool.query('update carried_budget set given_back = given_back + 1');
    const misgiven = await auditOf(stores);
    await pool.query('update carried_budget set given_back = given_back - 1');
    expect(misgiven.findings.map(({ check }) => check)).toEqual(['budgets']);
    const { rows } = await pool.query<{ operation: string; points: number }>(
      `select operation, points from entry where account = 'wallet' order by operation desc limit 1`,
    );
    const change = async (points: number) => {
      await pool.query('alter table entry disable trigger user');
      await pool.query(`update entry set points = $1 where operation = $2 and account = 'wallet'`, [
        points,
        rows[0]!.operation,
      ]);
      await pool.query('alter table entry enable trigger user');
    };
    await change(rows[0]!.points + 1);
    const changed = await auditOf(stores);
    await change(rows[0]!.points);
    expect(new Set(changed.findings.map(({ check }) => check))).toEqual(
      new Set(['entries', 'legs', 'lots', 'accounts']),
    );
    const shortened = await pool.query<{ ctid: string }>(
      `update archived_numbers set last_seq = last_seq - 1 where last_seq > first_seq returning ctid`,
    );
    expect(shortened.rowCount).toBeGreaterThan(0);
    const missing = await auditOf(stores);
    await pool.query('update archived_numbers set last_seq = last_seq + 1 where ctid = any($1::tid[])', [
      shortened.rows.map(({ ctid }) => ctid),
    ]);
    expect(missing.findings.filter(({ check }) => check === 'density')).toHaveLength(shortened.rowCount!);
    await engine.audit();
  });

  test('takes a second month and gives both back, the last one first', async () => {
    const who = await shop.enrol();
    const first = await shop.accrue(who, 11);
    await engine.drained();
    const end = await cutHere(stores.databaseUrl, 'middle2', 'late');
    // The stretch between the two cuts was called `middle` and is now `middle2`.
    // The service goes on meanwhile: nobody is refused, nothing is lost.
    let isDone = false;
    const till = async () => {
      while (!isDone) expect((await shop.accrue(who, 1)).status).toBe(201);
    };
    const tills = Promise.all([till(), till(), till()]);
    try {
      // Purchases go on, so what is read now may be behind again a moment later.
      await waitFor('the month is archived', async () => {
        await diaryRead();
        const said = await connected((client) => outcome(detachMonth(client, 'middle2', end)));
        return !String(said).includes('the diary has not read');
      });
    } finally {
      isDone = true;
      await tills;
    }
    await engine.drained();
    await engine.audit();
    const { rows } = await pool.query<{ sum: number }>(
      'select coalesce(sum(points), 0)::bigint as sum from carried where member = $1',
      [parseMemberId(String(first.body.member))],
    );
    expect(rows[0]!.sum).toBe(11);
    await connected(async (client) => {
      expect(await outcome(attachMonth(client, 'early'))).toContain('middle2: it comes back first');
      await attachMonth(client, 'middle2');
      await attachMonth(client, 'early');
    });
    const empty = await pool.query('select from carried union all select from archived_numbers');
    expect(empty.rowCount).toBe(0);
    await engine.audit();
    expect((await stretches(pool)).map(({ name }) => name).slice(0, 4)).toEqual([
      'past',
      'early',
      'middle2',
      'late',
    ]);
  });

  test('is shown and worked by a command, which leaves young months alone', async () => {
    const partitions = commandOf('ledger/partitions-command.ts', {
      ...process.env,
      DATABASE_URL: stores.databaseUrl,
      REDIS_URL: stores.redisUrl,
    });
    const listed = await partitions('list');
    expect(listed).toMatchObject({ code: 0, complaint: '' });
    expect(listed.out).toMatch(/^past +ledger +… to /m);
    expect(listed.out).toMatch(/^ahead +ledger +\d{4}-\d{2}-01 to …/m);
    const wrong = await partitions('detach', 'yesterday');
    expect([wrong.code, wrong.complaint]).toEqual([2, expect.stringContaining('takes a month')]);
    const month = new Date().toISOString().slice(0, 7);
    const young = await partitions('detach', month, '--keep', '1');
    expect([young.code, young.complaint]).toEqual([1, expect.stringContaining('goes first')]);
  });
});
