/**
 * What is unusual in the books, as the diary reads it: repeated references, quarantine, operations decided on stale balances,
 * new epochs; and books that were made by hand: every epoch, gap and late id that a recovery could leave.
 */
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { makeAgain } from '#src/diary/again.ts';
import type { Touched } from '#src/diary/follower.ts';
import { takeBackConflicts } from '#src/jobs/conflicts.ts';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { resolveQuarantined } from '#src/jobs/resolve.ts';
import { attachMonth, detachMonth } from '#src/ledger/archive.ts';
import { listQuarantine, type Resolution } from '#src/ledger/quarantine.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { MemberNumber } from '#src/values.ts';
import { type Answer, reference, startEngine, uuidV7, waitFor } from './harness.ts';
import { daysOf, followerOf, memberIn, pointsOf, readAll } from './house/diary.ts';
import { replaceLast } from './house/journal.ts';
import { cutHere } from './house/months.ts';
import { copyRedis, putInto } from './house/older-redis.ts';

const engine = await startEngine({
  onlyOneRedis: 'copies its file and puts it back',
  shardCount: 2,
});
afterAll(() => engine.end());
const { app, pool, redis, stores } = engine;
const follower = followerOf(app);
const shop = await engine.shop();
const today = () => Math.floor(shop.now() / 86_400_000);

async function read(): Promise<void> {
  await engine.drained();
  await readAll(app, follower);
}

async function differences(): Promise<number> {
  const found = await makeAgain(stores.databaseUrl, app.programs, false);
  return found.differences.reduce((sum, row) => sum + row.missing + row.extra + row.different, 0);
}

const reverse = (accrual: Answer) =>
  shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, {
    reference: reference(),
    occurredAt: shop.time(),
  });

describe('what should never have been', () => {
  test('one reference that two members used counts for the first alone, before and after it is taken back', async () => {
    const names = [await shop.enrol(), await shop.enrol()] as const;
    const body = shop.receipt(names[0], 10);
    const answers = await engine.withoutWriter(async () => [
      await shop.pos('POST', '/v1/accruals', body),
      await shop.pos('POST', '/v1/accruals', { ...body, member: names[1] }),
    ]);
    const visits = async () => {
      await read();
      const days = await Promise.all(answers.map((answer) => daysOf(pool, memberIn(answer))));
      return days.map((each) => each.length).toSorted();
    };
    expect(await visits()).toEqual([0, 1]);
    expect(await takeBackConflicts(app)).toEqual({ undone: 1, failed: 0 });
    expect(await visits()).toEqual([0, 1]);
    expect(await differences()).toBe(0);
  });

  test.each(['retried', 'voided'] as const satisfies Resolution[])(
    'a receipt in quarantine counts when a person had it booked: %s',
    async (resolution) => {
      const name = await shop.enrol();
      const member = memberIn(await shop.accrue(name, 5, { durability: 'ledger' }));
      const shard = app.operations.wallet.shardOf(member);
      await read();
      const before = await daysOf(pool, member);
      const sound = await engine.withoutWriter(async () => {
        await shop.accrue(name, 30, { durability: 'journal' });
        return replaceLast(redis, shard, ({ text, record }) =>
          text.replace(record.effectText, record.effectText.replace('"issuance",1,-30', '"issuance",1,-29')),
        );
      });
      await engine.drained();
      await freezeQuarantined(app);
      await read();
      expect(await daysOf(pool, member)).toEqual(before);
      const row = (await listQuarantine(pool, false)).find((each) => each.member === member)!;
      // What the till was told is what a later version reads in it.
      await pool.query('update quarantine set record = $1 where member = $2', [
        JSON.stringify(sound.record),
        member,
      ]);
      await resolveQuarantined(app, { ...row, record: sound.record }, resolution, 'jane');
      await read();
      const after = resolution === 'retried' ? [2, 3_500, 35] : [1, 500, 5];
      expect(await daysOf(pool, member)).toEqual([[today(), after[0], after[1], 0, 0]]);
      expect(await pointsOf(pool, member)).toEqual([[1, today(), after[2]]]);
      expect(await differences()).toBe(0);
    },
  );
});

