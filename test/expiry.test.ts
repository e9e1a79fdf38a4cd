/** When points end, end later, or begin to count: through the API, with the clock of a test program. */
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { bookMember } from '#src/jobs/due.ts';
import { createEviction } from '#src/jobs/eviction.ts';
import { type OperationHex, parseMemberId, parseOperationId, shardOfMember } from '#src/values.ts';
import { readPast } from '#src/wallet/past.ts';
import { amountRule, reference, type Shop, startEngine } from './harness.ts';
import { auditOf } from './house/books.ts';
import type { Answer } from './house/client.ts';

const engine = await startEngine({ shardCount: 2 });
afterAll(() => engine.end());

type ExpiryInput = NonNullable<ProgramFileInput['currencies'][number]['expiry']>;
type RuleInput = NonNullable<ProgramFileInput['rules']>[number];

/** A program whose points end so, with its clock at a time ahead. */
async function shopOf(
  expiry: ExpiryInput,
  at: string,
  zone = 'UTC',
  rules: RuleInput[] = [amountRule('spend', 'points', [1, 100])],
): Promise<Shop> {
  const currencies = [{ code: 'points', expiry }];
  const shop = await engine.shop({ mode: 'test', timeZone: zone, definition: { currencies, rules } });
  await shop.setClock(millis(at, zone));
  return shop;
}

function millis(at: string, zone = 'UTC'): number {
  return DateTime.fromISO(at, { zone }).toMillis();
}

interface Lot {
  readonly points: number;
  readonly expiresOn: string | null;
}

async function lotsOf(shop: Shop, member: string, of: 'lots' | 'pendingLots' = 'lots'): Promise<Lot[]> {
  const { status, body } = await shop.care('GET', `/v1/members/${member}/balances`);
  expect(status, JSON.stringify(body)).toBe(200);
  return (body.balances as Record<string, Record<string, Lot[]>>).points![of]!;
}

function extend(shop: Shop, member: string, body: Record<string, unknown>): Promise<Answer> {
  const whole = { reference: reference(), reason: 'goodwill', ...body };
  return shop.care('POST', `/v1/members/${member}/extensions`, whole);
}

const later = { store: 's-1', currency: 'EUR', lines: [{ line: 1, amount: 10_000 }] };

// The published examples of programs, moved by whole years into the time that a test clock can reach.
test.each<[string, ExpiryInput, string, earned: string, occurred: string, ends: string]>([
  [
    '36 months to the end of the month',
    { kind: 'month_end', months: 36, from: 'posting' },
    'Asia/Singapore',
    '2037-07-10T12:00',
    '2037-07-10T12:00',
    '2040-07-31',
  ],
  [
    'from posting, not from the flight',
    { kind: 'month_end', months: 36, from: 'posting' },
    'Asia/Singapore',
    '2038-08-02T09:00',
    '2038-07-28T09:00',
    '2041-08-31',
  ],
  [
    'a calendar year and three',
    { kind: 'year_end', years: 3 },
    'Asia/Kolkata',
    '2035-05-05T10:00',
    '2035-05-05T10:00',
    '2038-12-31',
  ],
  [
    'the month itself without a birthday',
    { kind: 'birthday_month', years: 3 },
    'Asia/Dubai',
    '2032-06-12T10:00',
    '2032-06-12T10:00',
    '2035-06-30',
  ],
  [
    '24 months where no tier says otherwise',
    {
      kind: 'tier',
      tiers: { gold: { kind: 'month_end', months: 36 } },
      otherwise: { kind: 'month_end', months: 24 },
    },
    'Asia/Dubai',
    '2035-01-15T10:00',
    '2035-01-15T10:00',
    '2037-01-31',
  ],
  [
    '18 months without activity',
    { kind: 'inactivity', months: 18 },
    'America/Chicago',
    '2033-03-31T10:00',
    '2033-03-31T10:00',
    '2034-09-30',
  ],
  [
    'a year from 29 February',
    { kind: 'inactivity', months: 12 },
    'Europe/Berlin',
    '2036-02-29T10:00',
    '2036-02-29T10:00',
    '2037-02-28',
  ],
  [
    'through the end of a day that has 23 hours',
    { kind: 'days', days: 10 },
    'Europe/Berlin',
    '2027-03-18T23:30',
    '2027-03-18T23:30',
    '2027-03-28',
  ],
])('points end after %s', async (_name, expiry, zone, earned, occurred, ends) => {
  const shop = await shopOf(expiry, earned, zone);
  const member = await shop.enrol();
  const occurredAt = new Date(millis(occurred, zone)).toISOString();
  expect((await shop.accrue(member, 70, { occurredAt })).status).toBe(201);
  expect(await lotsOf(shop, member)).toEqual([{ points: 70, expiresOn: ends }]);
  const end = DateTime.fromISO(ends, { zone }).plus({ days: 1 }).startOf('day').toMillis();
  await shop.setClock(end - 20_000);
  expect((await shop.balances(member)).available).toBe(70);
  await shop.setClock(end);
  // Nothing has swept: the balance is right by itself.
  expect((await shop.balances(member)).available).toBe(0);
});

