/**
 * Counters of members: caps and counts that scripts keep, whatever runs at once, leaves Redis, is taken back or merged. The
 * audit at the end compares every counter with what the operations counted, and Redis with that.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { MemberNumber } from '#src/values.ts';
import { shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { auditOf } from './house/books.ts';
import {
  accrueCounting,
  type Counted,
  type CountedOperation,
  countersOf,
  forgetHot,
  newMember,
  operationsOf,
  pointsOf,
  reverseCounting,
} from './house/counting.ts';
import { damageState } from './house/journal.ts';

const shardCount = 2;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const other = await engine.anotherApi();
const shop = await engine.shop();
const { app, pool, redis } = engine;

const accrue = (member: MemberNumber, decide: Counted | (() => Counted), by = app) =>
  accrueCounting(by, shop, member, decide);
const stateKey = (member: MemberNumber) => keys.member(shardOfMember(member, shardCount), member);
/** A hash of an order, beyond every period of the calendar. */
const order = (number: number) => 200_000_000_000_000 + number;
const [month, purchases, once] = [1, 2, 3];
const counted = ({ effect }: Recorded) => effect.counters ?? [];

describe('limits', () => {
  test('trim an award to the least of what they leave, or to nothing where it is all or nothing, and say so', async () => {
    const { number } = await newMember(shop);
    const first = await accrue(number, { points: [300], limits: [[1, month, 202611, 500, 0]] });
    expect(first.effect.given).toBeUndefined();
    expect(counted(first)).toEqual([[month, 202611, 300, 300]]);
    const second = await accrue(number, {
      points: [50, 400, 70],
      limits: [
        [2, month, 202611, 500, 0],
        [2, 4, 2026, 150, 0],
        [3, 5, 20261122, 60, 1],
      ],
      counts: [[purchases, 0, 1]],
    });
    expect(second.effect.given).toEqual([50, 150, 0]);
    expect(pointsOf(second)).toBe(200);
    expect(counted(second)).toEqual([
      [month, 202611, 150, 450],
      [4, 2026, 150, 150],
      [purchases, 0, 1, 1],
    ]);
    const third = await accrue(number, {
      points: [40, 20],
      limits: [
        [1, month, 202611, 500, 0],
        [2, month, 202611, 500, 0],
      ],
    });
    expect([third.effect.given, counted(third)]).toEqual([[40, 10], [[month, 202611, 50, 500]]]);
    const full = await accrue(number, { points: [1], limits: [[1, month, 202611, 500, 0]] });
    expect([full.effect.legs, full.effect.given, counted(full)]).toEqual([[], [0], []]);
    const next = await accrue(number, { points: [1], limits: [[1, month, 202612, 500, 0]] });
    expect(pointsOf(next)).toBe(1);
  });

  test('are not passed by one point by sixty-four receipts at once, from two APIs', async () => {
    const { number } = await newMember(shop);
    const receipts = await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        accrue(
          number,
          {
            points: [13],
            limits: [[1, month, 202611, 500, (i % 4 === 0 ? 1 : 0) as 0 | 1]],
            counts: [[purchases, 0, 1]],
          },
          i % 2 === 0 ? app : other.app,
        ),
      ),
    );
    expect(receipts.reduce((sum, receipt) => sum + pointsOf(receipt), 0)).toBe(500);
    await engine.drained();
    expect(await countersOf(app, number)).toEqual({ '1.202611': 500, '2.0': 64 });
  });
});

describe('an assumption', () => {
  test('that does not hold lets the receipt be judged again by the present value', async () => {
    const { number } = await newMember(shop);
    await accrue(number, { points: [], counts: [[purchases, 0, 2]] }, other.app);
    const seen: number[] = [];
    const third = await accrue(number, () => {
      const value = app.operations.counters.of(number)({ counter: purchases, period: 0 }) ?? 0;
      seen.push(value);
      const points = value === 2 ? [100] : [1];
      return { points, assumptions: [[purchases, 0, value, value]], counts: [[purchases, 0, 1]] };
    });
    expect([seen, pointsOf(third)]).toEqual([[0, 2], 100]);
    expect(app.operations.counters.of(number)({ counter: purchases, period: 0 })).toBe(3);
  });

  test('that never holds ends after some attempts, with nothing applied', async () => {
    const { number } = await newMember(shop);
    const never = accrue(number, { points: [5], assumptions: [[purchases, 0, 7, 9]] });
    await expect(never).rejects.toMatchObject({ code: 'reference_in_progress' });
    await engine.drained();
    expect(await operationsOf(app, number)).toEqual([]);
  });
});

