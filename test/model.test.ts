/**
 * Random sequences of operations against the reference model (house/wallet-model.ts): after every step the reply's balance
 * is the model's, and at the end Redis = ledger = model. A failure prints the seed and the shortest sequence that shows it.
 */
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import { createEviction } from '#src/jobs/eviction.ts';
import { type Answer, amountRule, inDays, reference, type Shop, startEngine } from './harness.ts';
import * as model from './house/wallet-model.ts';

const engine = await startEngine();
afterAll(() => engine.end());

/** `MODEL_RUNS=500` is the long form. */
const runs = Number(process.env.MODEL_RUNS ?? 25);
const timeZone = 'Asia/Kolkata';
const perMinorUnits = 100;
/** Three terms of points, chosen by the currency of nothing but a grant or the rule: see `Step`. */
const definition = {
  rules: [amountRule('spend', 'points', [1, perMinorUnits], { pending: inDays(2), expiry: inDays(20) })],
};

type Step =
  | { readonly do: 'accrue'; readonly member: number; readonly minorUnits: number; readonly daysAgo: number }
  | { readonly do: 'grant' | 'spend' | 'adjust'; readonly member: number; readonly points: number }
  | { readonly do: 'hold'; readonly member: number; readonly points: number; readonly hours: number }
  | { readonly do: 'capture' | 'refund'; readonly pick: number; readonly share: number }
  | { readonly do: 'release'; readonly pick: number }
  | { readonly do: 'reverse'; readonly pick: number; readonly share: number }
  | { readonly do: 'advance'; readonly hours: number }
  | { readonly do: 'evict' };

const member = fc.nat(1);
const points = fc.integer({ min: 1, max: 120 });
const pick = fc.nat(30);
const share = fc.constantFrom(0.1, 0.5, 1);
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('accrue' as const),
      member,
      minorUnits: fc.nat(20_000),
      daysAgo: fc.nat(25),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('grant' as const, 'adjust' as const), member, points }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('spend' as const), member, points }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      member,
      points,
      hours: fc.constantFrom(1, 30, 160),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('capture' as const, 'refund' as const), pick, share }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('reverse' as const), pick, share }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('advance' as const), hours: fc.constantFrom(7, 24, 24 * 9) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
);

interface Receipt {
  readonly id: string;
  readonly member: number;
  readonly minorUnits: number;
  returned: number;
  readonly original: model.ModelOriginal;
}

/** The engine and the model side by side. */
class Twin {
  readonly shop: Shop;
  readonly names: readonly string[];
  readonly wallets = [model.emptyWallet(), model.emptyWallet()];
  readonly receipts: Receipt[] = [];
  readonly redemptions: { id: string; member: number; original: model.ModelOriginal }[] = [];
  readonly holds: { id: string; member: number; hold: model.ModelHold; open: boolean }[] = [];

  constructor(shop: Shop, names: readonly string[]) {
    this.shop = shop;
    this.names = names;
  }

  /** Settles a wallet at the program's time and answers it with that time. */
  at(member: number): { wallet: model.ModelWallet; at: number; name: string } {
    const at = this.shop.now();
    const wallet = this.wallets[member]!;
    model.settle(wallet, at);
    return { wallet, at, name: this.names[member]! };
  }

  agree(answer: Answer, member: number, at: number): void {
    expect(answer.at('balances.points')).toEqual(model.figuresOf(this.wallets[member]!, at));
  }

  async accrue(step: Extract<Step, { do: 'accrue' }>): Promise<void> {
    const { wallet, at, name } = this.at(step.member);
    const occurredAt = at - step.daysAgo * 86_400_000;
    const day = DateTime.fromMillis(occurredAt, { zone: timeZone }).startOf('day');
    const answer = await this.shop.pos('POST', '/v1/accruals', {
      member: name,
      reference: reference('model'),
      occurredAt: new Date(occurredAt).toISOString(),
      purchase: { currency: 'EUR', lines: [{ line: 1, amount: step.minorUnits }] },
    });
    expect(answer.status).toBe(201);
    const terms = {
      availableAt: day.plus({ days: 2 }).toMillis(),
      expiresAt: day.plus({ days: 21 }).toMillis(),
    };
    const original = model.accrue(wallet, Math.floor(step.minorUnits / perMinorUnits), terms, at);
    this.receipts.push({
      id: answer.id,
      member: step.member,
      minorUnits: step.minorUnits,
      returned: 0,
      original,
    });
    this.agree(answer, step.member, at);
  }

