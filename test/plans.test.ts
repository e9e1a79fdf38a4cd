/**
 * What every statement costs on a ledger of several months: the service works, upkeep runs each of its jobs, everything that
 * they ask PostgreSQL is noted, and each statement is explained with the values it was asked with. None may read a table
 * that grows with the ledger from end to end, and those that know an id or want the newest may not look into old months.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sumsOf } from '#src/diary/reading.ts';
import { auditPart, publishAudit } from '#src/jobs/audit.ts';
import { takeBackConflicts } from '#src/jobs/conflicts.ts';
import { bookDue } from '#src/jobs/due.ts';
import { createEviction } from '#src/jobs/eviction.ts';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { keepMonthsAhead } from '#src/jobs/months.ts';
import { warnAll } from '#src/jobs/warnings.ts';
import { measureOpenWork } from '#src/jobs/watch.ts';
import { auditParts } from '#src/ledger/audit-place.ts';
import { createMembers } from '#src/members/members.ts';
import type { MemberNumber } from '#src/values.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { accrueCounting, newMember } from './house/counting.ts';
import { followerOf, readAll } from './house/diary.ts';
import { addMonthsBefore } from './house/months.ts';
import { type Asked, growing, listen, type Plan, scansOf } from './house/plans.ts';

const monthsBefore = 6;
const membersMade = 3_000;
const operationsPerMonth = 4_000;

const engine = await startEngine({ shardCount: 2 });
afterAll(async () => {
  await clear();
  await engine.end();
});
const { stores, pool, app } = engine;
const dated = { code: 'points', expiry: { kind: 'days' as const, days: 20 }, warnDays: [30, 20] };
const shop = await engine.shop({ definition: { currencies: [dated] } });
const gift = { currency: 'points', give: { points: 5 } };
const gifts = await engine.shop({
  mode: 'test',
  definition: {
    promotions: [
      { ...gift, name: 'to-all', during: { repeat: 'FREQ=DAILY' } },
      { ...gift, name: 'birthday', during: { member: 'birthday' } },
      { ...gift, name: 'anniversary', during: { member: 'anniversary' } },
    ],
  },
});

/** Those that were filled: a page or two are read as a whole by any plan. */
let large: ReadonlySet<string>;

/** Members, and operations of theirs in every month, with entries, references and what follows. */
async function fill(begins: readonly Date[]): Promise<void> {
  await pool.query(`insert into member (program, joined_at) select $1, now() from generate_series(1, $2)`, [
    shop.program.number,
    membersMade,
  ]);
  for (const [i, from] of begins.entries()) {
    await pool.query(
      `with made as (
         select (lpad(to_hex($1::bigint + n), 12, '0') || '7001' || 'a' || lpad(to_hex($2::int * 65536 + n), 15, '0'))::uuid as operation,
           n, 1 + (n * 7 % $3)::bigint as member, to_timestamp(($1::bigint + n) / 1000.0) as at from generate_series(1, $4::int) n),
       operations as (
         insert into operation (operation, shard, epoch, seq, program, client, kind, member, order_reference, reference_key, at, occurred_at, request, effect)
         select operation, 99, 0, $2::int * 100000 + n, $5::int, 1, 'accrual', member, 'order-' || n, md5(operation::text)::uuid, at, at,
           '{}', format('{"legs":[],"balances":[],"counters":[[1,%s,1,1]]}', 202601 + n % 12)::json from made),
       uses as (insert into reference select md5(operation::text)::uuid, operation from made),
       follows as (insert into consequence select operation, operation from made where n % 10 = 0)
       insert into entry (operation, points, member, program, account, lot, party, currency, line, shard)
       select operation, 5, member, $5::int, 'wallet'::account, 1, 0, 1, 0, 99 from made
       union all select operation, -5, null, $5::int, 'issuance'::account, null, 0, 1, 1, 99 from made`,
      [from.getTime(), i, membersMade, operationsPerMonth, shop.program.number],
    );
  }
  await pool.query(
    `insert into lot select member, 1, 1, sum(points), 0, 0, 0 from entry where account = 'wallet' and shard = 99 group by member`,
  );
  await pool.query(
    `insert into counter (member, counter, period, value)
     select member, 1, (effect -> 'counters' -> 0 ->> 1)::bigint, count(*) from operation where epoch = 0 group by 1, 3`,
  );
  await pool.query(
    `insert into transfer select operation, $1, member, member, 'credited', operation, now() from operation limit 3000`,
    [shop.program.number],
  );
  await pool.query(
    `insert into hold select operation, member, 'released', 0, operation, '[]' from operation limit 3000`,
  );
  await pool.query(
    `insert into event (program, type, key, member, at, content) select $1, 'points.expiring', 'old-' || number, number, now(), '{}' from member`,
    [shop.program.number],
  );
  await pool.query(`insert into block select 99, 0, n, n, '', '', now() from generate_series(1, 3000) n`);
  await pool.query(
    `insert into identifier select $1, 'card', convert_to(number::text, 'UTF8'), number, '' from member`,
    [shop.program.number],
  );
  await pool.query(
    `insert into diary_day select number, 20000 + d, 1, 100, 0, 0 from member, generate_series(1, 3) d`,
  );
  await pool.query(`insert into diary_points select member, day, 1, 1 from diary_day`);
  await pool.query(`insert into diary_order select member, 281474976710656 + day, day, 1 from diary_day`);
  await pool.query(
    `insert into diary_return (accrual, spend_left) select operation, 1 from operation limit 3000`,
  );
  await pool.query('vacuum analyze');
  const { rows } = await pool.query<{ name: string }>(
    `select relname as name from pg_class where relkind = 'r' and reltuples >= 1000`,
  );
  large = new Set(rows.map(({ name }) => name).filter((name) => growing.test(name)));
}

