/**
 * Whatever partners give, take and take back, in whatever order shards are read, with turns that die before their commit, with
 * what is late or claimed late and with months that are closed in between: the statements and what is open are the partners' accounts in
 * the ledger, to the point, and what the same movements come to in a model that knows nothing of the engine, to the cent. A month that is closed says
 * the same for ever, each line is rounded once, and netting pays exactly what statements said: then nothing is open.
 * What a partner is billed for when it is spent is what the books have of it, by the scripts themselves. `SETTLEMENT_RUNS=50` is the long form.
 */
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import { createProgramFor } from '#src/diary/programs.ts';
import { checkSettlement } from '#src/partners/clearing/check.ts';
import { clearTurn } from '#src/partners/clearing/follower.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import { settledPartyOf } from '#src/wallet/lot-party.ts';
import { reference, startEngine } from './harness.ts';
import { accountOf, allEntries, clearAll, clearingOf } from './house/clearing.ts';
import { linked, openPartner, type Partner } from './house/partner.ts';
import { inDays } from './house/shop.ts';

const runs = Number(process.env.SETTLEMENT_RUNS ?? 3);
const seed = Number(process.env.SETTLEMENT_SEED ?? 7);

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const shop = await engine.shop({ mode: 'test', timeZone: 'Asia/Shanghai' });
const followers = [clearingOf(app), clearingOf(app)];
const programFor = createProgramFor(app.programs);

