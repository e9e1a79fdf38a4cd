/**
 * Real receipts through a program with every kind of rule: what a third of the 2,357 sampled customers of the CDNOW shop bought,
 * with flights and reviews made of it. What each rule gave is what a few independent lines over the file say.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { startEngine } from './harness.ts';
import { sampledCustomers } from './house/cdnow-sample.ts';
import { reference, type Shop } from './house/shop.ts';

const path = fileURLToPath(new URL('../../shared/data/cdnow/CDNOW_master.txt', import.meta.url));
const itemsPerCall = 500;

const base = ['base'];
const fresh = { categories: ['cd/new'] };
const program: Partial<ProgramFileInput> = {
  currencies: [{ code: 'points' }, { code: 'stamps', spendable: false }],
  backdateDaysMax: 36_500,
  rules: [
    { name: 'base', currency: 'points', earn: { by: 'amount', points: 1, perMinorUnits: 100 } },
    {
      name: 'share',
      currency: 'points',
      rounding: 'half_up',
      earn: { by: 'amount', points: 3, perMinorUnits: 1_000, steps: 'fraction' },
    },
    {
      name: 'lines',
      currency: 'points',
      earn: { by: 'amount', points: 1, perMinorUnits: 100, each: 'line', lines: { categories: ['cd'] } },
    },
    {
      name: 'pieces',
      currency: 'points',
      earn: { by: 'quantity', points: 2, lines: fresh },
      caps: [
        { points: 10, period: 'receipt' },
        { points: 25, period: 'month' },
      ],
    },
    {
      name: 'visit',
      currency: 'points',
      channels: ['web'],
      earn: { by: 'fixed', points: 5 },
      caps: [{ points: 5, period: 'day', whenFull: 'refuse' }],
    },
    {
      name: 'card',
      currency: 'points',
      earn: { by: 'amount', points: 1, perMinorUnits: 500, paidBy: ['card'] },
    },
    {
      name: 'march',
      currency: 'stamps',
      when: 'receipt.total >= 5000 && at.month == 3',
      earn: { by: 'fixed', points: 9 },
    },
    {
      name: 'review',
      on: 'activity',
      activities: ['review'],
      currency: 'points',
      earn: { by: 'fixed', points: 7 },
      caps: [{ points: 14, period: 'month', whenFull: 'refuse' }],
    },
    {
      name: 'miles',
      on: 'flight',
      carriers: ['CD'],
      currency: 'points',
      earn: {
        by: 'distance',
        classes: [
          { codes: ['Y'], percent: 75, minimumMiles: 50 },
          { codes: ['X'], percent: 0 },
        ],
      },
    },
    {
      name: 'fare',
      on: 'flight',
      currency: 'points',
      earn: { by: 'fare', points: 2, perMinorUnits: 100 },
      caps: [{ points: 60, period: 'ticket' }],
    },
  ],
  groups: [
    { name: 'days', combine: 'best' },
    { name: 'goods', combine: 'additive', factorMax: 3 },
  ],
  budgets: [{ name: 'campaign', points: 2_000, whenFull: 'trim' }],
  promotions: [
    {
      name: 'born',
      currency: 'points',
      group: 'days',
      during: { member: 'birthday_month' },
      multiply: { by: 2, rules: base },
      caps: [{ points: 40, period: 'year' }],
    },
    {
      name: 'member-day',
      currency: 'points',
      group: 'days',
      during: { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' },
      multiply: { by: 3, rules: base },
      caps: [{ points: 50, period: 'day' }],
    },
    {
      name: 'wednesday',
      currency: 'points',
      group: 'days',
      during: { repeat: 'FREQ=WEEKLY;BYDAY=WE' },
      multiply: { by: 2, rules: base },
    },
    { name: 'a-new', currency: 'points', group: 'goods', multiply: { by: 2, rules: base, lines: fresh } },
    {
      name: 'b-big',
      currency: 'points',
      group: 'goods',
      when: 'receipt.total >= 5000',
      multiply: { by: 3, rules: base },
    },
    { name: 'first', currency: 'points', purchaseNumber: 1, earn: { by: 'fixed', points: 20 } },
    { name: 'third', currency: 'points', purchaseNumber: 3, earn: { by: 'fixed', points: 30 } },
    {
      name: 'much',
      currency: 'points',
      spendReached: { minorUnits: 10_000, period: 'month' },
      earn: { by: 'fixed', points: 40 },
    },
    { name: 'coupon', currency: 'stamps', code: 'GO', earn: { by: 'fixed', points: 15 } },
    {
      name: 'basket',
      currency: 'points',
      basket: [{ lines: fresh, amountMin: 3_000 }],
      earn: { by: 'fixed', points: 3 },
      caps: [{ points: 7, period: 'lifetime' }],
    },
    {
      name: 'campaign',
      currency: 'points',
      earn: { by: 'amount', points: 1, perMinorUnits: 200 },
      budget: 'campaign',
    },
  ],
};

/** A row of the file, and what is made of it. */
interface Bought {
  readonly customer: number;
  /** Such as 1997-01-31. */
  readonly date: string;
  readonly discs: number;
  readonly cents: number;
}