/** Takes out what was filled in, which no audit would accept: it stands in a shard that is none, and its members came first. */
async function clear(): Promise<void> {
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  await client.query('set session_replication_role = replica');
  for (const change of [
    'delete from entry e using operation o where o.operation = e.operation and o.epoch = 0',
    'delete from reference r using operation o where o.operation = r.operation and o.epoch = 0',
    'delete from consequence c using operation o where o.operation = c.origin and o.epoch = 0',
    'delete from transfer t using operation o where o.operation = t.transfer and o.epoch = 0',
    'delete from hold h using operation o where o.operation = h.hold and o.epoch = 0',
    'delete from operation where epoch = 0',
    'truncate diary_day, diary_points, diary_order, diary_return, diary_moved, diary_position',
    'delete from block where epoch = 0',
    `delete from event where key like 'old-%'`,
    `delete from lot where member <= ${membersMade}`,
    `delete from counter where member <= ${membersMade}`,
  ])
    await client.query(change);
  await client.end();
}

/** A day of a program that gives points to everybody, to those who were born on it and to those who joined on it. */
async function give(): Promise<void> {
  const giver = createGiver(app);
  await giver.tick();
  const tomorrow = new Date(gifts.now() + 86_400_000).toISOString().slice(5, 10);
  await gifts.pos('POST', '/v1/members', { member: 'born-then', birthday: `--${tomorrow}` });
  await gifts.advance(86_400);
  await app.programs.refresh();
  await giver.tick();
  await giver.idle();
  expect((await gifts.admin('GET', '/v1/program/gives')).body.data).toMatchObject([
    { promotion: 'anniversary', given: 0 },
    { promotion: 'birthday', given: 1 },
    { promotion: 'to-all', given: 1 },
  ]);
  await giver.stop();
}

/** The diary is read up to now, with a return and a merge; then its sums. */
async function keepDiary(who: string, other: string, accrual: string): Promise<void> {
  const follower = followerOf(app);
  await engine.drained();
  await readAll(app, follower);
  await shop.pos('POST', `/v1/accruals/${accrual}/reversals`, {
    reference: reference(),
    occurredAt: shop.time(),
  });
  const merge = { reference: reference(), reason: 'one person', into: other };
  expect((await shop.admin('POST', `/v1/members/${who}/merge`, merge)).body.status).toBe('merged');
  await shop.accrue(other, 7);
  await engine.drained();
  await readAll(app, follower);
  const measures = ['spend', 'visits', 'active_months', { points: 1 }] as const;
  const ask = { member: 1 as MemberNumber, fromDay: 20_000, throughDay: 20_002 };
  const sums = await sumsOf(
    pool,
    measures.map((measure) => ({ ...ask, measure })),
  );
  expect(sums).toEqual([200, 2, 1, 2]);
}

/** A day in the shop, and every job of upkeep. */
async function work(): Promise<void> {
  await give();
  const [who, other] = [await shop.enrol(), await shop.enrol()];
  const accrued = await shop.accrue(who, 500, {
    purchase: { order: 'o-77', currency: 'EUR', lines: [{ line: 1, amount: 50_000 }] },
  });
  const redeemed = await shop.pos('POST', '/v1/redemptions', {
    member: who,
    reference: reference(),
    points: 50,
  });
  await shop.pos('POST', `/v1/redemptions/${redeemed.id}/refunds`, { reference: reference(), points: 5 });
  const held = await shop.pos('POST', '/v1/holds', { member: who, reference: reference(), points: 50 });
  await shop.pos('POST', `/v1/holds/${held.id}/capture`, { reference: reference() });
  await shop.admin('POST', '/v1/transfers', { from: who, to: other, reference: reference(), points: 5 });
  await shop.pos('POST', '/v1/returns', {
    reference: reference(),
    order: 'o-77',
    occurredAt: shop.time(),
    lines: [{ line: 1, amount: 100 }],
  });
  await engine.drained();
  const { number } = await newMember(shop);
  for (const period of [202601, 202602, 202603, 202604, 202605, 202601])
    await accrueCounting(app, shop, number, { points: [5], limits: [[1, 1, period, 9, 0]] });
  await engine.drained();
  await createEviction(app, 0)();
  await shop.pos('POST', `/v1/redemptions/${redeemed.id}/refunds`, { reference: reference(), points: 5 });
  await shop.balances(other);
  await shop.care('GET', `/v1/operations/${accrued.body.id}`);
  await shop.care('GET', `/v1/members/${who}/statement?limit=2`);
  await shop.care('GET', `/v1/members/${who}/statement?from=${new Date().toISOString().slice(0, 10)}`);
  await shop.care('POST', `/v1/members/${other}/extensions`, {
    reference: reference(),
    reason: 'late',
    months: 1,
  });
  await shop.accrue(other, 3);
  await engine.drained();
  const members = createMembers(app);
  await bookDue(app);
  expect(await warnAll(app)).toBeGreaterThan(0);
  const events = await shop.care(
    'GET',
    `/v1/events?limit=200&after=evt_${membersMade.toString(36).padStart(8, '0')}`,
  );
  expect(events.body.data).not.toEqual([]);
  await app.operations.endsInBooks(number, [1]);
  await members.relay.relayOpen(10);
  await members.merges.resume(10);
  await takeBackConflicts(app);
  await freezeQuarantined(app);
  await measureOpenWork(app);
  const last = await shop.accrue(who, 9);
  await keepDiary(who, other, last.id);
  await keepMonthsAhead(app);
  for (const part of auditParts) await auditPart(app, part, 1);
  await publishAudit(app);
}

