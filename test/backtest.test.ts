/**
 * Backtests: the receipts of a ledger judged again. By the version that was in force they give what the ledger has, point for
 * point and member for member, whatever ran at once, came late, met a cap or was returned. By another version they say what
 * would have been.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { draftOf } from '#src/earning/backtest/draft.ts';
import type { Report } from '#src/earning/backtest/report.ts';
import { runBacktest } from '#src/earning/backtest/run.ts';
import type { Span } from '#src/earning/backtest/stream.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import type { ProgramFile } from '#src/earning/file/schema.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { type Answer, reference, type Shop, startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';

const engine = await startEngine({ shardCount: 3 });
afterAll(() => engine.end());
const other = await engine.anotherApi();

const everyKind = `
timeZone: Europe/Berlin
currencies: [{ code: points, expiry: { kind: year_end, years: 1 } }, { code: stamps, spendable: false }]
funders: [program, house]
backdateDaysMax: 60
rules:
  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }
  - name: fresh
    currency: points
    earn: { by: amount, points: 2, perMinorUnits: 300, each: line, lines: { categories: [fresh] } }
    caps: [{ points: 9, period: day }, { points: 20, period: week }]
    returns: proportional
    funder: house
  - { name: pieces, currency: stamps, earn: { by: quantity, points: 1 }, caps: [{ points: 3, period: receipt }, { points: 25, period: lifetime }] }
  - { name: web, currency: points, channels: [web], earn: { by: fixed, points: 4 }, caps: [{ points: 4, period: day, whenFull: refuse }], pending: { kind: days, days: 2 } }
  - { name: review, on: activity, activities: [review], currency: points, earn: { by: fixed, points: 7 }, caps: [{ points: 20, period: month, whenFull: refuse }] }
  - { name: miles, on: flight, currency: points, earn: { by: distance, classes: [{ codes: [Y], percent: 50, minimumMiles: 100 }] } }
  - { name: fare, on: flight, currency: points, earn: { by: fare, points: 1, perMinorUnits: 500 }, caps: [{ points: 30, period: ticket }] }
groups:
  - { name: days, combine: best }
  - { name: goods, combine: additive, factorMax: 3, pointsMax: 40 }
promotionsPointsMax: 90
promotions:
  - { name: born, currency: points, during: { member: birthday_month }, multiply: { by: 2 }, caps: [{ points: 30, period: year }], group: days }
  - { name: evens, currency: points, when: at.day % 2 == 0, multiply: { by: 3, rules: [base] }, caps: [{ points: 25, period: day }], group: days }
  - { name: fresh-more, currency: points, multiply: { by: 2, rules: [fresh], lines: { categories: [fresh] } }, group: goods }
  - { name: web-more, currency: points, multiply: { by: "1.5", rules: [base, web] }, group: goods, caps: [{ points: 60, period: month }] }
  - { name: first, currency: points, purchaseNumber: 1, earn: { by: fixed, points: 50 } }
  - { name: fourth, currency: points, purchaseNumber: 4, earn: { by: fixed, points: 70 } }
  - { name: much, currency: points, spendReached: { minorUnits: 9000, period: month }, earn: { by: fixed, points: 60 } }
  - { name: coupon, currency: stamps, code: GO, earn: { by: fixed, points: 5 }, oncePerOrder: true }
  - { name: basket, currency: points, basket: [{ lines: { categories: [fresh] }, amountMin: 900 }], earn: { by: fixed, points: 11 }, caps: [{ points: 44, period: lifetime }] }
  - { name: first-come, currency: points, earn: { by: amount, points: 1, perMinorUnits: 50 }, budget: little }
  - { name: all-or-none, currency: stamps, earn: { by: fixed, points: 3 }, caps: [{ points: 10, period: day }], budget: strict }
budgets:
  - { name: little, points: 700, whenFull: trim }
  - { name: strict, minorUnits: 20, costPerPoint: "0.5", whenFull: refuse }
redemption:
  - { name: till, currency: points, exchange: { points: 200, minorUnits: 100, money: EUR }, minimumPoints: 200, stepPoints: 200 }
`;

function fileOf(source: string): ProgramFile {
  const { file, faults } = readProgramFile(source);
  expect(faults).toEqual([]);
  return file!;
}

const facts = { program: 0, factsVersion: 0, mergedInto: undefined };

async function backtest(shop: Shop, file: ProgramFile, span: Span = {}): Promise<Report> {
  await engine.drained();
  const program = (await loadPrograms(engine.pool)).get(shop.program.number)!;
  return runBacktest(engine.pool, {
    draft: draftOf(file, program),
    span,
    judgedMember: (row) => {
      const { member, occurredAt: at } = row;
      return engine.app.judgedMember(
        program,
        { ...facts, member },
        { at, decided: { member, position: row, at: row.at } },
      );
    },
    endsAt: Date.now(),
  });
}

interface Step {
  readonly what: 'purchase' | 'activity' | 'flight' | 'reverse' | 'giveBack';
  readonly member: number;
  readonly daysBack: number;
  readonly amounts: readonly number[];
  readonly isFresh: boolean;
  readonly isWeb: boolean;
  readonly order: number;
  readonly isWhole: boolean;
}

const steps = fc.array(
  fc.record<Step>({
    what: fc.constantFrom(
      'purchase',
      'purchase',
      'purchase',
      'purchase',
      'activity',
      'flight',
      'reverse',
      'giveBack',
    ),
    member: fc.nat(3),
    daysBack: fc.constantFrom(0, 0, 0, 1, 2, 7, 31),
    amounts: fc.array(fc.integer({ min: 0, max: 4_000 }), { minLength: 1, maxLength: 3 }),
    isFresh: fc.boolean(),
    isWeb: fc.boolean(),
    order: fc.nat(4),
    isWhole: fc.boolean(),
  }),
  { minLength: 40, maxLength: 60 },
);

const dayMs = 86_400_000;

function subjectOf(step: Step, member: string): Record<string, unknown> {
  if (step.what === 'activity') return { activity: { type: 'review' } };
  if (step.what === 'flight') {
    const fare = { amount: step.amounts[0]!, currency: 'EUR' };
    const to = { from: 'BER', to: 'CDG', distanceMiles: 100 + step.amounts[0]!, bookingClass: 'Y' };
    return {
      flight: { carrier: 'XX', flightNumber: '1', date: '2026-01-31', ...to, ticket: `T${step.order}`, fare },
    };
  }
  const lines = step.amounts.map((amount, i) => ({
    line: i + 1,
    amount,
    quantity: String(i + 1),
    category: step.isFresh && i === 0 ? 'fresh' : 'dry',
  }));
  return {
    purchase: {
      currency: 'EUR',
      lines,
      ...(step.isWeb ? { channel: 'web' } : {}),
      ...(step.order > 0 ? { order: `${member}-${step.order}` } : {}),
      ...(step.order === 2 ? { codes: ['GO'] } : {}),
    },
  };
}

/** Carries the steps out, four at once, over two processes. */
async function carryOut(shop: Shop, members: readonly string[], all: readonly Step[]): Promise<void> {
  const accrued: { readonly id: string; readonly member: number }[] = [];
  // As tills do: what was not answered for is sent again under its reference.
  const call = async (
    index: number,
    path: string,
    body: Record<string, unknown>,
    role: 'pos' | 'checkout' = 'pos',
  ) => {
    const http = index % 2 === 0 ? engine.http : other.http;
    const key = { key: shop.tokens[role] };
    const sent = { reference: reference(), occurredAt: shop.time(), ...body };
    let answer = await http('POST', path, sent, key);
    for (let again = 0; again < 10 && answer.status === 503; again += 1)
      answer = await http('POST', path, sent, key);
    return answer;
  };
  async function run(step: Step, index: number): Promise<Answer | undefined> {
    const member = members[step.member]!;
    const lines = step.isWhole ? {} : { lines: [{ line: 1, amount: Math.ceil((step.amounts[0] ?? 0) / 2) }] };
    if (step.what === 'reverse') {
      const id = accrued.filter((each) => each.member === step.member).at(-1 - (index % 3))?.id;
      return id === undefined ? undefined : call(index, `/v1/accruals/${id}/reversals`, lines);
    }
    if (step.what === 'giveBack')
      return call(index, '/v1/returns', { order: `${member}-${1 + step.order}`, ...lines }, 'checkout');
    const occurredAt = shop.time(-step.daysBack * dayMs);
    const answer = await call(index, '/v1/accruals', { member, occurredAt, ...subjectOf(step, member) });
    expect([200, 201], JSON.stringify(answer.body)).toContain(answer.status);
    accrued.push({ id: String(answer.id), member: step.member });
    return answer;
  }
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < all.length; index = next++) {
      const answer = await run(all[index]!, index);
      if (answer) expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
}

