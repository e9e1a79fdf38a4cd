/**
 * A Redis that lost its data, is older than the books, newer, or restarted: what was acknowledged at `ledger` is never lost,
 * what was lost at `journal` is named, and what an older Redis acknowledged once more is booked for everybody to see.
 */
import { rm } from 'node:fs/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { replicationIdOf } from '#src/platform/redis.ts';
import { parseMemberId, shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { scriptsOf } from '#src/wallet/scripts.ts';
import { type Answer, reference, startEngine, uuidV7, waitFor } from './harness.ts';
import {
  copyRedis,
  cutShort,
  fileIsAtRest,
  flap,
  putBack,
  putInto,
  replicate,
  restartRedis,
} from './house/older-redis.ts';

const engine = await startEngine({
  onlyOneRedis: 'copies, cuts and puts back its file, and makes it a replica by hand',
});
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, redis, stores } = engine;

afterEach(async () => {
  await waitFor('every shard is served', () => everyShardServes(), 30_000);
  await engine.drained();
  await engine.audit();
}, 60_000);

async function everyShardServes(): Promise<boolean> {
  const answers = await Promise.all(
    Array.from({ length: 4 }, async (_, shard) => engine.app.epochs.of(shard) !== undefined),
  );
  if (!answers.every(Boolean)) return false;
  const probe = await engine.http('GET', '/v1/program', undefined, { key: shop.tokens.pos });
  return probe.status === 200;
}

interface EpochRow {
  readonly epoch: number;
  readonly previous_last_seq: number;
  readonly cold_below: number;
  readonly lost_from: number | null;
  readonly lost_to: number | null;
}

async function latestEpoch(shard: number): Promise<EpochRow> {
  const { rows } = await pool.query<EpochRow>(
    'select epoch, previous_last_seq, cold_below, lost_from, lost_to from epoch where shard = $1 order by epoch desc limit 1',
    [shard],
  );
  return rows[0]!;
}

async function newEpoch(shard: number, after: EpochRow): Promise<EpochRow> {
  await waitFor(
    'a new epoch is open',
    async () => {
      const { epoch } = await latestEpoch(shard);
      return epoch > after.epoch && engine.app.epochs.of(shard)?.epoch === epoch;
    },
    30_000,
  );
  return latestEpoch(shard);
}

function shardOf(answer: Answer): number {
  return shardOfMember(parseMemberId(String(answer.body.member))!, 4);
}

async function withPoints(points: number): Promise<{ member: string; shard: number }> {
  const member = await shop.enrol();
  const answer = await shop.accrue(member, points, { durability: 'ledger' });
  return { member, shard: shardOf(answer) };
}

async function noted(shard: number, { epoch, seq }: { epoch: number; seq: number }): Promise<void> {
  await waitFor('the API has noted what it acknowledged', async () => {
    const { rows } = await pool.query(
      'select 1 from acknowledged where shard = $1 and epoch = $2 and seq >= $3',
      [shard, epoch, seq],
    );
    return rows.length > 0;
  });
}

function positionOf(answer: Answer): { epoch: number; seq: number } {
  const [, epoch, seq] = String(answer.at('ledger.position')).split('.').map(Number);
  return { epoch: epoch!, seq: seq! };
}

/** Accrues at `journal` while no writer runs, so that Redis alone has it. */
async function onlyInRedis(member: string, shard: number, points: number) {
  const receipt = shop.receipt(member, points, { reference: uuidV7() });
  const answer = await shop.pos('POST', '/v1/accruals', receipt);
  expect(answer.status).toBe(201);
  const position = positionOf(answer);
  await noted(shard, position);
  return { receipt, answer, ...position };
}

async function served(member: string): Promise<void> {
  await waitFor(
    'the member is served',
    async () => {
      const answer = await shop.pos('GET', `/v1/members/${member}/balances`);
      return answer.status === 200;
    },
    30_000,
  );
}