test('points end with the month of birth: earned in June, born in August, three years later', async () => {
  const shop = await shopOf({ kind: 'birthday_month', years: 3 }, '2032-06-12T10:00', 'Asia/Dubai');
  const member = reference('born').replaceAll('/', '-');
  expect((await shop.pos('POST', '/v1/members', { member, birthday: '--08-17' })).status).toBe(201);
  await shop.accrue(member, 70);
  expect(await lotsOf(shop, member)).toEqual([{ points: 70, expiresOn: '2035-08-31' }]);
});

test('points that never end are there a century later', async () => {
  const shop = await shopOf({ kind: 'never' }, '2030-01-01');
  const member = await shop.enrol();
  await shop.accrue(member, 5);
  await shop.setClock(millis('2120-01-01'));
  expect((await shop.balances(member)).available).toBe(5);
});

test('an extension moves the end of what it names and no points; a repeat answers the same', async () => {
  const shop = await shopOf({ kind: 'month_end', months: 1 }, '2031-01-10T10:00', 'Europe/Berlin');
  const member = await shop.enrol();
  await shop.accrue(member, 10);
  await shop.setClock(millis('2031-02-10T10:00', 'Europe/Berlin'));
  await shop.accrue(member, 20);
  const body = { reference: reference(), reason: 'ill', months: 6, expiringBefore: '2031-03-01' };
  const path = `/v1/members/${member}/extensions`;
  const first = await shop.care('POST', path, body);
  expect([first.status, first.body.points, first.body.lots]).toEqual([
    201,
    10,
    [{ points: 10, expiredOn: '2031-02-28', expiresOn: '2031-08-31' }],
  ]);
  const repeat = await shop.care('POST', path, body);
  expect([repeat.status, repeat.body]).toEqual([201, first.body]);
  expect((await shop.care('POST', path, { ...body, months: 7 })).code).toBe('reference_reused');
  expect(await lotsOf(shop, member)).toEqual([
    { points: 20, expiresOn: '2031-03-31' },
    { points: 10, expiresOn: '2031-08-31' },
  ]);
  await shop.setClock(millis('2031-04-01', 'Europe/Berlin'));
  expect((await shop.balances(member)).available).toBe(10);
  // Never shortened: what ends later already stays.
  const none = await extend(shop, member, { until: '2031-05-01' });
  expect([none.status, none.body.points]).toEqual([201, 0]);
  expect((await extend(shop, member, { until: '2031-05-01', months: 1 })).code).toBe('validation_failed');
  expect((await shop.pos('POST', path, { ...body, reference: reference() })).code).toBe('role_not_allowed');
});

test('an accrual whose points were extended is still taken back whole', async () => {
  const shop = await shopOf({ kind: 'days', days: 30 }, '2031-01-10');
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 40);
  await extend(shop, member, { months: 2 });
  const back = { reference: reference(), occurredAt: shop.time() };
  expect((await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, back)).status).toBe(201);
  expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
});

const waiting: RuleInput[] = [
  amountRule('spend', 'points', [1, 100]),
  amountRule('stay', 'points', [2, 100], { pending: { kind: 'event', daysMax: 30 } }),
  amountRule('review', 'points', [3, 100], {
    pending: { kind: 'event', daysMax: 30 },
    expiry: { kind: 'days', days: 60 },
  }),
];
const unlocking = (shop: Shop, id: unknown, more = {}) =>
  shop.checkout('POST', `/v1/accruals/${String(id)}/releases`, { reference: reference(), ...more });