  async give(step: Extract<Step, { do: 'grant' | 'spend' | 'adjust' }>): Promise<void> {
    const { wallet, at, name } = this.at(step.member);
    const grant = { points: step.points, product: 'gift' };
    const body = { member: name, reference: reference('model') };
    const answer =
      step.do === 'grant'
        ? await this.shop.pos('POST', '/v1/accruals', {
            ...body,
            occurredAt: new Date(at).toISOString(),
            grant,
          })
        : await this.shop.care('POST', '/v1/adjustments', { ...body, points: step.points, reason: 'model' });
    expect(answer.status).toBe(201);
    model.accrue(wallet, step.points, { availableAt: 0, expiresAt: 0 }, at);
    this.agree(answer, step.member, at);
  }

  async spend(step: Extract<Step, { do: 'grant' | 'spend' | 'adjust' }>): Promise<void> {
    const { wallet, at, name } = this.at(step.member);
    const body = { member: name, reference: reference('model'), points: step.points };
    const answer = await this.shop.pos('POST', '/v1/redemptions', body);
    const original = model.spend(wallet, step.points, at);
    expect(answer.code || answer.status).toBe(original ? 201 : 'insufficient_points');
    if (!original) return;
    this.redemptions.push({ id: answer.id, member: step.member, original });
    this.agree(answer, step.member, at);
  }

  async hold(step: Extract<Step, { do: 'hold' }>): Promise<void> {
    const { wallet, at, name } = this.at(step.member);
    const seconds = step.hours * 3_600;
    const body = {
      member: name,
      reference: reference('model'),
      points: step.points,
      expiresInSeconds: seconds,
    };
    const answer = await this.shop.pos('POST', '/v1/holds', body);
    const taken = model.spend(wallet, step.points, at);
    expect(answer.code || answer.status).toBe(taken ? 201 : 'insufficient_points');
    if (!taken) return;
    const hold = { expiresAt: Date.parse(String(answer.body.expiresAt)), parts: taken.parts };
    wallet.holds.set(answer.id, hold);
    this.holds.push({ id: answer.id, member: step.member, hold, open: true });
    this.agree(answer, step.member, at);
  }

  async resolve(step: { pick: number; share?: number }, mode: 'capture' | 'release'): Promise<void> {
    const chosen = this.holds[step.pick % Math.max(1, this.holds.length)];
    if (!chosen) return;
    const { wallet, at } = this.at(chosen.member);
    const points = Math.ceil(model.leftOf(chosen.hold) * (step.share ?? 1));
    const body = { reference: reference('model'), ...(mode === 'capture' ? { points } : {}) };
    const answer = await this.shop.pos('POST', `/v1/holds/${chosen.id}/${mode}`, body);
    const isOpen = wallet.holds.delete(chosen.id);
    expect(answer.code || answer.status).toBe(
      isOpen ? 200 : chosen.open ? 'hold_expired' : 'hold_already_resolved',
    );
    if (!isOpen) return;
    chosen.open = false;
    if (mode === 'release') model.release(wallet, chosen.hold, at);
    else {
      const original = model.capture(wallet, chosen.hold, points, at);
      this.redemptions.push({ id: String(answer.at('redemption.id')), member: chosen.member, original });
    }
    this.agree(answer, chosen.member, at);
  }