describe('what has left Redis', () => {
  test('is read for a late receipt: months long gone, and the twentieth order after', async () => {
    const { number } = await newMember(shop);
    const limits = (period: number): Counted => ({ points: [60], limits: [[1, month, period, 100, 0]] });
    for (const period of [202601, 202602, 202603, 202604, 202605, 202606])
      expect(pointsOf(await accrue(number, limits(period)))).toBe(60);
    for (const period of [202601, 202603, 202601]) {
      const late = await accrue(number, limits(period));
      const [row] = counted(late);
      expect(row?.[3] ?? 100).toBe(100);
    }
    await engine.drained();
    expect((await countersOf(app, number))['1.202601']).toBe(100);
    for (let i = 0; i < 20; i += 1)
      await accrue(number, { points: [5], limits: [[1, once, order(i), 5, 1]] });
    for (const i of [0, 19, 3]) {
      const shipment = await accrue(number, { points: [5], limits: [[1, once, order(i), 5, 1]] });
      expect(shipment.effect.given, `order ${i}`).toEqual([0]);
    }
    const packed = await redis.getBuffer(stateKey(number));
    expect(packed!.length).toBeLessThan(500);
  });

  test('is right for sixty-four late receipts at once', async () => {
    const { number } = await newMember(shop);
    for (const period of [202601, 202602, 202603, 202604, 202605])
      await accrue(number, { points: [10], limits: [[1, month, period, 100, 0]] });
    const late = await Promise.all(
      Array.from({ length: 64 }, () =>
        accrue(number, { points: [10], limits: [[1, month, 202601, 100, 0]] }),
      ),
    );
    expect(late.reduce((sum, receipt) => sum + pointsOf(receipt), 0)).toBe(90);
  });

  test('comes back with its member, and what that does not bring is read when it is asked for', async () => {
    const { number } = await newMember(shop);
    const receipt = (period: number): Counted => ({
      points: [30],
      limits: [
        [1, month, period, 50, 0],
        [1, once, order(period), 40, 0],
      ],
      counts: [[purchases, 0, 1]],
    });
    const periods = [202601, 202602, 202603, 202604, 202605];
    for (const period of periods) await accrue(number, receipt(period));
    await forgetHot(app, number);
    for (const period of periods.toReversed()) {
      const again = await accrue(number, receipt(period));
      expect([period, pointsOf(again)]).toEqual([period, 10]);
      await forgetHot(app, number);
    }
    expect((await countersOf(app, number))['2.0']).toBe(10);
  });

  test('is not taken for nothing where a version that does not count has loaded the member', async () => {
    const { name, number } = await newMember(shop);
    await accrue(number, { points: [80], limits: [[1, month, 202611, 100, 0]] });
    await engine.drained();
    await forgetHot(app, number);
    await shop.balances(name);
    await accrue(number, { points: [1] });
    await damageState(redis, stateKey(number), 's[11] = nil');
    const next = await accrue(number, { points: [80], limits: [[1, month, 202611, 100, 0]] });
    expect(counted(next)).toEqual([[month, 202611, 20, 100]]);
  });
});

describe('another epoch', () => {
  test.each([
    ['opened on the same data', () => redis.script('FLUSH')],
    ['opened on nothing', () => redis.flushall()],
  ])('%s goes on from where the counters stand', async (_, lose) => {
    const { number } = await newMember(shop);
    const receipt = (period: number): Counted => ({
      points: [30],
      limits: [[1, month, period, 50, 0]],
    });
    for (const period of [202601, 202602, 202603, 202604]) await accrue(number, receipt(period));
    await engine.drained();
    const shard = shardOfMember(number, shardCount);
    const epoch = app.epochs.of(shard)!.epoch;
    const ofOther = app.epochs.of(1 - shard)!.epoch;
    await lose();
    await waitFor(
      'both shards serve in a new epoch',
      async () => {
        const now = app.epochs.of(shard)?.epoch ?? 0;
        const isOpen = (app.epochs.of(1 - shard)?.epoch ?? 0) > ofOther;
        const isReady = isOpen && (await fetch(`${engine.url}/readyz`)).status === 200;
        return isReady && now > epoch && (await app.operations.wallet.read(number, Date.now())) !== undefined;
      },
      30_000,
    );
    for (const period of [202604, 202601]) {
      const again = await waitFor('the receipt is taken', () =>
        accrue(number, receipt(period)).catch(() => undefined),
      );
      expect([period, pointsOf(again)]).toEqual([period, 20]);
    }
  });
});