test('points that wait for an event count from their release, rule by rule, and end as their rule says by the day of earning', async () => {
  const shop = await shopOf({ kind: 'year_end', years: 1 }, '2031-01-10', 'UTC', waiting);
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  expect(await shop.balances(member)).toMatchObject({ available: 100, pending: 500 });
  await shop.setClock(millis('2031-01-20'));
  const body = { reference: reference(), rule: 'review' };
  const released = await shop.checkout('POST', `/v1/accruals/${accrual.id}/releases`, body);
  expect([released.status, released.body.points]).toEqual([
    201,
    [{ currency: 'points', points: 300, expiresOn: '2031-03-11' }],
  ]);
  expect((await shop.checkout('POST', `/v1/accruals/${accrual.id}/releases`, body)).body).toEqual(
    released.body,
  );
  expect(await shop.balances(member)).toMatchObject({ available: 400, pending: 200 });
  expect((await unlocking(shop, accrual.id, { rule: 'spend' })).code).toBe('validation_failed');
  expect((await unlocking(shop, accrual.id)).body.points).toEqual([
    { currency: 'points', points: 200, expiresOn: '2032-12-31' },
  ]);
  expect((await unlocking(shop, accrual.id)).body.points).toEqual([]);
  expect(await lotsOf(shop, member)).toEqual([
    { points: 300, expiresOn: '2031-03-11' },
    { points: 300, expiresOn: '2032-12-31' },
  ]);
  await engine.drained();
  const half = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 1, amount: 5_000 }] };
  expect((await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, half)).status).toBe(201);
  expect(await shop.balances(member)).toMatchObject({ available: 300, pending: 0, debt: 0 });
});

test('a release finds its points also beside awards that became one part because their terms are the same', async () => {
  const joined = [
    amountRule('spend', 'points', [1, 100]),
    waiting[1]!,
    amountRule('more', 'points', [4, 100]),
  ];
  const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [...joined, waiting[2]!]);
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  expect(await shop.balances(member)).toMatchObject({ available: 500, pending: 500 });
  await engine.drained();
  const shown = await shop.care('GET', `/v1/operations/${accrual.id}`);
  const wallets = (shown.body.entries as { account: string; points: number }[]).filter(
    ({ account }) => account === 'wallet',
  );
  expect(wallets.map(({ points }) => points)).toEqual([500, 200, 300]);
  expect((await unlocking(shop, accrual.id, { rule: 'review' })).body.points).toMatchObject([
    { points: 300 },
  ]);
  expect((await unlocking(shop, accrual.id, { rule: 'stay' })).body.points).toMatchObject([{ points: 200 }]);
  expect(await shop.balances(member)).toMatchObject({ available: 1_000, pending: 0 });
});

test('what was taken back before is not released, and a lot shared by two accruals is released for one only', async () => {
  const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [waiting[1]!]);
  const member = await shop.enrol();
  const [first, second] = [await shop.accrue(member, 100), await shop.accrue(member, 50)];
  const half = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 1, amount: 5_000 }] };
  expect((await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, half)).status).toBe(201);
  expect((await unlocking(shop, first.id)).body.points).toEqual([
    { currency: 'points', points: 100, expiresOn: null },
  ]);
  expect(await shop.balances(member)).toMatchObject({ available: 100, pending: 100 });
  await engine.drained();
  const all = () => ({ reference: reference(), occurredAt: shop.time() });
  for (const { id } of [second, first])
    expect((await shop.pos('POST', `/v1/accruals/${id}/reversals`, all())).status).toBe(201);
  expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 0 });
});

test('two who release at the same moment release once', async () => {
  const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [waiting[1]!]);
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  const answers = await Promise.all(Array.from({ length: 4 }, () => unlocking(shop, accrual.id)));
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
  const released = answers.flatMap(({ body }) => body.points as { points: number }[]);
  expect(released.map(({ points }) => points)).toEqual([200]);
  expect(await shop.balances(member)).toMatchObject({ available: 200, pending: 0 });
});

test('what was released is taken back from the lot it went to, also after Redis has forgotten both', async () => {
  const short = amountRule('spend', 'points', [1, 100], { expiry: { kind: 'days', days: 9 } });
  const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [short, waiting[2]!]);
  const member = await shop.enrol();
  const first = await shop.accrue(member, 100);
  expect((await unlocking(shop, first.id)).status).toBe(201);
  await shop.setClock(millis('2031-01-12'));
  await shop.accrue(member, 50);
  await engine.drained();
  await createEviction(engine.app, 0)();
  expect(await engine.redis.keys(`*m:${String(parseMemberId(String(first.body.member)))}`)).toEqual([]);
  const back = { reference: reference(), occurredAt: shop.time() };
  expect((await shop.pos('POST', `/v1/accruals/${first.id}/reversals`, back)).status).toBe(201);
  // Had the lot not been known, the second receipt's points would have been taken, which end sooner.
  expect(await lotsOf(shop, member)).toEqual([{ points: 50, expiresOn: '2031-01-21' }]);
  expect(await shop.balances(member)).toMatchObject({ available: 50, pending: 150, debt: 0 });
});

