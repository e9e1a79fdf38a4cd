/**
 * Random purchases, returns in pieces, late receipts and merges, read by two followers of which any shard may lag behind the
 * others, against sums made from the requests alone. A failure prints the seed and the shortest sequence that shows it.
 */
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { makeAgain } from '#src/diary/again.ts';
import { startFollowing } from '#src/diary/following.ts';
import { sumsOf } from '#src/diary/reading.ts';
import type { MemberNumber } from '#src/values.ts';
import { reference, type Shop, startEngine } from './harness.ts';
import { dayOf, daysOf, followerOf, memberIn, pointsOf, readAll } from './house/diary.ts';

const shardCount = 4;
const engine = await startEngine({ shardCount });
afterAll(() => engine.end());
const { app, pool } = engine;
const followers = [followerOf(app), followerOf(app)] as const;

const seed = Number(process.env.DIARY_SEED ?? 20_261_123);
const runs = Number(process.env.DIARY_RUNS ?? 12);
const rates = { EUR: [1, 1], USD: [7, 9] } as const;
const definition = {
  money: { currency: 'EUR', rates: [{ currency: 'USD', from: '2020-01-01', units: 9, base: 7 }] },
};
const shop = await engine.shop({ timeZone: 'America/New_York', definition });

type Step =
  | {
      readonly do: 'buy';
      readonly member: number;
      readonly amounts: readonly number[];
      readonly money: keyof typeof rates;
      readonly order: number;
      readonly day: number;
    }
  | {
      readonly do: 'return' | 'reverse';
      readonly pick: number;
      readonly line: number;
      readonly share: number;
    }
  | { readonly do: 'all'; readonly pick: number }
  | { readonly do: 'merge'; readonly member: number; readonly into: number }
  | { readonly do: 'read'; readonly follower: 0 | 1; readonly without: number };

const member = fc.nat(3);
const pick = fc.nat(30);
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('buy' as const),
      member,
      amounts: fc.array(fc.integer({ min: 1, max: 9_999 }), { minLength: 1, maxLength: 3 }),
      money: fc.constantFrom('EUR' as const, 'USD' as const),
      order: fc.nat(5),
      day: fc.integer({ min: 1, max: 28 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('return' as const, 'reverse' as const),
      pick,
      line: fc.nat(2),
      share: fc.constantFrom(0.3, 0.5, 1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('all' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('merge' as const), member, into: member }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      follower: fc.constantFrom(0 as const, 1 as const),
      without: fc.nat(shardCount),
    }),
  },
);

interface Receipt {
  readonly id: string;
  /** Whose it was when it was made. */
  readonly member: number;
  readonly day: number;
  readonly order: string | undefined;
  readonly rate: readonly [number, number];
  readonly left: number[];
}

/** What happened, as the requests said it. */
class Told {
  readonly names: readonly string[];
  readonly numbers: MemberNumber[] = [];
  readonly into: number[] = [0, 1, 2, 3];
  readonly receipts: Receipt[] = [];

  constructor(names: readonly string[]) {
    this.names = names;
  }

  survivor(of: number): number {
    return this.into[of] === of ? of : this.survivor(this.into[of]!);
  }

  async buy(step: Extract<Step, { do: 'buy' }>): Promise<void> {
    const own = this.survivor(step.member);
    const order = step.order === 0 ? undefined : `${this.names[0]}/${own}/${step.order}`;
    const date = `2026-10-${String(step.day).padStart(2, '0')}`;
    const lines = step.amounts.map((amount, line) => ({ line, amount }));
    const answer = await shop.pos('POST', '/v1/accruals', {
      member: this.names[step.member],
      reference: reference('told'),
      // Half an hour before midnight there, already tomorrow in UTC.
      occurredAt: `${date}T23:30:00-04:00`,
      purchase: { currency: step.money, lines, ...(order ? { order } : {}) },
    });
    expect(answer.status).toBe(201);
    this.numbers[own] = memberIn(answer);
    const rate = rates[step.money];
    this.receipts.push({
      id: answer.id,
      member: own,
      day: dayOf(date),
      order,
      rate,
      left: [...step.amounts],
    });
  }

  async giveBack(step: Extract<Step, { do: 'return' | 'reverse' | 'all' }>): Promise<void> {
    const receipt = this.receipts[step.pick % Math.max(1, this.receipts.length)];
    if (!receipt?.left.some((amount) => amount > 0)) return;
    const base = { reference: reference('told'), occurredAt: shop.time() };
    const path = `/v1/accruals/${receipt.id}/reversals`;
    if (step.do === 'all') {
      expect((await shop.pos('POST', path, base)).status).toBe(201);
      receipt.left.fill(0);
      return;
    }
    const line = step.line % receipt.left.length;
    const amount = Math.ceil(receipt.left[line]! * step.share);
    if (amount === 0) return;
    const body = { ...base, lines: [{ line, amount }] };
    const answer =
      step.do === 'reverse'
        ? await shop.pos('POST', path, body)
        : await shop.pos('POST', '/v1/returns', { ...body, accrual: receipt.id });
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    receipt.left[line]! -= amount;
  }