describe('a return', () => {
  test('lets the counters go down by what the receipt counted, also where they had left Redis, and never below zero', async () => {
    const { number } = await newMember(shop);
    const receipts: Recorded[] = [];
    for (const period of [202601, 202602, 202603, 202604, 202605])
      receipts.push(
        await accrue(number, {
          points: [30],
          limits: [[1, month, period, 50, 0]],
          counts: [[purchases, 0, 1]],
        }),
      );
    for (const receipt of receipts) await reverseCounting(app, shop, receipt);
    await engine.drained();
    expect(await countersOf(app, number)).toEqual({});
    const again = await accrue(number, { points: [50], limits: [[1, month, 202601, 50, 0]] });
    const more = { ...again, effect: { ...again.effect, counters: [[month, 202601, 70, 70]] } };
    const back = await reverseCounting(app, shop, more as Recorded);
    expect(counted(back)).toEqual([[month, 202601, -50, 0]]);
  });
});

describe('a merge', () => {
  test('makes the counters of the survivor the sums, and later returns go down there', async () => {
    const [gone, stays] = [await newMember(shop), await newMember(shop)];
    const receipt = (period: number): Counted => ({
      points: [30],
      limits: [[1, month, period, 50, 0]],
      counts: [
        [purchases, 0, 1],
        [once, order(period), 1],
      ],
    });
    const periods = [202607, 202608, 202609, 202610, 202611];
    const receipts: Recorded[] = [];
    for (const period of periods) receipts.push(await accrue(gone.number, receipt(period)));
    await accrue(stays.number, receipt(202611));
    await accrue(stays.number, { points: [1], counts: [[purchases, 0, 1]] });
    const body = { into: stays.name, reference: reference(), reason: 'test' };
    const merged = await shop.admin('POST', `/v1/members/${gone.name}/merge`, body);
    expect(merged.body.status).toBe('merged');
    await engine.drained();
    expect(await countersOf(app, gone.number)).toEqual({});
    expect(await countersOf(app, stays.number)).toEqual({
      ...Object.fromEntries(periods.map((period) => [`1.${period}`, period === 202611 ? 60 : 30])),
      '2.0': 7,
      ...Object.fromEntries(periods.map((period) => [`3.${order(period)}`, period === 202611 ? 2 : 1])),
    });
    app.operations.lookup.forget(gone.number);
    const full = await accrue(gone.number, { points: [10], limits: [[1, month, 202611, 50, 0]] });
    expect([full.member, pointsOf(full)]).toEqual([stays.number, 0]);
    const back = await reverseCounting(app, shop, receipts[0]!);
    expect([back.member, counted(back).length]).toEqual([stays.number, 3]);
    await engine.drained();
    expect((await countersOf(app, stays.number))['2.0']).toBe(6);
  });
});

describe('the audit', () => {
  test('finds a counter that is wrong in Redis, one that is wrong in the books, and one that is missing', async () => {
    const { number } = await newMember(shop);
    await accrue(number, { points: [30], limits: [[1, month, 202611, 50, 0]], counts: [[purchases, 0, 1]] });
    await engine.drained();
    const where = { member: number, counter: month, period: 202611 };
    const found = async () =>
      (await auditOf(engine.stores)).findings
        .filter((finding) => finding.where.member === number)
        .map((finding) => [finding.check, finding.where.counter, finding.where.period]);
    expect(await found()).toEqual([]);

    const sound = await redis.getBuffer(stateKey(number));
    const list = 'local c = { cmsgpack.unpack(s[11]) } local i = c[2] == 1 and 4 or 8';
    await damageState(redis, stateKey(number), `${list} c[i] = c[i] + 1 s[11] = cmsgpack.pack(unpack(c))`);
    expect(await found()).toEqual([['hot members', month, 202611]]);
    await damageState(redis, stateKey(number), `s[11] = ''`);
    expect(await found()).toEqual([
      ['hot members', purchases, 0],
      ['hot members', month, 202611],
    ]);
    await redis.set(stateKey(number), sound!);

    const change = 'update counter set value = value + $4 where member = $1 and counter = $2 and period = $3';
    await pool.query(change, [where.member, where.counter, where.period, 1]);
    expect(await found()).toEqual([
      ['counters', month, 202611],
      ['hot members', month, 202611],
    ]);
    await pool.query(change, [where.member, where.counter, where.period, -1]);
    expect(await found()).toEqual([]);
  });
});