interface Explained {
  readonly text: string;
  readonly whole: readonly string[];
  readonly months: readonly string[];
}

async function explain({ text, values }: Asked): Promise<Explained> {
  const client = new pg.Client({ connectionString: stores.databaseUrl });
  await client.connect();
  const isRead = /^\s*(select|with)\b/i.test(text);
  try {
    await client.query('begin');
    const { rows } = await client.query<{ 'QUERY PLAN': readonly { Plan: Plan }[] }>(
      // A change is only planned: carried out a second time it would be refused.
      `explain (${isRead ? 'analyze, ' : ''}format json) ${text}`,
      [...values],
    );
    const scans = [...scansOf(rows[0]!['QUERY PLAN'][0]!.Plan)];
    const isWhole = ({ how, table }: { how: string; table: string }) =>
      how === 'Seq Scan' && large.has(table);
    const months = scans.flatMap(({ table }) => /^operation_(.+)$/.exec(table)?.[1] ?? []);
    return {
      text: text.replaceAll(/\s+/g, ' ').trim(),
      whole: [...new Set(scans.filter(isWhole).map(({ table }) => table))],
      months: [...new Set(months)].toSorted(),
    };
  } finally {
    await client.end();
  }
}

/** Statements that look into every month, each by an index, and why. */
const everyMonth: readonly { readonly part: string; readonly because: string }[] = [
  { part: 'order_reference = $2', because: 'an order may have been placed at any time' },
  { part: 'conflict_with is not null', because: 'an index of the few repeats in each month' },
  {
    part: '(o.epoch, o.seq) > (s.epoch, s.seq)',
    because: 'an epoch has ended or a number is missing: one look a month for a page of them',
  },
  {
    part: '(epoch, seq) > ($2, $3)',
    because: 'a page of numbers: one look a month for two thousand of them',
  },
  { part: 'with sums as (', because: 'the audit adds up what a member has ever had' },
  {
    part: 'with stretch as materialized',
    because: 'the audit walks through all entries, a stretch at a time',
  },
];

const explained: Explained[] = [];
beforeAll(async () => {
  await fill(await addMonthsBefore(stores.databaseUrl, monthsBefore));
  const asked = listen();
  await work();
  await waitFor('the writer has written', () =>
    [...asked.keys()].some((key) => key.startsWith('update position')),
  );
  for (const each of asked.values()) explained.push(await explain(each));
}, 240_000);

test('the statements of the hot path, of the writer and of every job were seen', () => {
  const texts = explained.map(({ text }) => text);
  for (const part of [
    'from reference where reference_key = any',
    'join position p on p.shard',
    'from position p, (select $1::uuid',
    'insert into reference',
    'merge into lot',
    'merge into counter',
    'left join counter c on',
    'from lot l join member m',
    'conflict_with is not null',
    "state in ('debited', 'refused')",
    'from entry e where operation = any',
    'order by operation.operation desc',
    'order_reference = $2',
    'm.birth_day = any',
    'n.joined_at >= day.since',
    'o.seq <= s.seq + s.rows_max',
    'insert into diary_day',
    'with gone as (delete from diary_day',
    'for update of d skip locked',
  ])
    expect(texts.filter((text) => text.includes(part)).length, part).toBeGreaterThan(0);
});

test('none reads a table that grows with the ledger from end to end', () => {
  expect(explained.filter(({ whole }) => whole.length > 0).map(({ text, whole }) => [whole, text])).toEqual(
    [],
  );
});

test('those that know an id or want the newest leave the months before alone', () => {
  const now = new Date();
  const before = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1));
  // A statement bounded by times reaches a month further back.
  const oldest = before.toISOString().slice(0, 7).replace('-', '_');
  const old = (month: string) => /^\d/.test(month) && month < oldest;
  const wide = explained.filter(
    ({ text, months }) => months.some(old) && !everyMonth.some(({ part }) => text.includes(part)),
  );
  expect(wide.map(({ text, months }) => [months, text])).toEqual([]);
});