test('after their last day of waiting there is nothing left to release', async () => {
  const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [waiting[1]!]);
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  await shop.setClock(millis('2031-02-09T23:59:40'));
  expect(await shop.balances(member)).toMatchObject({ available: 0, pending: 200 });
  await shop.setClock(millis('2031-02-10'));
  expect(await shop.balances(member)).toMatchObject({ available: 0, pending: 0 });
  const late = await unlocking(shop, accrual.id);
  expect([late.status, late.body.points]).toEqual([201, []]);
  expect(await shop.balances(member)).toMatchObject({ available: 0, pending: 0 });
});

test('inactivity: all points of a member end together after the last activity, whatever it was', async () => {
  const shop = await shopOf({ kind: 'inactivity', months: 6 }, '2031-01-10T10:00');
  const member = await shop.enrol();
  await shop.accrue(member, 100);
  await shop.setClock(millis('2031-02-10T10:00'));
  await shop.accrue(member, 10);
  expect(await lotsOf(shop, member)).toEqual([{ points: 110, expiresOn: '2031-08-10' }]);
  // A receipt that arrives late is activity of its own day and takes nothing nearer.
  await shop.accrue(member, 5, { occurredAt: new Date(millis('2031-01-20')).toISOString() });
  expect(await lotsOf(shop, member)).toEqual([{ points: 115, expiresOn: '2031-08-10' }]);
  await shop.setClock(millis('2031-03-31T10:00'));
  const spent = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 15 });
  expect(spent.status).toBe(201);
  expect(await lotsOf(shop, member)).toEqual([{ points: 100, expiresOn: '2031-09-30' }]);
  await shop.setClock(millis('2031-05-05T10:00'));
  const hold = await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 30 });
  expect(await lotsOf(shop, member)).toEqual([{ points: 70, expiresOn: '2031-11-05' }]);
  // What comes back was dated when it left; it ends with the rest, and giving back is no activity.
  await shop.setClock(millis('2031-05-05T10:05'));
  await shop.pos('POST', `/v1/holds/${hold.id}/release`, { reference: reference() });
  expect(await lotsOf(shop, member)).toEqual([{ points: 100, expiresOn: '2031-11-05' }]);
  await shop.setClock(millis('2031-10-01T10:00'));
  await engine.drained();
  const back = await shop.pos('POST', `/v1/redemptions/${spent.id}/refunds`, { reference: reference() });
  expect(back.status).toBe(201);
  expect(await lotsOf(shop, member)).toEqual([{ points: 115, expiresOn: '2031-11-05' }]);
  expect((await extend(shop, member, { expiringBefore: '2040-01-01', months: 1 })).code).toBe(
    'validation_failed',
  );
  await extend(shop, member, { months: 1 });
  expect(await lotsOf(shop, member)).toEqual([{ points: 115, expiresOn: '2031-12-05' }]);
  await shop.setClock(millis('2031-12-06'));
  expect((await shop.balances(member)).available).toBe(0);
});

test('inactivity: what an ended hold gives back ends with the rest, also where upkeep finds it', async () => {
  const shop = await shopOf({ kind: 'inactivity', months: 6 }, '2031-01-10T10:00');
  const member = await shop.enrol();
  const { body } = await shop.accrue(member, 100);
  const held = { member, reference: reference(), points: 30, expiresInSeconds: 600 };
  expect((await shop.pos('POST', '/v1/holds', held)).status).toBe(201);
  await shop.setClock(millis('2031-01-11T10:00') - 300_000);
  const again = { member, reference: reference(), points: 20, expiresInSeconds: 86_400 };
  expect((await shop.pos('POST', '/v1/holds', again)).status).toBe(201);
  await shop.setClock(millis('2031-01-12T09:00'));
  expect(
    (await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 5 })).status,
  ).toBe(201);
  await shop.setClock(millis('2031-01-12T10:00'));
  await engine.drained();
  await engine.app.programs.refresh();
  const program = engine.app.programs.get(shop.program.number)!;
  expect(await bookMember(engine.app, program, parseMemberId(String(body.member))!)).toBe(true);
  await engine.drained();
  const { rows } = await engine.pool.query<{ points: number; expires_at: number }>(
    'select points, expires_at from lot where member = $1 and is_open',
    [parseMemberId(String(body.member))],
  );
  expect(rows).toEqual([{ points: 95, expires_at: millis('2031-07-13') }]);
});