/** Periods of all kinds: days, weeks, months, years, a lifetime, orders. */
const periods = [
  ...[20261120, 20261121, 20261122, 20261123],
  ...[202646, 202647],
  ...[202608, 202609, 202610, 202611, 202612],
  ...[2025, 2026],
  0,
  ...Array.from({ length: 20 }, (_, i) => order(i)),
];
const counters = 3;

const place = fc.tuple(fc.integer({ min: 1, max: counters }), fc.constantFrom(...periods));
const accrual = fc.record({
  points: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 3 }),
  limits: fc.array(
    fc.tuple(fc.nat(), place, fc.constantFrom(50, 100, 200), fc.constantFrom<0 | 1>(0, 0, 1)),
    {
      maxLength: 4,
    },
  ),
  counts: fc.array(fc.tuple(place, fc.integer({ min: 1, max: 5 })), { maxLength: 2 }),
});
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('accrue' as const), accrual }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('reverse' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('forget' as const) }) },
);

/** The steps as receipts; a limit names an award that is there, and each award has one limit a place. */
function receiptOf({
  points,
  limits,
  counts,
}: typeof accrual extends fc.Arbitrary<infer T> ? T : never): Counted {
  const rows = limits.map(
    ([award, [counter, period], max, isWhole]) =>
      [(award % points.length) + 1, counter, period, max, isWhole] as const,
  );
  const distinct = new Map(rows.map((row) => [row.slice(0, 3).join(), row]));
  return {
    points,
    limits: [...distinct.values()].toSorted((a, b) => a[0] - b[0]),
    counts: counts.map(([[counter, period], by]) => [counter, period, by] as const),
  };
}

/** What anybody would write down: places and what they stand at. Answers what the operation should have given and counted. */
function decideInModel(
  standing: Map<string, number>,
  { request }: CountedOperation,
): { given: number[]; counted: Map<string, number> } {
  const before = new Map(standing);
  const add = (counter: number, period: number, by: number) => {
    const key = `${counter}.${period}`;
    const value = standing.get(key) ?? 0;
    standing.set(key, value + Math.max(by, -value));
  };
  const given = (request.counted?.points ?? []).map((points, i) => {
    const limits = (request.counted?.limits ?? []).filter(([award]) => award === i + 1);
    const rooms = limits.map(([, counter, period, max]) =>
      Math.max(0, max - (standing.get(`${counter}.${period}`) ?? 0)),
    );
    const least = Math.min(points, ...rooms);
    const isNothing = least < points && limits.some(([, , , , isWhole]) => isWhole === 1);
    for (const [, counter, period] of limits) add(counter, period, isNothing ? 0 : least);
    return isNothing ? 0 : least;
  });
  for (const [counter, period, by] of request.counted?.counts ?? []) add(counter, period, by);
  for (const [counter, period, by] of request.changes ?? []) add(counter, period, by);
  const changed = [...standing].filter(([key, value]) => value !== (before.get(key) ?? 0));
  return { given, counted: new Map(changed) };
}

test('whatever accrues, returns and leaves Redis at once, each operation decides as a sequential model does', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      const { number } = await newMember(shop);
      const open: Recorded[] = [];
      const run = async (one: (typeof steps)[number], i: number) => {
        const by = i % 2 === 0 ? app : other.app;
        if (one.what === 'accrue') open.push(await accrue(number, receiptOf(one.accrual), by));
        else if (one.what === 'forget') await forgetHot(app, number).catch(() => {});
        else {
          const [receipt] = open.splice(one.which % Math.max(1, open.length), 1);
          if (receipt) await reverseCounting(by, shop, receipt);
        }
      };
      const atOnce = 6;
      for (let i = 0; i < steps.length; i += atOnce)
        await Promise.all(steps.slice(i, i + atOnce).map((one, at) => run(one, i + at)));
      for (const receipt of open) await reverseCounting(app, shop, receipt);
      await engine.drained();
      const standing = new Map<string, number>();
      for (const operation of await operationsOf(app, number)) {
        const { given, counted: wanted } = decideInModel(standing, operation);
        const { effect, kind, request } = operation;
        if (kind === 'accrual') expect(effect.given ?? request.counted!.points).toEqual(given);
        const after = (effect.counters ?? []).map(([counter, period, , value]) => [
          `${counter}.${period}`,
          value,
        ]);
        expect(Object.fromEntries(after)).toEqual(Object.fromEntries(wanted));
      }
      expect(await countersOf(app, number)).toEqual({});
    }),
    // Whatever fails by chance would be shrunk for minutes.
    { numRuns: 10, endOnFailure: true },
  );
}, 240_000);