describe('a Redis that lost its data', () => {
  const losses: [string, (shard: number) => Promise<unknown>][] = [
    ['emptied by FLUSHALL', () => redis.flushall()],
    ['with the journal of one shard deleted', (shard) => redis.del(keys.journal(shard))],
    [
      'restarted without its file',
      () => restartRedis(stores, (folder) => rm(folder, { recursive: true, force: true })),
    ],
  ];

  test.each(losses)(
    '%s: the books go on, the lost numbers are named, and a repeat is carried out',
    async (_, lose) => {
      const { member, shard } = await withPoints(100);
      await engine.drained();
      const before = await latestEpoch(shard);
      const lost = await engine.withoutWriter(async () => {
        const only = await onlyInRedis(member, shard, 5);
        await lose(shard);
        return only;
      });
      const after = await newEpoch(shard, before);
      expect(after.cold_below).toBe(after.epoch);
      expect(after.lost_from).toBeLessThanOrEqual(lost.seq);
      expect(after.lost_to).toBeGreaterThanOrEqual(lost.seq);
      await served(member);
      expect((await shop.balances(member)).available).toBe(100);
      const again = await shop.pos('POST', '/v1/accruals', lost.receipt);
      expect(again.status).toBe(201);
      expect(again.id).not.toBe(lost.answer.id);
      expect((await shop.balances(member)).available).toBe(105);
    },
    60_000,
  );

  test('recovers the shard that was hit alone: the others keep their epoch', async () => {
    const { shard } = await withPoints(10);
    const others = [0, 1, 2, 3].filter((each) => each !== shard);
    const before = await Promise.all(others.map(latestEpoch));
    const hit = await latestEpoch(shard);
    await redis.del(keys.journal(shard));
    await newEpoch(shard, hit);
    expect(await Promise.all(others.map(latestEpoch))).toEqual(before);
  }, 60_000);
});

describe('a Redis that is as new as the books or newer', () => {
  test('is drained when a writer comes back, without a new epoch', async () => {
    const { member, shard } = await withPoints(10);
    const before = await latestEpoch(shard);
    await engine.withoutWriter(() => onlyInRedis(member, shard, 7));
    await engine.drained();
    expect(await latestEpoch(shard)).toEqual(before);
    expect((await shop.balances(member)).available).toBe(17);
  }, 60_000);

  test('stays warm over a clean restart: members are not loaded again, nothing is lost', async () => {
    const { member, shard } = await withPoints(10);
    const before = await latestEpoch(shard);
    const { seq } = await engine.withoutWriter(async () => {
      const only = await onlyInRedis(member, shard, 7);
      await restartRedis(stores, async () => {});
      return only;
    });
    const after = await newEpoch(shard, before);
    expect(after).toMatchObject({ cold_below: before.cold_below, previous_last_seq: seq, lost_from: null });
    await served(member);
    expect((await shop.balances(member)).available).toBe(17);
  }, 60_000);

  test('stays warm when a first replica is attached, which gives its history another name', async () => {
    const { member, shard } = await withPoints(100);
    const before = await latestEpoch(shard);
    await replicate(stores);
    const after = await newEpoch(shard, before);
    expect(after).toMatchObject({ cold_below: before.cold_below, lost_from: null });
    await served(member);
    expect((await shop.balances(member)).available).toBe(100);
  }, 60_000);

  test('stays warm with a file that was cut short behind the books; what was cut is named', async () => {
    const { member, shard } = await withPoints(10);
    await engine.drained();
    const before = await latestEpoch(shard);
    const { kept, cut } = await engine.withoutWriter(async () => {
      const first = await onlyInRedis(member, shard, 3);
      const second = await onlyInRedis(member, shard, 4);
      await cutShort(stores);
      return { kept: first, cut: second };
    });
    const after = await newEpoch(shard, before);
    expect(after).toMatchObject({
      cold_below: before.cold_below,
      previous_last_seq: kept.seq,
      lost_from: cut.seq,
      lost_to: cut.seq,
    });
    await served(member);
    expect((await shop.balances(member)).available).toBe(13);
    // Redis read the file without the last script, but must not find that script's commands in it another time.
    await fileIsAtRest(stores);
    await restartRedis(stores, async () => {});
    await newEpoch(shard, after);
    await served(member);
    expect((await shop.balances(member)).available).toBe(13);
  }, 60_000);
});