test('inactivity by earning alone: spending keeps nothing alive', async () => {
  const shop = await shopOf({ kind: 'inactivity', months: 6, activity: 'earning' }, '2031-01-10T10:00');
  const member = await shop.enrol();
  await shop.accrue(member, 100);
  await shop.setClock(millis('2031-02-10T10:00'));
  await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 15 });
  expect(await lotsOf(shop, member)).toEqual([{ points: 85, expiresOn: '2031-07-10' }]);
  await shop.accrue(member, 0, { purchase: later });
  expect(await lotsOf(shop, member)).toEqual([{ points: 185, expiresOn: '2031-08-10' }]);
});

const reversing = (shop: Shop, id: string, more = {}) =>
  shop.pos('POST', `/v1/accruals/${id}/reversals`, {
    reference: reference(),
    occurredAt: shop.time(),
    ...more,
  });

/** Sums of a program's entries by account. */
async function booksOf(shop: Shop): Promise<Record<string, number>> {
  await engine.drained();
  const { rows } = await engine.pool.query<{ account: string; points: number }>(
    'select account, sum(points)::int as points from entry where program = $1 group by 1 having sum(points) <> 0',
    [shop.program.number],
  );
  return Object.fromEntries(rows.map(({ account, points }) => [account, points]));
}

test('points that ended after their end was moved, or after they came back with a later one, are reversed in the books alone', async () => {
  const currencies = [{ code: 'points', expiry: { kind: 'days' as const, days: 10 }, reinstatedDaysMin: 30 }];
  const rules = [amountRule('spend', 'points', [1, 100])];
  const shop = await engine.shop({ mode: 'test', timeZone: 'UTC', definition: { currencies, rules } });
  await shop.setClock(millis('2031-01-10'));
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  expect((await extend(shop, member, { until: '2031-02-15' })).status).toBe(201);
  await shop.setClock(millis('2031-01-15'));
  const spent = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 40 });
  await shop.setClock(millis('2031-02-10'));
  const refund = await shop.pos('POST', `/v1/redemptions/${spent.id}/refunds`, { reference: reference() });
  expect(refund.status).toBe(201);
  expect(await lotsOf(shop, member)).toEqual([
    { points: 60, expiresOn: '2031-02-15' },
    { points: 40, expiresOn: '2031-03-12' },
  ]);
  await shop.setClock(millis('2031-04-01'));
  const other = await shop.accrue(member, 70);
  expect(await booksOf(shop)).toEqual({ wallet: 70, breakage: 100, issuance: -170 });
  const reversed = await reversing(shop, accrual.id);
  expect([reversed.status, reversed.body.expired, reversed.body.shortfall]).toEqual([
    201,
    [{ currency: 'points', points: 100 }],
    [],
  ]);
  expect(await shop.balances(member)).toMatchObject({ available: 70, debt: 0 });
  expect(await booksOf(shop)).toEqual({ wallet: 70, issuance: -70 });
  await reversing(shop, other.id);
  expect(await booksOf(shop)).toEqual({});
});

test.each([
  ['also have', 0],
  ['do not have', 1],
])(
  'points of a merged member that were released at the survivor and ended are known where its lots %s their numbers',
  async (_, before) => {
    const days = (count: number) => ({ kind: 'days' as const, days: count });
    const stay = amountRule('stay', 'points', [2, 100], {
      pending: { kind: 'event', daysMax: 30 },
      expiry: days(20),
    });
    const shop = await shopOf({ kind: 'never' }, '2031-01-10', 'UTC', [stay]);
    const [member, survivor] = [await shop.enrol(), await shop.enrol()];
    if (before > 0) {
      const grant = { points: 70, product: 'gift' };
      const body = { member: survivor, reference: reference(), occurredAt: shop.time(), grant };
      expect((await shop.pos('POST', '/v1/accruals', body)).status).toBe(201);
    }
    const accrual = await shop.accrue(member, 100);
    const merge = { reference: reference(), reason: 'one person', into: survivor };
    expect((await shop.admin('POST', `/v1/members/${member}/merge`, merge)).status).toBeLessThan(300);
    await shop.setClock(millis('2031-01-15'));
    expect((await unlocking(shop, accrual.id)).body.points).toMatchObject([{ points: 200 }]);
    await shop.setClock(millis('2031-02-02'));
    const half = await reversing(shop, accrual.id, { lines: [{ line: 1, amount: 5_000 }] });
    expect([half.body.expired, half.body.shortfall]).toEqual([[{ currency: 'points', points: 100 }], []]);
    await engine.drained();
    await createEviction(engine.app, 0)();
    const rest = await reversing(shop, accrual.id);
    expect([rest.body.expired, rest.body.shortfall]).toEqual([[{ currency: 'points', points: 100 }], []]);
    expect(await shop.balances(survivor)).toMatchObject({ available: 70 * before, debt: 0 });
  },
);