  async refund(step: { pick: number; share: number }): Promise<void> {
    const chosen = this.redemptions[step.pick % Math.max(1, this.redemptions.length)];
    if (!chosen) return;
    const { wallet, at } = this.at(chosen.member);
    const left = model.leftOf(chosen.original);
    const wanted = Math.max(1, Math.ceil(left * step.share));
    const body = { reference: reference('model'), points: wanted };
    const answer = await this.shop.pos('POST', `/v1/redemptions/${chosen.id}/refunds`, body);
    expect(answer.code || answer.status).toBe(left > 0 ? 201 : 'refund_exceeds_redemption');
    if (left === 0) return;
    model.refund(wallet, chosen.original, wanted, at);
    this.agree(answer, chosen.member, at);
  }

  async reverse(step: { pick: number; share: number }): Promise<void> {
    const chosen = this.receipts[step.pick % Math.max(1, this.receipts.length)];
    if (!chosen) return;
    const { wallet, at } = this.at(chosen.member);
    const { minorUnits, returned, original } = chosen;
    const amount = Math.ceil((minorUnits - returned) * step.share);
    if (amount === 0) return;
    const answer = await this.shop.pos('POST', `/v1/accruals/${chosen.id}/reversals`, {
      reference: reference('model'),
      occurredAt: new Date(at).toISOString(),
      lines: [{ line: 1, amount }],
    });
    expect(answer.status).toBe(201);
    chosen.returned += amount;
    const kept = (back: number) => Math.floor((minorUnits - back) / perMinorUnits);
    model.reverse(wallet, original, kept(returned) - kept(chosen.returned), at);
    this.agree(answer, chosen.member, at);
  }

  /** Members and operations leave Redis and have to come back from the books as they were. */
  async evict(): Promise<void> {
    await engine.drained();
    await createEviction(engine.app, 0)();
  }

  run(step: Step): Promise<void> {
    switch (step.do) {
      case 'accrue':
        return this.accrue(step);
      case 'grant':
      case 'adjust':
        return this.give(step);
      case 'spend':
        return this.spend(step);
      case 'hold':
        return this.hold(step);
      case 'capture':
      case 'release':
        return this.resolve(step, step.do);
      case 'refund':
        return this.refund(step);
      case 'reverse':
        return this.reverse(step);
      case 'advance':
        return this.shop.advance(step.hours * 3_600);
      case 'evict':
        return this.evict();
    }
  }
}

interface LotRow {
  points: number;
  expires_at: number;
  lot: number;
}

/** Redis = ledger = model, for one member. */
async function assertEqualEverywhere(twin: Twin, index: number): Promise<void> {
  const { wallet, at, name } = twin.at(index);
  expect(await twin.shop.balances(name)).toEqual(model.figuresOf(wallet, at));
  await engine.drained();
  const found = await twin.shop.admin('POST', '/v1/members/lookup', { type: 'id', value: name });
  const number = Number.parseInt(found.id.slice(4), 36);
  const { rows } = await engine.pool.query<LotRow>(
    'select lot, points, expires_at from lot where member = $1 and points > 0 and (expires_at = 0 or expires_at > $2) order by lot',
    [number, at],
  );
  const settledInBooks = rows.map((row) => [row.lot, row.points, row.expires_at]);
  const inModel = wallet.lots
    .filter((lot) => lot.expiresAt === 0 || lot.expiresAt > at)
    .toSorted((a, b) => a.number - b.number)
    .map((lot) => [lot.number, lot.points, lot.expiresAt]);
  expect(settledInBooks).toEqual(inModel);
}