/** Points by currency that the program has issued, as the entries say. */
async function issued(shop: Shop): Promise<Record<string, number>> {
  const { rows } = await engine.pool.query<{ currency: number; points: number }>(
    `select currency, (-sum(points))::bigint as points from entry where program = $1 and account = 'issuance' group by 1`,
    [shop.program.number],
  );
  return Object.fromEntries(
    rows.map(({ currency, points }) => [shop.program.currencyByNumber.get(currency)!.code, points]),
  );
}

async function happened(shop: Shop): Promise<Record<'trimmed' | 'undone' | 'counted', number>> {
  const { rows } = await engine.pool.query<Record<'trimmed' | 'undone' | 'counted', number>>(
    `select count(*) filter (where effect::text like '%"given":[%')::int as trimmed,
       count(*) filter (where kind in ('reversal', 'return'))::int as undone,
       count(*) filter (where effect::text like '%"counters":[[%')::int as counted
     from operation where program = $1`,
    [shop.program.number],
  );
  return rows[0]!;
}

describe('the version that was in force', () => {
  const file = fileOf(everyKind);
  const seen: Record<'trimmed' | 'undone' | 'counted' | 'full', number>[] = [];

  test('gives what the ledger has, caps, late receipts and returns included', {
    timeout: 240_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const shop = await engine.shop({ timeZone: 'Europe/Berlin', definition: file as never });
        const members: string[] = [];
        for (const birthday of ['--01-15', '--11-22', undefined, '--02-29']) {
          const member = reference('m').replaceAll('/', '-');
          await shop.pos('POST', '/v1/members', { member, ...(birthday ? { birthday } : {}) });
          members.push(member);
        }
        await carryOut(shop, members, all);
        const report = await backtest(shop, file);
        expect(report).toMatchObject({ receiptsOtherwise: 0, refused: [], failed: [], lateRows: 0 });
        for (const { rule, draft, actual } of report.rules)
          expect({ rule, ...draft }).toEqual({ rule, ...actual });
        expect(report.members).toMatchObject({ more: 0, less: 0 });
        expect(report.receipts).toBe(
          all.filter(({ what }) => what === 'purchase' || what === 'activity' || what === 'flight').length,
        );
        const sums: Record<string, number> = {};
        for (const { currency, draft } of report.rules) sums[currency] = (sums[currency] ?? 0) + draft.points;
        expect(sums).toEqual(await issued(shop));
        for (const { used, total } of report.budgets) expect(used).toBeLessThanOrEqual(total);
        seen.push({
          ...(await happened(shop)),
          full: report.budgets.filter((each) => each.emptySince).length,
        });
      }),
      { numRuns: 6, seed: 11, endOnFailure: true },
    );
    // Whatever the steps were: caps were met, points were taken back, purchases and spending were counted, budgets ran out.
    for (const what of ['trimmed', 'undone', 'counted', 'full'] as const)
      expect(
        seen.reduce((sum, each) => sum + each[what], 0),
        what,
      ).toBeGreaterThan(0);
  });

  test('judges the receipts of an order in the order in which they were booked, whichever comes back', async () => {
    const source = `
timeZone: Europe/Berlin
currencies: [{ code: points }]
rules:
  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }
promotions:
  - { name: parcel, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 }, caps: [{ points: 100, period: order, whenFull: refuse }] }
`;
    const shop = await engine.shop({ timeZone: 'Europe/Berlin', definition: fileOf(source) as never });
    const member = await shop.enrol();
    const order = reference('order');
    const shipped: Answer[] = [];
    for (const amount of [6_000, 5_000, 4_000, 3_000])
      shipped.push(
        await shop.accrue(member, 0, { purchase: { currency: 'EUR', order, lines: [{ line: 1, amount }] } }),
      );
    const back = (of: Answer, more: object = {}) =>
      shop.pos('POST', `/v1/accruals/${of.id}/reversals`, {
        reference: reference(),
        occurredAt: shop.time(),
        ...more,
      });
    // 60 and 40 of 100. Of the 60 the second keeps 50, which alone it would have had; 20 of the fourth still do not fit.
    expect((await back(shipped[0]!)).at('awards.1')).toMatchObject({ rule: 'parcel', points: 10 });
    expect((await back(shipped[3]!, { lines: [{ line: 1, amount: 1_000 }] })).body.awards).toHaveLength(1);
    const report = await backtest(shop, fileOf(source));
    for (const { rule, draft, actual } of report.rules)
      expect({ rule, ...draft }).toEqual({ rule, ...actual });
  });

  test('in a span begins with the counters that the ledger had then', async () => {
    const source = everyKind.replace('period: week', 'period: lifetime');
    const shop = await engine.shop({ timeZone: 'Europe/Berlin', definition: fileOf(source) as never });
    const member = await shop.enrol();
    const fresh = { currency: 'EUR', lines: [{ line: 1, amount: 1_000, category: 'fresh' }] };
    for (const daysBack of [40, 30, 20, 10, 2])
      await shop.accrue(member, 0, { purchase: fresh, occurredAt: shop.time(-daysBack * dayMs) });
    const span = { from: shop.now() - 25 * dayMs, to: shop.now() - 5 * dayMs };
    const report = await backtest(shop, fileOf(source), span);
    expect(report).toMatchObject({ receipts: 2, receiptsOtherwise: 0 });
    const without = await backtest(
      shop,
      fileOf(source.replace(', { points: 20, period: lifetime }', '')),
      span,
    );
    const of = (each: Report) => each.rules.find(({ rule }) => rule === 'fresh');
    // 6 a receipt: of the 20 of a lifetime two were left for the fourth receipt.
    expect(of(report)).toMatchObject({ draft: { points: 8 }, actual: { points: 8 } });
    expect(of(without)).toMatchObject({ draft: { points: 12 }, actual: { points: 8 } });
  });
});