describe('a Redis that is older than the books', () => {
  test('put back from a copy: the books win, and nothing that they have is lost', async () => {
    const { member, shard } = await withPoints(100);
    const before = await latestEpoch(shard);
    const copy = await copyRedis(stores);
    const redemption = await shop.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 60,
    });
    expect(redemption.body).toMatchObject({ ledger: { durability: 'ledger' } });
    await putBack(stores, copy);
    const after = await newEpoch(shard, before);
    expect(after).toMatchObject({ cold_below: after.epoch, lost_from: null });
    // The copy's own records are in the books: they are repeats and dropped.
    expect((await pool.query('select 1 from decided_stale')).rows).toEqual([]);
    await served(member);
    expect((await shop.balances(member)).available).toBe(40);
    expect((await shop.pos('GET', `/v1/operations/${redemption.id}`)).status).toBe(200);
  }, 60_000);

  test('that was put into the Redis that runs: what it acknowledged again is booked under a new number, short points are debt, the member is frozen', async () => {
    const { member, shard } = await withPoints(100);
    const before = await latestEpoch(shard);
    const copy = await copyRedis(stores);
    const first = { member, reference: reference(), points: 80 };
    const spent = await shop.pos('POST', '/v1/redemptions', first);
    expect(spent.at('ledger.durability')).toBe('ledger');
    const second = { member, reference: uuidV7(), points: 90, durability: 'journal' };
    const stale = await engine.withoutWriter(async () => {
      await putInto(stores, copy);
      const answer = await shop.pos('POST', '/v1/redemptions', second);
      expect(answer.status).toBe(201);
      expect(answer.at('ledger.position')).toBe(spent.at('ledger.position'));
      await noted(shard, positionOf(answer));
      return answer;
    });
    const after = await newEpoch(shard, before);
    expect(after.cold_below).toBe(after.epoch);
    await served(member);
    expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 70 });

    const byId = await shop.pos('GET', `/v1/operations/${stale.id}`);
    expect(byId.status).toBe(200);
    expect(byId.body).toMatchObject({ decidedStale: { answered: stale.at('ledger.position') } });
    const byReference = await shop.pos('GET', `/v1/operations?kind=redemption&reference=${second.reference}`);
    expect(byReference.id).toBe(stale.id);
    const repeated = await shop.pos('POST', '/v1/redemptions', second);
    expect([repeated.status, repeated.id, repeated.replayed]).toEqual([201, stale.id, true]);
    expect(repeated.body).toMatchObject({ points: 90, balances: stale.body.balances as object });
    const statement = await shop.care('GET', `/v1/members/${member}/statement`);
    const entries = statement.body.data as { operation: string; decidedStale?: boolean }[];
    expect(entries.filter((entry) => entry.decidedStale).map((entry) => entry.operation)).toContain(stale.id);

    const { rows } = await pool.query('select shortfall from decided_stale where operation = $1', [
      stale.id.split('_')[1],
    ]);
    expect(rows).toEqual([{ shortfall: [[1, 70]] }]);
    const refused = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 1 });
    expect(refused.code).toBe('spending_frozen');
    const refund = await shop.pos('POST', `/v1/redemptions/${stale.id}/refunds`, {
      reference: reference(),
      points: 90,
    });
    expect(refund.status).toBe(201);
    expect(await shop.balances(member)).toEqual({ available: 20, pending: 0, held: 0, debt: 0 });
  }, 60_000);

  test('whose scripts survived (demoted, resynced from a copy, promoted) decides nothing from the first call on', async () => {
    const { member, shard } = await withPoints(50);
    const copy = await copyRedis(stores);
    await shop.accrue(member, 1, { durability: 'ledger' });
    await engine.drained();
    const { rows } = await pool.query<{ seq: number; epoch: number; coldBelow: number; identity: string }>(
      `select p.seq, p.epoch, cold_below as "coldBelow", redis_identity as identity
       from position p join epoch e using (shard, epoch) where shard = $1`,
      [shard],
    );
    const { seq, epoch, coldBelow, identity } = rows[0]!;
    const { evict } = scriptsOf({ shard, epoch, coldBelow, replicationId: replicationIdOf(identity) });
    const evictNobody = () => redis.evalsha(evict.sha, 1, keys.journal(shard), seq);
    expect(await evictNobody()).toBe(0);
    await engine.withoutWriter(async () => {
      await flap(stores, copy);
      expect(await evictNobody()).toBe('fenced');
      const records = await redis.xlen(keys.journal(shard));
      const answers = await Promise.all([
        shop.pos('POST', '/v1/accruals', shop.receipt(member, 1)),
        shop.pos('GET', `/v1/members/${member}/balances`),
        shop.pos('POST', '/v1/redemptions', { member, reference: uuidV7(), points: 1 }),
      ]);
      expect(answers.map(({ status, code }) => [status, code])).toEqual(
        answers.map(() => [503, 'shard_recovering']),
      );
      expect(await redis.xlen(keys.journal(shard))).toBe(records);
    });
    await served(member);
    expect((await shop.balances(member)).available).toBe(51);
  }, 60_000);
});