describe('a Redis that is older than the books', () => {
  test('acknowledged a receipt and a return once more: the receipt counts, the return takes no more than there was', async () => {
    const name = await shop.enrol();
    const first = await shop.accrue(name, 100, { durability: 'ledger' });
    const member = memberIn(first);
    await engine.drained();
    const some = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 1, amount: 1_000 }] };
    expect((await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, some)).status).toBe(201);
    await engine.drained();
    // The copy knows what is left of the receipt, and will not ask the books.
    const copy = await copyRedis(stores);
    expect((await reverse(first)).status).toBe(201);
    const moved = await shop.accrue(name, 1, { durability: 'ledger' });
    await read();
    expect(await daysOf(pool, member)).toEqual([[today(), 1, 100, 0, 0]]);
    await engine.withoutWriter(async () => {
      await putInto(stores, copy);
      const again = { reference: uuidV7(), occurredAt: shop.time(), durability: 'journal' };
      expect((await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, again)).status).toBe(201);
      const stale = shop.receipt(name, 40, { reference: uuidV7(), durability: 'journal' });
      expect((await shop.pos('POST', '/v1/accruals', stale)).status).toBe(201);
    });
    await waitFor(
      'the shard is served again',
      async () => (await pool.query('select from decided_stale')).rowCount === 2,
      30_000,
    );
    await waitFor('the member can buy', async () => (await shop.balances(name)).pending === 0, 30_000);
    await read();
    expect(await daysOf(pool, member)).toEqual([[today(), 2, 4_100, 0, 0]]);
    expect(await pointsOf(pool, member)).toEqual([[1, today(), 41]]);
    expect(moved.status).toBe(201);
    expect(await differences()).toBe(0);
  }, 90_000);
});

describe('the hook', () => {
  test('hears of every day that changed, within the turn that changes it, and a turn that it fails is not lost', async () => {
    await read();
    const heard: Touched[] = [];
    let failures = 1;
    const listening = followerOf(app, async (tx, touched) => {
      const { rows } = await tx.query('select member, day from diary_day where member = any($1)', [
        touched.map(({ member }) => member),
      ]);
      expect(rows).toEqual(touched.map(({ member, day }) => ({ member, day })));
      failures -= 1;
      if (failures >= 0) throw new Error('not now');
      heard.push(...touched);
    });
    const member = memberIn(await shop.accrue(await shop.enrol(), 10));
    await engine.drained();
    await expect(listening.turn()).rejects.toThrow('not now');
    expect(await daysOf(pool, member)).toEqual([]);
    await readAll(app, listening);
    expect(heard).toMatchObject([{ program: { number: shop.program.number }, member, day: today() }]);
    expect(heard).toHaveLength(1);
    expect(await daysOf(pool, member)).toEqual([[today(), 1, 1_000, 0, 0]]);
  });
});