function boughtOf(): Bought[] {
  const sampled = new Set([...sampledCustomers()].filter((_, i) => i % 3 === 0));
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([customer]) => sampled.has(Number(customer)))
    .map(([customer = '', date = '', discs = '', dollars = '']) => ({
      customer: Number(customer),
      date: `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`,
      discs: Number(discs),
      cents: Math.round(Number(dollars) * 100),
    }))
    .sort((a, b) => (a.date < b.date ? -1 : a.date > b.date ? 1 : 0));
}

const oldOf = ({ cents }: Bought) => Math.floor(cents / 3);
const newOf = (row: Bought) => row.cents - oldOf(row);
const giftCardOf = ({ customer, cents }: Bought) => (customer % 5 === 0 ? Math.floor(cents / 4) : 0);
const isCash = ({ customer }: Bought) => customer % 5 === 1;
const isWeb = ({ customer }: Bought) => customer % 2 === 1;
const hasCode = ({ customer }: Bought) => customer % 7 === 0;
const birthMonthOf = (customer: number) => (customer % 10 === 0 ? (customer % 12) + 1 : 0);
const milesOf = ({ discs }: Bought) => discs * 37 + 10;
const two = (number: number) => String(number).padStart(2, '0');

/** What a till, an airline and a shop's site send of a row. */
function subjectsOf(row: Bought): object[] {
  const { customer, date, discs, cents } = row;
  const rest = cents - giftCardOf(row);
  const purchase = {
    currency: 'USD',
    ...(isWeb(row) ? { channel: 'web' } : {}),
    ...(hasCode(row) ? { codes: ['GO'], order: `${customer} ${date.slice(0, 7)}` } : {}),
    lines: [
      { line: 1, category: 'cd/new', quantity: String(discs), amount: newOf(row) },
      { line: 2, category: 'cd/old', amount: oldOf(row) },
    ],
    payments: [
      { means: 'gift_card', amount: giftCardOf(row) },
      { means: isCash(row) ? 'cash' : 'card', amount: rest },
    ],
  };
  const flight = {
    ...{
      carrier: 'CD',
      flightNumber: '1',
      date,
      from: 'A',
      to: 'B',
      ticket: `${customer} ${date.slice(0, 7)}`,
    },
    ...{ distanceMiles: milesOf(row), bookingClass: discs === 1 ? 'X' : 'Y' },
    fare: { amount: cents, currency: 'USD' },
  };
  return [
    { purchase },
    ...(customer % 3 === 0 ? [{ activity: { type: 'review' } }] : []),
    ...(customer % 4 === 0 ? [{ flight }] : []),
  ];
}

/** Counts up to a maximum; answers what was left of it. */
function counters() {
  const stood = new Map<string, number>();
  return {
    count: (key: string, by: number) => {
      const before = stood.get(key) ?? 0;
      stood.set(key, before + by);
      return before;
    },
    trim(key: string, wanted: number, most: number): number {
      const given = Math.min(wanted, most - (stood.get(key) ?? 0));
      stood.set(key, (stood.get(key) ?? 0) + given);
      return given;
    },
    refuse(key: string, wanted: number, most: number): number {
      if ((stood.get(key) ?? 0) + wanted > most) return 0;
      stood.set(key, (stood.get(key) ?? 0) + wanted);
      return wanted;
    },
  };
}

type Totals = Record<string, number>;

/** The best of the days: the first in the alphabet where several give the same. */
function daysOf({ customer, date }: Bought, points: number): [name: string, points: number] {
  const all: [string, number][] = [];
  if (birthMonthOf(customer) === Number(date.slice(5, 7))) all.push(['born', points]);
  if (date.endsWith('-08')) all.push(['member-day', 2 * points]);
  if (new Date(date).getUTCDay() === 3) all.push(['wednesday', points]);
  return all.reduce<[string, number]>((best, each) => (each[1] > best[1] ? each : best), ['wednesday', 0]);
}