/** What the program keeps of points that ended is what ended, each point once, less what came back with its receipt. */
async function assertBreakage(twin: Twin): Promise<void> {
  const { rows } = await engine.pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::int as points from entry where program = $1 and account = 'breakage'`,
    [twin.shop.program.number],
  );
  const inModel = twin.wallets.reduce((total, wallet) => total + model.breakageOf(wallet), 0);
  expect(rows[0]?.points).toBe(inModel);
}

test(
  'whatever happens in whatever order, Redis, ledger and the reference model agree',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(stepArbitrary, { minLength: 10, maxLength: 45 }), async (steps) => {
        const shop = await engine.shop({ mode: 'test', timeZone, definition });
        const twin = new Twin(shop, [await shop.enrol('anna'), await shop.enrol('ben')]);
        for (const step of steps) await twin.run(step);
        // One more movement a member books what time alone has decided.
        for (const index of [0, 1]) await twin.give({ do: 'grant', member: index, points: 1 });
        for (const index of [0, 1]) await assertEqualEverywhere(twin, index);
        await assertBreakage(twin);
      }),
      {
        numRuns: runs,
        interruptAfterTimeLimit: runs * 1_000,
        markInterruptAsFailure: false,
        endOnFailure: false,
      },
    );
    await engine.audit();
  },
  60_000 + runs * 1_000,
);

test('of receipts that come back in pieces after their points ended, what was spent is owed, and each point once', async () => {
  const receipts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 3 });
  const shares = fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 3 });
  const pieces = fc.array(fc.record({ pick, share }), { minLength: 2, maxLength: 7 });
  await fc.assert(
    fc.asyncProperty(receipts, shares, pieces, async (earned, spent, returned) => {
      const shop = await engine.shop({ mode: 'test', timeZone, definition });
      const twin = new Twin(shop, [await shop.enrol('anna'), await shop.enrol('ben')]);
      // All of one day: they count at once and are one lot.
      for (const points of earned)
        await twin.run({ do: 'accrue', member: 0, minorUnits: points * perMinorUnits, daysAgo: 5 });
      let left = earned.reduce((sum, points) => sum + points, 0);
      for (const percent of spent) {
        const points = Math.floor((left * percent) / 100);
        if (points > 0) await twin.run({ do: 'spend', member: 0, points });
        left -= points;
      }
      await twin.run({ do: 'advance', hours: 24 * 30 });
      for (const piece of returned) await twin.run({ do: 'reverse', ...piece });
      const kept = twin.receipts.map((each) => Math.floor((each.minorUnits - each.returned) / perMinorUnits));
      const back = earned.reduce((sum, points, i) => sum + points - kept[i]!, 0);
      expect(twin.wallets[0]!.debt).toBe(Math.max(0, back - left));
      await twin.give({ do: 'grant', member: 0, points: 1 });
      await assertEqualEverywhere(twin, 0);
      await assertBreakage(twin);
    }),
    { numRuns: 12, endOnFailure: true },
  );
}, 60_000);

test(
  'what is owed is paid by what counts or comes back first, whenever anybody looks',
  async () => {
    const days = (...ago: number[]) => fc.constantFrom(...ago);
    const earned = fc.record({ points: fc.integer({ min: 10, max: 90 }), daysAgo: days(0, 1, 16, 17, 18) });
    const held = fc.record({
      percent: fc.integer({ min: 1, max: 100 }),
      hours: fc.constantFrom(30, 60, 110, 160),
    });
    const pauses = fc.array(fc.constantFrom(20, 40, 70, 24 * 7), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        days(16, 17, 18),
        held,
        fc.array(earned, { maxLength: 3 }),
        pauses,
        async (ago, hold, others, hours) => {
          const shop = await engine.shop({ mode: 'test', timeZone, definition });
          const twin = new Twin(shop, [await shop.enrol('anna'), await shop.enrol('ben')]);
          const earn = (points: number, daysAgo: number) =>
            twin.run({ do: 'accrue', member: 0, minorUnits: points * perMinorUnits, daysAgo });
          // Held, spent and owed: a hundred points that end soon.
          await earn(100, ago);
          await twin.run({ do: 'hold', member: 0, points: hold.percent, hours: hold.hours });
          if (hold.percent < 100) await twin.run({ do: 'spend', member: 0, points: 100 - hold.percent });
          await twin.run({ do: 'reverse', pick: 0, share: 1 });
          for (const { points, daysAgo } of others) await earn(points, daysAgo);
          for (const pause of hours) await twin.run({ do: 'advance', hours: pause });
          await twin.run({ do: 'refund', pick: 0, share: 0.5 });
          await twin.give({ do: 'grant', member: 0, points: 1 });
          await assertEqualEverywhere(twin, 0);
          await assertBreakage(twin);
        },
      ),
      { numRuns: Math.max(12, Math.floor(runs / 2)), endOnFailure: true },
    );
  },
  60_000 + runs * 1_000,
);