describe('a member who is merged', () => {
  test('leaves nothing behind where one process moves the days while another takes a return from them', async () => {
    const [gone, stays] = [await shop.enrol(), await shop.enrol()];
    await read();
    const bought = await shop.accrue(gone, 50);
    await engine.drained();
    const merge = { reference: reference(), reason: 'one person', into: stays };
    const merged = await shop.admin('POST', `/v1/members/${gone}/merge`, merge);
    expect(merged.body.status).toBe('merged');
    expect((await reverse(bought)).status).toBe(201);
    await engine.drained();
    const member = memberIn(bought);

    // The return is of the survivor's shard, and is read while nobody has read that there was a merge.
    const holder = await pool.connect();
    await holder.query('begin');
    await holder.query('select from diary_position where shard = $1 for update', [
      app.operations.wallet.shardOf(member),
    ]);
    const [reached, commit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const taking = followerOf(app, () => {
      reached.resolve();
      return commit.promise;
    }).turn();
    await reached.promise;
    await holder.query('rollback');
    holder.release();
    const moving = follower.turn();
    await waitFor('the move waits for the return', async () => {
      const { rowCount } = await pool.query(
        `select from pg_locks where locktype = 'advisory' and not granted
         and database = (select oid from pg_database where datname = current_database())`,
      );
      return rowCount! > 0;
    });
    commit.resolve();
    await Promise.all([taking, moving]);
    await read();
    const { rows } = await pool.query('select from diary_day where member = $1', [member]);
    expect(rows).toEqual([]);
    expect(await differences()).toBe(0);
  }, 60_000);
});

describe('months in the archive', () => {
  test('do not leave before they are read, are read there when the diary is made again, and are missed where they are gone', async () => {
    await read();
    const member = memberIn(await shop.accrue(await shop.enrol(), 3, { durability: 'ledger' }));
    await engine.drained();
    const end = await cutHere(stores.databaseUrl, 'early', 'late');
    const client = new pg.Client({ connectionString: stores.databaseUrl });
    await client.connect();
    try {
      await expect(detachMonth(client, 'early', end)).rejects.toThrow('the diary has not read so far');
      await read();
      await detachMonth(client, 'early', end);
      const days = await daysOf(pool, member);
      expect(days).toEqual([[today(), 1, 300, 0, 0]]);
      expect(await differences()).toBe(0);
      await client.query('alter table archive.operation_early rename to operation_elsewhere');
      await expect(differences()).rejects.toThrow('the archived months early are not in the database');
      await client.query('alter table archive.operation_elsewhere rename to operation_early');
      await attachMonth(client, 'early');
      expect(await differences()).toBe(0);
    } finally {
      await client.end();
    }
  }, 60_000);
});

/** Books of one shard as recoveries could leave them: epochs with numbers from 1 on, some never served. */
interface Book {
  readonly epoch: number;
  /** How long before its record each operation's id was made, in days. */
  readonly ages: readonly number[];
}

const handmade = 90;

/** Books the next records of a hand-made shard and moves its position, as a writer's commit does. */
async function book(tx: pg.ClientBase, epoch: number, from: number, ages: readonly number[]): Promise<void> {
  const ids = ages.map((days) => uuidV7(Date.now() - days * 86_400_000));
  await tx.query(
    `insert into operation (operation, shard, epoch, seq, program, client, kind, member, at, occurred_at, request, effect)
     select id, ${handmade}, $1, $2::bigint + n - 1, $3, 1, 'accrual', 1000000 + ${handmade}, now(), '2026-05-05T12:00:00Z', '{}',
       '{"legs":[["wallet",1,1,1,0,0,0],["issuance",1,-1,0]],"balances":[]}' from unnest($4::uuid[]) with ordinality i (id, n)`,
    [epoch, from, shop.program.number, ids],
  );
  await tx.query(
    `insert into position (shard, epoch, seq, hash, written_through_at) values (${handmade}, $1, $2, '', now())
     on conflict (shard) do update set epoch = excluded.epoch, seq = excluded.seq`,
    [epoch, from + ages.length - 1],
  );
}

async function clear(): Promise<void> {
  await pool.query(`delete from position where shard = ${handmade}`);
  for (const table of ['diary_position', 'operation_past', 'operation'])
    await inTransaction(pool, async (tx) => {
      await tx.query(`set local session_replication_role = replica`);
      await tx.query(`delete from ${table} where shard = ${handmade}`);
    });
  await pool.query(`delete from diary_points where member = 1000000 + ${handmade}`);
}

test('whatever epochs, empty ones and ids made long ago a shard has, and however its commits fall: each operation is read once', async () => {
  const ages = fc.array(fc.constantFrom(0, 0, 0, 2, 40, 400), { maxLength: 12 });
  const books = fc.array(fc.record({ epoch: fc.integer({ min: 1, max: 3 }), ages }), {
    minLength: 1,
    maxLength: 6,
  });
  const chunks = fc.infiniteStream(fc.integer({ min: 1, max: 6 }));
  const total = async () => (await pointsOf(pool, (1_000_000 + handmade) as MemberNumber))[0]?.[2] ?? 0;
  const run = async (all: readonly Book[], sizes: Iterator<number>) => {
    let [epoch, booked] = [0, 0];
    for (const each of all) {
      epoch += each.epoch;
      await inTransaction(pool, (tx) => book(tx, epoch, 1, []));
      for (let from = 0; from < each.ages.length; ) {
        const part = each.ages.slice(from, from + sizes.next().value!);
        await inTransaction(pool, (tx) => book(tx, epoch, from + 1, part));
        from += part.length;
        booked += part.length;
        if (sizes.next().value! < 4) continue;
        await readAll(app, follower);
        expect(await total()).toBe(booked);
      }
    }
    await readAll(app, follower);
    expect(await total()).toBe(booked);
  };
  try {
    await fc.assert(
      fc.asyncProperty(books, chunks, async (all, sizes) => {
        await clear();
        await run(all, sizes);
      }),
      { seed: 20_261_123, numRuns: 25, endOnFailure: true },
    );
  } finally {
    await clear();
  }
}, 120_000);