test('of a member of too many movements nothing that ended counts: the records of what returns took already are the newest', async () => {
  const shop = await shopOf({ kind: 'days', days: 10 }, '2031-01-10');
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 100);
  await shop.setClock(millis('2031-02-10'));
  const half = await reversing(shop, accrual.id, { lines: [{ line: 1, amount: 5_000 }] });
  expect(half.body.expired).toEqual([{ currency: 'points', points: 50 }]);
  await engine.drained();
  const number = parseMemberId(String(accrual.body.member))!;
  const { rows } = await engine.pool.query<{ operation: OperationHex; currency: number; of: number }>(
    `select replace(operation::text, '-', '') as operation, (count(*) over ())::int as of,
       (select currency from lot where member = $1) as currency
     from operation where member = $1 order by operation limit 1`,
    [number],
  );
  const { operation, currency, of } = rows[0]!;
  const read = (recordsMax: number) =>
    readPast(engine.pool, shardOfMember(number, 2), [[operation, currency, 1]], recordsMax);
  expect(await read(of)).toMatchObject({ member: number, lots: [[currency, number, 1, 50]] });
  expect(await read(of - 1)).toMatchObject({ member: number, rows: [[currency, 1, []]], lots: [] });
});

test.each([
  ['fewer', 60, 40],
  ['more', 130, 30],
])(
  'the audit names a return that says of %s points where they had ended than it took from breakage',
  async (_, said, points) => {
    const shop = await shopOf({ kind: 'days', days: 10 }, '2031-01-10');
    const accrual = await shop.accrue(await shop.enrol(), 100);
    await shop.setClock(millis('2031-02-10'));
    const { operation } = parseOperationId((await reversing(shop, accrual.id)).id)!;
    await engine.drained();
    const member = parseMemberId(String(accrual.body.member))!;
    const change = (from: number, to: number) =>
      engine.pool.query(
        `update operation set effect = regexp_replace(effect::text, '("expired":\\[\\[\\d+,)' || $2::int, '\\1' || $3::int)::json
       where operation = $1`,
        [operation, from, to],
      );
    await engine.pool.query('alter table operation disable trigger user');
    try {
      await change(100, said);
      const { findings } = await auditOf(engine.stores);
      expect(findings.filter(({ check }) => check === 'ended')).toMatchObject([
        { where: { member }, points },
      ]);
    } finally {
      await change(said, 100);
      await engine.pool.query('alter table operation enable trigger user');
    }
    expect((await auditOf(engine.stores)).findings).toEqual([]);
  },
);

test('receipts of one lot that are reversed at the same moment count a point that ended once', async () => {
  const shop = await shopOf({ kind: 'days', days: 10 }, '2031-01-10');
  const member = await shop.enrol();
  const receipts = [
    await shop.accrue(member, 50),
    await shop.accrue(member, 30),
    await shop.accrue(member, 20),
  ];
  await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 60 });
  await shop.setClock(millis('2031-02-10'));
  await shop.accrue(member, 0);
  await engine.drained();
  await createEviction(engine.app, 0)();
  const answers = await Promise.all(receipts.map(({ id }) => reversing(shop, id)));
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
  const sumOf = (name: 'expired' | 'shortfall') =>
    answers
      .flatMap(({ body }) => body[name] as { points: number }[])
      .reduce((sum, { points }) => sum + points, 0);
  expect([sumOf('expired'), sumOf('shortfall')]).toEqual([40, 60]);
  expect(await shop.balances(member)).toEqual({ available: 0, pending: 0, held: 0, debt: 60 });
  expect(await booksOf(shop)).toEqual({ debt: -60, redemption: 60 });
});