describe('what an older Redis acknowledged once more', () => {
  async function spendEighty(member: string): Promise<void> {
    const spent = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 80 });
    expect(spent.at('ledger.durability')).toBe('ledger');
  }

  /** Does something, takes Redis back to before that and does something there, while no writer runs. */
  async function onStale<T>(shard: number, before: () => Promise<void>, work: () => Promise<T>): Promise<T> {
    const epoch = await latestEpoch(shard);
    const copy = await copyRedis(stores);
    await before();
    const result = await engine.withoutWriter(async () => {
      await putInto(stores, copy);
      return work();
    });
    await newEpoch(shard, epoch);
    return result;
  }
  const quick = () => ({ reference: uuidV7(), durability: 'journal' });

  test('a hold that the books had captured already: the second capture is paid like a spend', async () => {
    const { member, shard } = await withPoints(100);
    const hold = await shop.pos('POST', '/v1/holds', { member, points: 50, reference: reference() });
    const path = `/v1/holds/${hold.id}/capture`;
    const captured = await onStale(
      shard,
      async () => {
        expect((await shop.pos('POST', path, { reference: reference() })).status).toBe(200);
      },
      () => shop.pos('POST', path, { points: 40, ...quick() }),
    );
    expect([captured.status, captured.code]).toEqual([200, '']);
    await served(member);
    expect(await shop.balances(member)).toEqual({ available: 10, pending: 0, held: 0, debt: 0 });
  }, 60_000);

  test('a transfer: the other member gets all of it, what was missing is the sender’s debt', async () => {
    const { member, shard } = await withPoints(100);
    const receiver = await withPoints(1);
    const body = { from: member, to: receiver.member, points: 60, ...quick() };
    const moved = await onStale(
      shard,
      () => spendEighty(member),
      () => shop.admin('POST', '/v1/transfers', body),
    );
    expect(moved.status).toBe(202);
    await served(member);
    expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 40 });
    await waitFor('a repeat completes it', async () => {
      const repeated = await shop.admin('POST', '/v1/transfers', body);
      expect(repeated.id).toBe(moved.id);
      return repeated.body.status === 'completed';
    });
    expect(await shop.balances(receiver.member)).toMatchObject({ available: 61, debt: 0 });
  }, 60_000);

  test('points that were earned: they are the member’s, in a lot of their own', async () => {
    const { member, shard } = await withPoints(100);
    const earned = await onStale(
      shard,
      () => spendEighty(member),
      () => shop.pos('POST', '/v1/accruals', shop.receipt(member, 33, quick())),
    );
    expect(earned.status).toBe(201);
    await served(member);
    expect(await shop.balances(member)).toEqual({ available: 53, pending: 0, held: 0, debt: 0 });
    const reversed = await shop.pos('POST', `/v1/accruals/${earned.id}/reversals`, {
      reference: reference(),
      occurredAt: shop.time(),
    });
    expect(reversed.status).toBeLessThan(300);
    expect((await shop.balances(member)).available).toBe(20);
  }, 60_000);
});

test('notes of processes that ended long ago go away once the books reach what they name', async () => {
  const { shard } = await withPoints(5);
  await pool.query(
    `insert into acknowledged (process, shard, epoch, seq, noted_at) values ('ended', $1, 1, 1, now() - interval '2 hours'), ('lost', $1, 900, 1, now() - interval '2 hours')`,
    [shard],
  );
  const another = await engine.anotherApi();
  await waitFor('the old note is gone', async () => {
    const { rows } = await pool.query(`select 1 from acknowledged where process = 'ended'`);
    return rows.length === 0;
  });
  expect((await pool.query(`delete from acknowledged where process = 'lost' returning 1`)).rows).toHaveLength(
    1,
  );
  expect(another.url).not.toBe(engine.url);
}, 60_000);

test('the Redis of another installation is refused with a sentence, and nothing is written into it', async () => {
  const { shard } = await withPoints(5);
  await engine.drained();
  const journal = await redis.xinfo('STREAM', keys.journal(shard));
  const own = (await pool.query<{ id: string }>('select id from installation')).rows[0]!.id;
  await engine.withoutWriter(async () => {
    await pool.query('update installation set id = gen_random_uuid()');
    await redis.script('FLUSH');
  });
  const reason = await waitFor('the shard is refused', async () => {
    const { rows } = await pool.query<{ reason: string }>(
      `select reason from shard_state where shard = $1 and state = 'stopped'`,
      [shard],
    );
    return rows[0]?.reason;
  });
  expect(reason).toMatch(/belongs to another installation/);
  expect(await redis.xinfo('STREAM', keys.journal(shard))).toEqual(journal);
  await engine.withoutWriter(() => pool.query('update installation set id = $1', [own]));
}, 60_000);