  async merge(step: Extract<Step, { do: 'merge' }>): Promise<void> {
    const [gone, stays] = [this.survivor(step.member), this.survivor(step.into)];
    if (gone === stays) return;
    await engine.drained();
    const answer = await shop.admin('POST', `/v1/members/${this.names[gone]}/merge`, {
      reference: reference('told'),
      reason: 'one person',
      into: this.names[stays],
    });
    expect(answer.body).toMatchObject({ status: 'merged' });
    this.into[gone] = stays;
  }

  /** [day, visits, spend, 0, 0] and [1, day, points] of a member, added up from what is left of each receipt. */
  sums(of: number): { days: number[][]; points: number[][] } {
    const days = new Map<number, [visits: number, spend: number, points: number]>();
    const add = (day: number, ...by: readonly [number, number, number]) => {
      const sum = days.get(day) ?? [0, 0, 0];
      days.set(day, [sum[0] + by[0], sum[1] + by[1], sum[2] + by[2]]);
    };
    const seen = new Map<string, { day: number; isLeft: boolean }>();
    for (const { id, member: own, day, order, rate, left } of this.receipts) {
      if (this.survivor(own) !== of) continue;
      const spend = left.reduce((sum, amount) => sum + Math.floor((amount * rate[0]) / rate[1]), 0);
      add(day, 0, spend, Math.floor(spend / 100));
      const visit = seen.get(order ?? id) ?? { day, isLeft: false };
      seen.set(order ?? id, { day: visit.day, isLeft: visit.isLeft || left.some((amount) => amount > 0) });
    }
    for (const { day, isLeft } of seen.values()) if (isLeft) add(day, 1, 0, 0);
    const sorted = [...days].sort(([a], [b]) => a - b);
    return {
      days: sorted.filter(([, [v, s]]) => v || s).map(([day, [v, s]]) => [day, v, s, 0, 0]),
      points: sorted.filter(([, [, , p]]) => p).map(([day, [, , p]]) => [1, day, p]),
    };
  }
}

/** A turn while another process holds one shard. */
async function readWithout(follower: 0 | 1, shard: number): Promise<void> {
  const holder = await pool.connect();
  try {
    await holder.query('begin');
    await holder.query('select from diary_position where shard = $1 for update', [shard]);
    await followers[follower].turn();
  } finally {
    await holder.query('rollback');
    holder.release();
  }
}

async function tell(steps: readonly Step[], of: Shop): Promise<void> {
  const names = [await of.enrol(), await of.enrol(), await of.enrol(), await of.enrol()];
  const told = new Told(names);
  for (const step of steps) {
    if (step.do === 'buy') await told.buy(step);
    else if (step.do === 'merge') await told.merge(step);
    else if (step.do === 'read') await readWithout(step.follower, step.without);
    else await told.giveBack(step);
  }
  await engine.drained();
  await Promise.all(followers.map((follower) => readAll(app, follower)));
  for (const [i, number] of told.numbers.entries()) {
    if (number === undefined) continue;
    const { days, points } = told.sums(i);
    expect(await daysOf(pool, number)).toEqual(days);
    expect(await pointsOf(pool, number)).toEqual(points);
    const all = { member: number, fromDay: 0, throughDay: 50_000 };
    const [spend, visits, earned] = await sumsOf(pool, [
      { ...all, measure: 'spend' },
      { ...all, measure: 'visits' },
      { ...all, measure: { points: 1 } },
    ]);
    const sum = (rows: number[][], column: number) => rows.reduce((total, row) => total + row[column]!, 0);
    expect([visits, spend, earned]).toEqual([sum(days, 1), sum(days, 2), sum(points, 2)]);
  }
}

test('whatever is bought, given back and merged, in whatever order shards are read: the diary is what is left', async () => {
  const steps = fc.array(stepArbitrary, { minLength: 10, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, (each) => tell(each, shop)),
    { seed, numRuns: runs, endOnFailure: false, interruptAfterTimeLimit: 200_000 },
  );
}, 300_000);

test('the same while two processes read all the time', async () => {
  const { log, metrics } = app.telemetry;
  const following = followers.map((follower) => startFollowing(follower, log, metrics.diaryLagSeconds));
  try {
    const steps = fc.array(stepArbitrary, { minLength: 25, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, (each) => tell(each, shop)),
      { seed: seed + 1, numRuns: Math.ceil(runs / 2), endOnFailure: true, interruptAfterTimeLimit: 100_000 },
    );
  } finally {
    await Promise.all(following.map((each) => each.stop()));
  }
}, 200_000);

test('made again from the books it is the same', async () => {
  const { databaseUrl } = engine.stores;
  const comparison = await makeAgain(databaseUrl, app.programs, false);
  expect(comparison.operations).toBeGreaterThan(50);
  expect(comparison.differences.map(({ missing, extra, different }) => missing + extra + different)).toEqual([
    0, 0, 0, 0, 0,
  ]);
});