const stepArbitrary = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('give' as const),
      who: fc.nat(2),
      points: fc.integer({ min: 1, max: 999 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      who: fc.nat(2),
      points: fc.integer({ min: 1, max: 300 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('back' as const),
      which: fc.nat(),
      points: fc.integer({ min: 1, max: 200 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      follower: fc.nat(1),
      rowsMax: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('die' as const), rowsMax: fc.integer({ min: 1, max: 50 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('late' as const),
      who: fc.nat(2),
      points: fc.integer({ min: 1, max: 99 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('claim' as const),
      who: fc.nat(2),
      points: fc.integer({ min: 1, max: 99 }),
      daysAgo: fc.integer({ min: 1, max: 150 }),
    }),
  },
);
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? T : never;

interface Moved {
  readonly kind: 'accrual' | 'redemption';
  readonly reference: string;
  left: number;
}

/** Price in minor units for three points, so that hardly anything comes out even. */
const prices = { issue: { amount: 7, perPoints: 3 }, redemption: { amount: 5, perPoints: 3 } };
const month = () => DateTime.fromMillis(shop.now(), { zone: 'Asia/Shanghai' }).startOf('month');

/** One partner with three members, and what it should owe by month, price and kind. */
class Told {
  readonly partner: Partner;
  readonly accounts: readonly string[];
  readonly moved: Moved[] = [];
  points = 0;
  /** Statements as they were issued, by their ids. */
  readonly issued = new Map<string, unknown>();

  constructor(partner: Partner, accounts: readonly string[]) {
    this.partner = partner;
    this.accounts = accounts;
  }

  /** A flight of today, or one that is claimed days later. */
  async give(who: number, points: number, daysAgo = 0): Promise<void> {
    const name = reference('flight');
    const occurredAt = new Date(shop.now() - daysAgo * 86_400_000).toISOString();
    const body = { reference: name, account: this.accounts[who], points, occurredAt };
    const answer = await this.partner.accrue(body);
    expect([201, 202]).toContain(answer.status);
    this.moved.push({ kind: 'accrual', reference: name, left: points });
    this.points -= points;
  }

  async take(who: number, points: number): Promise<void> {
    const name = reference('award');
    const answer = await this.partner.redeem({ reference: name, account: this.accounts[who], points });
    if (answer.code === 'insufficient_points') return;
    expect(answer.status).toBe(201);
    this.moved.push({ kind: 'redemption', reference: name, left: points });
    this.points += points;
  }

  async back(which: number, points: number): Promise<void> {
    const original = this.moved[which % Math.max(1, this.moved.length)];
    if (!original) return;
    const { kind: originalKind, reference: originalReference } = original;
    const body = { reference: reference('back'), originalKind, originalReference, points };
    const answer = await this.partner.reverse(body);
    if (points > original.left) expect(answer.code).toBe('reversal_exceeds_original');
    else {
      expect(answer.status).toBe(201);
      original.left -= points;
      this.points += originalKind === 'accrual' ? points : -points;
    }
  }

  async close(): Promise<void> {
    const period = month();
    await shop.setClock(period.plus({ months: 1 }).toMillis() + 3_600_000);
    await readAll();
    const body = { partner: this.partner.name, period: period.toFormat('yyyy-MM') };
    const issued = await shop.finance('POST', '/v1/settlements', body);
    expect(issued.status, JSON.stringify(issued.body)).toBe(201);
    for (const { id } of issued.body.data as { id: string }[]) this.issued.set(id, await saidBy(id));
  }

  /** All that was issued is netted: nothing is open, and what was paid is what statements said. */
  async net(): Promise<void> {
    const netted = await shop.finance('POST', '/v1/settlements/net', {
      partner: this.partner.name,
      early: true,
    });
    expect(netted.status).toBe(200);
    const totals = [...this.issued.values()].map((each) => (each as { total: number }).total);
    const owed = totals.reduce((sum, total) => sum + total, 0);
    const balances = (await shop.finance('GET', `/v1/settlements/accounts?partner=${this.partner.name}`)).body
      .data as { account: string; amount: number }[];
    const of = (account: string) => balances.find((each) => each.account === account)?.amount ?? 0;
    expect([of('receivable'), of('netting')]).toEqual([0, owed]);
    expect(balances.reduce((sum, { amount }) => sum + amount, 0)).toBe(0);
    for (const { positions, payments } of netted.body.data as Netted[]) {
      expect(Object.values(positions).reduce((sum, each) => sum + each, 0)).toBe(0);
      expect(payments.reduce((sum, { amount }) => sum + amount, 0)).toBe(Math.abs(owed));
    }
  }

  /** Decided in a month that is closed before it is booked. */
  async late(who: number, points: number): Promise<void> {
    await readAll();
    await engine.withoutWriter(async () => {
      await this.give(who, points);
      await this.close();
    });
  }
}

interface Netted {
  readonly positions: Readonly<Record<string, number>>;
  readonly payments: readonly { readonly amount: number }[];
}

/** What a statement says, but for what was paid of it since. */
async function saidBy(id: string): Promise<unknown> {
  const {
    settled: _,
    status: __,
    steps: ___,
    ...said
  } = (await shop.finance('GET', `/v1/settlements/${id}`)).body;
  return said;
}

async function readAll(): Promise<void> {
  for (const follower of followers) await clearAll(pool, follower);
}

/** A turn that does everything but commit. */
async function die(rowsMax: number): Promise<void> {
  const dead = new Error('dead');
  const turn = inTransaction(pool, async (tx) => {
    await clearTurn(tx, programFor, rowsMax);
    throw dead;
  });
  await expect(turn).rejects.toBe(dead);
}

async function follow(told: Told, step: Step): Promise<void> {
  switch (step.do) {
    case 'give':
      return told.give(step.who, step.points);
    case 'take':
      return told.take(step.who, step.points);
    case 'back':
      return told.back(step.which, step.points);
    case 'read':
      await inTransaction(pool, (tx) => clearTurn(tx, programFor, step.rowsMax));
      return;
    case 'die':
      return die(step.rowsMax);
    case 'close':
      await engine.drained();
      return told.close();
    case 'late':
      await engine.drained();
      return told.late(step.who, step.points);
    case 'claim':
      return told.give(step.who, step.points, step.daysAgo);
  }
}

/** A line of a statement, which is rounded once: to the minor unit that is nearest to what its points cost. */
interface Line {
  readonly points: number;
  readonly price: 'issue' | 'redemption';
  readonly amount: number;
}

function expectExact({ points, price, amount }: Line): void {
  const { amount: units, perPoints } = prices[price];
  expect(Math.abs(-points * units - amount * perPoints) * 2).toBeLessThanOrEqual(perPoints);
}

async function tell(steps: readonly Step[]): Promise<void> {
  const name = reference('sky').replaceAll('/', '-').toLowerCase();
  const partner = await openPartner(engine, shop, { name, contract: { prices } });
  const accounts: string[] = [];
  for (let i = 0; i < 3; i += 1)
    accounts.push(await linked(shop, partner, await shop.enrol('guest'), reference('FF')));
  const told = new Told(partner, accounts);
  for (const step of steps) await follow(told, step);
  await engine.drained();
  await readAll();
  const account = (await accountOf(pool, partner.number))[1] ?? 0;
  expect(account).toBe(told.points);
  expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
  const drafts = (await shop.finance('GET', `/v1/settlements/drafts?partner=${name}`)).body.data as {
    lines: Line[];
  }[];
  const issued = (await shop.finance('GET', `/v1/settlements?partner=${name}&limit=200`)).body.data as {
    id: string;
  }[];
  const stated: Line[] = drafts.flatMap(({ lines }) => lines);
  for (const { id } of issued)
    stated.push(...((await shop.finance('GET', `/v1/settlements/${id}`)).body.lines as Line[]));
  expect(stated.reduce((sum, { points }) => sum + points, 0)).toBe(told.points);
  stated.forEach(expectExact);
  await told.close();
  await told.net();
  for (const [id, said] of told.issued) expect(await saidBy(id)).toEqual(said);
  expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
}

test(
  'statements and what is open are the accounts of partners, whatever happened in whatever order',
  async () => {
    await fc.assert(fc.asyncProperty(fc.array(stepArbitrary, { minLength: 15, maxLength: 40 }), tell), {
      seed,
      numRuns: runs,
      endOnFailure: true,
      interruptAfterTimeLimit: 60_000 * runs,
    });
  },
  120_000 * runs,
);

/** Points end after two days. */
const daily = await engine.shop({
  mode: 'test',
  definition: { currencies: [{ code: 'points', expiry: inDays(2) }] },
});

/** What members do with points of partners and of the program. */
const deedArbitrary = fc.record({
  do: fc.constantFrom(
    ...(['give', 'give', 'give', 'earn', 'spend', 'spend', 'hold', 'capture', 'release', 'refund'] as const),
    ...(['back', 'back', 'return', 'send', 'redeem', 'wait'] as const),
  ),
  who: fc.nat(2),
  which: fc.nat(),
  points: fc.integer({ min: 1, max: 90 }),
});
type Deed = typeof deedArbitrary extends fc.Arbitrary<infer T> ? T : never;

/** Three members of two partners, the second of which is billed when it gives. */
class Life {
  private readonly partners: readonly Partner[];
  private readonly accounts: readonly string[];
  private readonly given: { partner: Partner; name: string }[] = [];
  private readonly done = {
    earn: [] as string[],
    spend: [] as string[],
    hold: [] as string[],
  };

  constructor(partners: readonly Partner[], accounts: readonly string[]) {
    this.partners = partners;
    this.accounts = accounts;
  }

  /** What is refused (too few points, nothing left of it) moves nothing. */
  private async post(path: string, body: object, made: string[] = []): Promise<void> {
    const answer = await daily.admin('POST', path, { reference: reference(), ...body });
    expect([200, 201, 404, 409, 422]).toContain(answer.status);
    if (answer.status === 201) made.push(answer.id);
  }

  async follow({ do: deed, who, which, points }: Deed): Promise<void> {
    const member = this.accounts[who]!;
    const one = <T>(list: readonly T[]) => list[which % Math.max(1, list.length)];
    const { earn, spend, hold } = this.done;
    switch (deed) {
      case 'give': {
        const [partner, name] = [one(this.partners)!, reference('flight')];
        const answer = await partner.accrue({ reference: name, account: member, points: points * 3 });
        expect(answer.status).toBe(201);
        this.given.push({ partner, name });
        return;
      }
      case 'back': {
        const original = one(this.given);
        const back = {
          originalKind: 'accrual',
          originalReference: original?.name,
          reference: reference(),
          points,
        };
        const answer = await original?.partner.reverse(back);
        expect([undefined, 201, 409]).toContain(answer?.status);
        return;
      }
      case 'redeem':
        await one(this.partners)!.redeem({ reference: reference('award'), account: member, points });
        return;
      case 'wait':
        return daily.advance((1 + (which % 2)) * 86_400);
      case 'earn':
        earn.push((await daily.accrue(member, points)).id);
        return;
      case 'spend':
        return this.post('/v1/redemptions', { member, points }, spend);
      case 'hold':
        return this.post('/v1/holds', { member, points, expiresInSeconds: 604_800 }, hold);
      case 'capture':
      case 'release':
        return this.post(`/v1/holds/${one(hold)}/${deed}`, {});
      case 'refund':
        return this.post(`/v1/redemptions/${one(spend)}/refunds`, { points });
      case 'return':
        return this.post(`/v1/accruals/${one(earn)}/reversals`, { occurredAt: daily.time() });
      case 'send':
        return this.post('/v1/transfers', { from: member, to: this.accounts[(who + 1) % 3], points });
    }
  }
}

/** What the books say of a partner's points, without anything that clearing has read. */
const booksQuery = `
  select (select -coalesce(sum(points), 0) from entry where account = 'partner' and party = $1 and operation in (
        select operation from entry where account = 'partner' and party = $1 and points < 0
        except select operation from operation where kind = 'reversal'
        union select o.operation from operation o join operation a on a.operation = o.origin and a.kind = 'accrual'
          where o.kind = 'reversal'))::int as given,
    (select coalesce(sum(points), 0) from lot where party = $2)::int as lots,
    (select coalesce(sum((part ->> 2)::int), 0) from hold, json_array_elements(lots::json) part
      where status = 'held' and (part ->> 5)::int = $2)::int as held,
    (select -coalesce(sum(e.points), 0) from entry e join operation o using (operation)
      join lot l on l.member = e.member and l.currency = e.currency and l.lot = e.lot
      where o.kind = 'expiry' and e.account = 'wallet' and e.party = $2 and e.points < 0
        and l.expires_at between 1 and extract(epoch from o.at) * 1000)::int as ended,
    (select -coalesce(sum(b.points), 0) from entry b where b.account = 'breakage' and b.points < 0 and b.operation in (
        select operation from entry where account = 'partner' and party = $1))::int as "takenBackEnded"`;

interface Books {
  readonly given: number;
  readonly lots: number;
  readonly held: number;
  readonly ended: number;
  readonly takenBackEnded: number;
}

async function live(deeds: readonly Deed[]): Promise<void> {
  const named = () => reference('sky').replaceAll('/', '-').toLowerCase();
  const air = await openPartner(engine, daily, { name: named(), contract: { settleOn: 'redemption' } });
  const rail = await openPartner(engine, daily, { name: named() });
  const accounts: string[] = [];
  for (let i = 0; i < 3; i += 1) {
    const member = await daily.enrol('guest');
    accounts.push(await linked(daily, air, member, reference('FF')));
    await linked(daily, rail, member, reference('RR'));
  }
  const life = new Life([air, rail], accounts);
  for (const deed of deeds) await life.follow(deed);
  await engine.drained();
  await readAll();
  const { rows } = await pool.query<Books>(booksQuery, [air.number, settledPartyOf(air.number)]);
  const { given, lots, held, ended, takenBackEnded } = rows[0]!;
  const entries = await allEntries(pool, air.number);
  const billed = entries
    .filter(({ kind }) => kind === 'spent' || kind === 'spent_reversal')
    .reduce((sum, entry) => sum - entry.points, 0);
  expect(billed).toBe(given - lots - held - ended + takenBackEnded);
  expect(billed).toBeLessThanOrEqual(given);
  // What stands in its account because of points that it gave has no price.
  const free = entries.filter(({ price }) => price === 'none').reduce((sum, { points }) => sum - points, 0);
  expect(free).toBe(given);
  const account = entries
    .filter((entry) => entry.account === 'partner')
    .reduce((sum, { points }) => sum + points, 0);
  expect(account).toBe((await accountOf(pool, air.number))[1] ?? 0);
  const others = await allEntries(pool, rail.number);
  expect(others.filter(({ kind, price }) => kind.startsWith('spent') || price === 'none')).toEqual([]);
  expect((await checkSettlement(engine.stores.databaseUrl)).faults).toEqual([]);
}

test(
  'what a partner is billed for when it is spent is gone and has not ended, whatever was held, refunded, passed on, returned or taken back',
  async () => {
    await fc.assert(fc.asyncProperty(fc.array(deedArbitrary, { minLength: 30, maxLength: 60 }), live), {
      seed,
      numRuns: runs,
      endOnFailure: true,
      interruptAfterTimeLimit: 60_000 * runs,
    });
  },
  120_000 * runs,
);

test('where lots are joined because there are too many, points stay those of their partner', async () => {
  const yearly = await engine.shop({
    definition: { currencies: [{ code: 'points', expiry: inDays(1_000) }] },
  });
  const name = reference('sky').replaceAll('/', '-').toLowerCase();
  const air = await openPartner(engine, yearly, { name, contract: { settleOn: 'redemption' } });
  const account = await linked(yearly, air, await yearly.enrol('guest'), reference('FF'));
  for (let day = 1; day <= 125; day += 1) {
    const occurredAt = yearly.time(-day * 86_400_000);
    const made =
      day % 2 === 0
        ? await air.accrue({ reference: reference('flight'), account, points: 10, occurredAt })
        : await yearly.accrue(account, 10, { occurredAt });
    expect(made.status).toBe(201);
  }
  await engine.drained();
  const { rows } = await pool.query<{ lots: number; theirs: number; ours: number }>(
    `select count(*)::int as lots, sum(points) filter (where party = $1)::int as theirs,
       sum(points) filter (where party = 0)::int as ours
     from lot where points > 0 and member = (select member from lot where party = $1 limit 1)`,
    [settledPartyOf(air.number)],
  );
  expect(rows).toEqual([{ lots: 120, theirs: 620, ours: 630 }]);
});