describe('another version', () => {
  const ledger = `
timeZone: Europe/Berlin
currencies: [{ code: points }]
funders: [program, dairy]
rules:
  - { name: base, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }
redemption:
  - { name: till, currency: points, exchange: { points: 200, minorUnits: 100, money: EUR }, minimumPoints: 200, stepPoints: 200 }
`;
  const budgets = (whenFull: string) => `
budgets:
  - { name: campaign, minorUnits: 30, costPerPoint: "0.5", whenFull: ${whenFull} }
promotions:
  - name: milk
    currency: points
    multiply: { by: 3, rules: [base], lines: { categories: [milk] } }
    caps: [{ points: 50, period: day }]
    funder: dairy
    costShares: [{ funder: dairy, percent: 80 }, { funder: program, percent: 20 }]
    budget: campaign
`;

  async function openShop(): Promise<{ shop: Shop; members: string[] }> {
    const shop = await engine.shop({ timeZone: 'Europe/Berlin', definition: fileOf(ledger) as never });
    const members = [await shop.enrol(), await shop.enrol(), await shop.enrol()];
    const buy = (member: string, category: string, amount: number) =>
      shop.accrue(member, 0, { purchase: { currency: 'EUR', lines: [{ line: 1, category, amount }] } });
    const returned = await buy(members[0]!, 'milk', 2_000);
    await buy(members[0]!, 'milk', 1_500);
    await buy(members[1]!, 'milk', 4_000);
    await buy(members[2]!, 'bread', 9_900);
    await shop.pos('POST', `/v1/accruals/${returned.id}/reversals`, {
      reference: reference(),
      occurredAt: shop.time(),
      lines: [{ line: 1, amount: 1_000 }],
    });
    return { shop, members };
  }

  test('is set beside the ledger by rule, funder, member and day, and what came back is taken back by it', async () => {
    const { shop } = await openShop();
    const report = await backtest(
      shop,
      fileOf(`${ledger}${budgets('trim').replace('minorUnits: 30', 'minorUnits: 9000')}`),
    );
    const base = { awards: 4, points: 164, takenBack: 10, money: 82, liability: 82 };
    expect(report).toMatchObject({
      receipts: 4,
      receiptsOtherwise: 3,
      points: { draft: 244, actual: 164 },
      moneyCurrency: 'EUR',
      money: { draft: 122, actual: 82 },
      rules: [
        { rule: 'base', draft: base, actual: base },
        // 40, then 10 of 30 under the cap of the day; 50 of 80; half of the first came back.
        { rule: 'milk', draft: { awards: 3, points: 80, takenBack: 20 }, actual: { points: 0 } },
      ],
      members: { more: 2, less: 0, same: 1 },
      winners: [
        { difference: 50, draft: 90, actual: 40 },
        { difference: 30, draft: 55, actual: 25 },
      ],
      losers: [],
    });
    const funders = report.funders.toSorted((a, b) => (a.funder < b.funder ? -1 : 1));
    // Milk costs 40 minor units, of which the dairy bears 80 percent.
    expect(funders).toEqual([
      { funder: 'dairy', draft: 32, actual: 0 },
      { funder: 'program', draft: 90, actual: 82 },
    ]);
    expect(report.days.map(({ draft, actual }) => draft - actual).reduce((a, b) => a + b)).toBe(80);
  });

  test.each([
    // 30 minor units are 60 points: 40, 10, and of 50 the 10 that are left; then 20 come back.
    ['trim', { points: 40, takenBack: 20 }, 40],
    ['refuse', { points: 30, takenBack: 20 }, 30],
  ])('with a budget gives what the budget has, and then does %s', async (whenFull, milk, used) => {
    const { shop } = await openShop();
    const report = await backtest(shop, fileOf(`${ledger}${budgets(whenFull)}`));
    expect(report.rules.find(({ rule }) => rule === 'milk')?.draft).toMatchObject(milk);
    expect(report.budgets).toMatchObject([{ budget: 'campaign', total: 60, used, money: used / 2 }]);
    expect(report.budgets[0]!.emptySince).toMatch(/^2/);
    expect(report.budgets[0]!.days.reduce((sum, day) => sum + day.used, 0)).toBe(used);
  });

  test('refuses receipts that the program took, and says how many', async () => {
    const { shop } = await openShop();
    const report = await backtest(shop, fileOf(`${ledger.replace('EUR', 'USD')}moneyCurrencies: [USD]\n`));
    expect(report).toMatchObject({ receipts: 4, receiptsOtherwise: 4, points: { draft: 0, actual: 164 } });
    expect(report.refused).toMatchObject([{ receipts: 4 }]);
    expect(report.losers).toHaveLength(3);
  });

  test('is asked for by a command, which prints a table or JSON, draws a picture and changes nothing', {
    timeout: 180_000,
  }, async () => {
    const { shop } = await openShop();
    await engine.drained();
    const path = (name: string) => join(engine.stores.folder, name);
    await writeFile(path('draft.yaml'), `${ledger}${budgets('trim')}`);
    await writeFile(path('elsewhere.yaml'), ledger.replace('Europe/Berlin', 'Europe/Paris'));
    const run = commandOf('earning/program-command.ts', {
      PATH: process.env.PATH,
      DATABASE_URL: engine.stores.databaseUrl,
      DATA_DIR: engine.stores.folder,
    });
    const flags = ['--program', shop.program.name];
    const picture = path('picture.svg');
    const printed = await run('backtest', path('draft.yaml'), ...flags, '--svg', picture);
    expect(printed).toMatchObject({ code: 0, complaint: '' });
    expect(printed.out).toContain('4 receipts of');
    expect(printed.out).toContain('204 points by the draft, 164 in the ledger: +40.');
    expect(printed.out).toMatch(/milk +points +40 +0 +\+40 +0\.20 EUR/);
    expect(await readFile(picture, 'utf8')).toMatch(/^<svg .*milk.*<\/svg>\n$/s);
    const json = await run('backtest', path('draft.yaml'), ...flags, '--json', '--from', '2026-01-01');
    expect(JSON.parse(json.out)).toMatchObject({ receipts: 4, points: { draft: 204, actual: 164 } });
    const before = await run('backtest', path('draft.yaml'), ...flags, '--to', '2020-12-31');
    expect(before.out).toContain('0 receipts of');
    expect(await run('backtest', path('elsewhere.yaml'), ...flags)).toMatchObject({ code: 2 });
    expect(await run('backtest', path('draft.yaml'), ...flags, '--from', 'soon')).toMatchObject({ code: 2 });
  });
});