/** The independent lines: every rule for itself, receipt after receipt. */
function totalsOf(rows: readonly Bought[]): Totals {
  const totals: Totals = {};
  const caps = counters();
  const give = (rule: string, points: number) => {
    totals[rule] = (totals[rule] ?? 0) + points;
  };
  for (const row of rows) {
    const { customer, date, discs, cents } = row;
    const [month, year] = [`${customer} ${date.slice(0, 7)}`, `${customer} ${date.slice(0, 4)}`];
    const paid = cents - giftCardOf(row);
    const share = (part: number) => (paid === cents ? part : Math.floor((part * paid) / cents));
    const whole = Math.floor(paid / 100);
    const ofNew = Math.min(whole, Math.floor(share(newOf(row)) / 100));
    give('base', whole);
    give('share', Math.floor((paid * 3 + 500) / 1_000));
    give('lines', Math.floor(share(newOf(row)) / 100) + Math.floor(share(oldOf(row)) / 100));
    const pieces = Math.floor((2 * share(discs * 1_000_000)) / 1_000_000);
    give('pieces', caps.trim(`pieces ${month}`, Math.min(pieces, 10), 25));
    if (isWeb(row)) give('visit', caps.refuse(`visit ${customer} ${date}`, 5, 5));
    give('card', isCash(row) ? 0 : Math.floor(paid / 500));
    if (paid >= 5_000 && date.slice(5, 7) === '03') give('march', 9);
    if (customer % 3 === 0) give('review', caps.refuse(`review ${month}`, 7, 14));
    if (customer % 4 === 0) {
      give('miles', discs === 1 ? 0 : Math.max(50, Math.floor(milesOf(row) * 0.75)));
      give('fare', caps.trim(`fare ${month}`, Math.floor((cents * 2) / 100), 60));
    }
    const [day, bonus] = daysOf(row, whole);
    if (day === 'born') give(day, caps.trim(`born ${year}`, bonus, 40));
    else give(day, day === 'member-day' ? caps.trim(`day ${customer} ${date}`, bonus, 50) : bonus);
    give('a-new', ofNew);
    if (paid >= 5_000) give('b-big', 2 * whole - ofNew);
    // Shipments of an order are one purchase, until there were as many as the highest number asks for.
    const made = caps.count(`purchases ${customer}`, 0);
    const isFurther = hasCode(row) && made < 3 && caps.count(`order ${month}`, 1) > 0;
    if (!isFurther) caps.count(`purchases ${customer}`, 1);
    if (!isFurther) give('first', made === 0 ? 20 : 0);
    if (!isFurther) give('third', made === 2 ? 30 : 0);
    const spent = caps.count(`spent ${month}`, paid);
    give('much', spent < 10_000 && spent + paid >= 10_000 ? 40 : 0);
    if (hasCode(row)) give('coupon', caps.refuse(`coupon ${month}`, 15, 15));
    const wanted = share(newOf(row)) < 3_000 ? 0 : hasCode(row) ? caps.trim(`basket of ${month}`, 3, 3) : 3;
    give('basket', caps.trim(`basket ${customer}`, wanted, 7));
    give('campaign', Math.floor(paid / 200));
  }
  return { ...totals, campaign: Math.min(2_000, totals.campaign ?? 0) };
}

interface Item {
  readonly status: number;
  readonly accrual?: { readonly awards: readonly { readonly rule: string; readonly points: number }[] };
}

async function send(shop: Shop, rows: readonly Bought[]): Promise<Totals> {
  const totals: Totals = {};
  const items = rows.flatMap((row) =>
    subjectsOf(row).map((subject) => ({
      member: `c${row.customer}`,
      enrol: true,
      reference: reference(),
      occurredAt: `${row.date}T12:00:00-05:00`,
      ...subject,
    })),
  );
  for (let from = 0; from < items.length; from += itemsPerCall) {
    const answer = await shop.pos('POST', '/v1/accruals/bulk', {
      items: items.slice(from, from + itemsPerCall),
    });
    for (const { status, accrual } of answer.body.data as Item[]) {
      expect(status).toBe(201);
      for (const { rule, points } of accrual!.awards) totals[rule] = (totals[rule] ?? 0) + points;
    }
  }
  return totals;
}

describe.skipIf(!existsSync(path))(`CDNOW (skipped where ${path} is missing)`, async () => {
  const engine = await startEngine({ shardCount: 4 });
  afterAll(() => engine.end());

  test('every rule of a program with every kind gives what independent lines say, and the books have it', async () => {
    const shop = await engine.shop({ timeZone: 'America/New_York', definition: program });
    const rows = boughtOf();
    expect(rows.length).toBeGreaterThan(2_000);
    const born = [...new Set(rows.map(({ customer }) => customer))].filter((each) => birthMonthOf(each) > 0);
    await Promise.all(
      born.map((customer) =>
        shop.pos('POST', '/v1/members', {
          member: `c${customer}`,
          birthday: `1970-${two(birthMonthOf(customer))}-15`,
        }),
      ),
    );
    const expected = totalsOf(rows);
    const rules = [...program.rules!, ...program.promotions!].map(({ name }) => name);
    expect(rules.filter((rule) => !((expected[rule] ?? 0) > 0))).toEqual([]);
    expect(await send(shop, rows)).toEqual(expected);
    await engine.drained();
    const { rows: sums } = await engine.pool.query<{ points: number }>(
      `select sum(e.points)::bigint as points from entry e join operation o on o.operation = e.operation
       where o.program = $1 and e.account = 'wallet'`,
      [shop.program.number],
    );
    expect(sums[0]!.points).toBe(Object.values(expected).reduce((sum, points) => sum + points, 0));
    await engine.audit();
  }, 240_000);
});
