/** Reading back what happened: a member's statement, and single operations. */
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import { amountRule, inDays, reference, startEngine, uuidV7 } from './harness.ts';
import type { Answer } from './house/client.ts';

const engine = await startEngine({ shardCount: 3 });
afterAll(() => engine.end());
const shop = await engine.shop({
  mode: 'test',
  timeZone: 'Europe/Berlin',
  definition: {
    currencies: [{ code: 'points' }, { code: 'miles' }],
    rules: [
      amountRule('spend', 'points', [1, 100]),
      amountRule('fly', 'miles', [2, 100], { pending: inDays(10), expiry: inDays(30) }),
    ],
  },
});

type Entry = Readonly<Record<string, unknown>>;
type Line = [kind: string, currency: string, bucket: string, points: number, balanceAfter: number];

async function statement(member: string, query = ''): Promise<Answer> {
  const answer = await shop.care('GET', `/v1/members/${member}/statement${query}`);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer;
}

function entriesOf(answer: Answer): Entry[] {
  return answer.body.data as Entry[];
}

function lines(entries: readonly Entry[]): Line[] {
  return entries.map((e) => [e.kind, e.currency, e.bucket, e.points, e.balanceAfter] as Line);
}

test('shows every movement newest first, by currency and bucket, with the figure after it', async () => {
  const member = await shop.enrol();
  const purchase = { store: 's-7', order: 'o-1', currency: 'EUR', lines: [{ line: 1, amount: 10_000 }] };
  const accrual = await shop.accrue(member, 0, { purchase });
  await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 30 });
  const held = await shop.pos('POST', '/v1/holds', { member, reference: reference(), points: 40 });
  await shop.pos('POST', `/v1/holds/${held.id}/capture`, { reference: reference(), points: 25 });
  await shop.pos('POST', `/v1/accruals/${accrual.id}/reversals`, {
    reference: reference(),
    occurredAt: shop.time(),
  });
  const answer = await statement(member);
  expect(lines(entriesOf(answer))).toEqual([
    ['reversal', 'points', 'available', -45, 0],
    ['reversal', 'points', 'debt', 55, 55],
    ['reversal', 'miles', 'pending', -200, 0],
    ['redemption', 'points', 'available', 15, 45],
    ['redemption', 'points', 'held', -40, 0],
    ['hold', 'points', 'available', -40, 30],
    ['hold', 'points', 'held', 40, 40],
    ['redemption', 'points', 'available', -30, 70],
    ['accrual', 'points', 'available', 100, 100],
    ['accrual', 'miles', 'pending', 200, 200],
  ]);
  const [points, miles] = entriesOf(answer).slice(-2);
  expect(points).toMatchObject({ operation: accrual.id, order: 'o-1', store: 's-7', rule: 'spend' });
  expect(points).not.toHaveProperty('expiresOn');
  const lastDay = DateTime.fromMillis(shop.now(), { zone: 'Europe/Berlin' }).plus({ days: 30 }).toISODate();
  expect(miles).toMatchObject({ rule: 'fly', expiresOn: lastDay });
  expect(answer.body).toMatchObject({ object: 'list', member: accrual.body.member, nextCursor: null });
  expect(Math.abs(Date.parse(String(answer.body.asOf)) - shop.now())).toBeLessThan(5_000);
});

test('pages of any size make the same whole, also where a page ends inside an operation', async () => {
  const member = await shop.enrol();
  for (let i = 1; i <= 6; i += 1) {
    await shop.accrue(member, i * 10);
    // A receipt that earns nothing makes no entry.
    await shop.accrue(member, 0);
  }
  const whole = entriesOf(await statement(member));
  expect(whole).toHaveLength(12);
  for (const limit of [1, 3, 5, 12]) {
    const gathered: Entry[] = [];
    let cursor = '';
    for (let page = 0; page < 20; page += 1) {
      const answer = await statement(member, `?limit=${limit}${cursor}`);
      gathered.push(...entriesOf(answer));
      expect(entriesOf(answer).length).toBeLessThanOrEqual(limit);
      if (answer.body.nextCursor === null) break;
      cursor = `&cursor=${String(answer.body.nextCursor)}`;
    }
    expect(gathered).toEqual(whole);
  }
});

test('is bounded by times, and by days in the zone of the program', async () => {
  const member = await shop.enrol();
  await shop.accrue(member, 1);
  const today = new Date(shop.now()).toLocaleDateString('en-CA', { timeZone: 'Europe/Berlin' });
  await shop.advance(2 * 86_400);
  const between = shop.time();
  await shop.accrue(member, 2);
  const pointsOf = async (query: string) =>
    entriesOf(await statement(member, query))
      .filter((entry) => entry.currency === 'points')
      .map((entry) => entry.points);
  expect(await pointsOf('')).toEqual([2, 1]);
  expect(await pointsOf(`?to=${today}`)).toEqual([1]);
  expect(await pointsOf(`?from=${today}&to=${today}`)).toEqual([1]);
  expect(await pointsOf(`?from=${encodeURIComponent(between)}`)).toEqual([2]);
  expect(await pointsOf(`?to=${encodeURIComponent(between)}`)).toEqual([1]);
});

test('shows what expired when it was booked', async () => {
  const member = await shop.enrol();
  await shop.accrue(member, 50);
  await shop.advance(40 * 86_400);
  await shop.accrue(member, 1, {
    purchase: { order: 'later', currency: 'EUR', lines: [{ line: 1, amount: 100 }] },
  });
  const expired = entriesOf(await statement(member)).find((entry) => entry.kind === 'expiry');
  expect(expired).toMatchObject({ currency: 'miles', bucket: 'available', points: -100, balanceAfter: 0 });
  expect(expired).not.toHaveProperty('order');
});

test('shows the history of a merged member under the survivor, by either name', async () => {
  const [source, middle, survivor] = [await shop.enrol('a'), await shop.enrol('b'), await shop.enrol('c')];
  await shop.accrue(source, 10);
  await shop.accrue(middle, 20);
  await shop.accrue(survivor, 30);
  for (const [from, into] of [
    [source, middle],
    [middle, survivor],
  ]) {
    const merged = await shop.admin('POST', `/v1/members/${from}/merge`, {
      reference: reference(),
      reason: 'same',
      into,
    });
    expect(merged.status).toBe(200);
  }
  const answer = await statement(survivor, '?limit=200');
  const earned = entriesOf(answer).filter((entry) => entry.kind === 'accrual' && entry.currency === 'points');
  expect(earned.map((entry) => entry.points)).toEqual([30, 20, 10]);
  expect(new Set(earned.map((entry) => entry.member)).size).toBe(3);
  const moved = entriesOf(answer).filter((entry) => entry.kind === 'transfer' && entry.currency === 'points');
  expect(moved.reduce((sum, entry) => sum + Number(entry.points), 0)).toBe(0);
  expect(entriesOf(await statement(source, '?limit=200'))).toEqual(entriesOf(answer));
});

test('refuses what is no cursor, no bound and no member', async () => {
  const member = await shop.enrol();
  const refusal = async (query: string) => {
    const answer = await shop.care('GET', `/v1/members/${member}/statement${query}`, undefined, {
      invalid: true,
    });
    return [answer.status, (answer.body.errors as { pointer: string }[])[0]!.pointer];
  };
  expect(await refusal('?cursor=abc')).toEqual([400, 'query:cursor']);
  expect(await refusal(`?cursor=${Buffer.from('[1e99,1,1,1,0]').toString('base64url')}`)).toEqual([
    400,
    'query:cursor',
  ]);
  expect(await refusal('?limit=201')).toEqual([400, 'query:limit']);
  expect(await refusal('?from=yesterday')).toEqual([400, 'query:from']);
  const unknown = await shop.care('GET', '/v1/members/nobody/statement');
  expect([unknown.status, unknown.code]).toEqual([404, 'member_not_found']);
});

test('an operation is read by its id, with legs that sum to zero, relations and explanation', async () => {
  const member = await shop.enrol();
  const metadata = { till: '4' };
  const accrual = await shop.accrue(member, 100, { metadata });
  const redemption = await shop.pos('POST', '/v1/redemptions', {
    member,
    reference: reference(),
    points: 60,
  });
  const refund = await shop.pos('POST', `/v1/redemptions/${redemption.id}/refunds`, {
    reference: reference(),
    points: 10,
  });
  const earned = await shop.care('GET', `/v1/operations/${accrual.id}`);
  expect(earned.status, JSON.stringify(earned.body)).toBe(200);
  expect(earned.body).toMatchObject({
    object: 'operation',
    id: accrual.id,
    mode: 'test',
    kind: 'accrual',
    status: 'posted',
    member: accrual.body.member,
    client: 'tills',
    metadata,
    origins: [],
    consequences: [],
    explanation: {
      programVersion: 1,
      rules: [
        { rule: 'spend', points: 100 },
        { rule: 'fly', points: 200 },
      ],
    },
    ledger: { durability: 'ledger' },
  });
  const legs = earned.body.entries as { currency: string; points: number; account: string; party?: string }[];
  for (const currency of ['points', 'miles']) {
    expect(legs.filter((leg) => leg.currency === currency).reduce((sum, leg) => sum + leg.points, 0)).toBe(0);
  }
  expect(legs.find((leg) => leg.account === 'issuance')).toMatchObject({ party: 'program' });
  const spent = await shop.care('GET', `/v1/operations/${redemption.id}`);
  expect(spent.body.consequences).toEqual([{ id: refund.id, kind: 'refund' }]);
  expect(spent.body).not.toHaveProperty('explanation');
  const given = await shop.care('GET', `/v1/operations/${refund.id}`);
  expect(given.body.origins).toEqual([redemption.id]);
});

test.each([
  ['of the caller’s own making', () => reference()],
  ['that carries its own time', () => uuidV7()],
])('an operation is found by a reference %s, only by the client that used it', async (_, makeReference) => {
  const member = await shop.enrol();
  const own = makeReference();
  const path = (kind: string, text: string) =>
    `/v1/operations?kind=${kind}&reference=${encodeURIComponent(text)}`;
  expect((await shop.pos('GET', path('redemption', own))).code).toBe('not_found');
  await shop.accrue(member, 10);
  const redemption = await shop.pos('POST', '/v1/redemptions', { member, reference: own, points: 3 });
  const found = await shop.pos('GET', path('redemption', own));
  expect(found.body).toMatchObject({ id: redemption.id, reference: own });
  expect((await shop.pos('GET', path('hold', own))).code).toBe('not_found');
  expect((await shop.checkout('GET', path('redemption', own))).code).toBe('not_found');
});

test('operations of another program, of another kind and of nobody are the same 404', async () => {
  const other = await engine.shop();
  const member = await shop.enrol();
  const accrual = await shop.accrue(member, 1);
  const bodies = await Promise.all([
    other.care('GET', `/v1/operations/${accrual.id}`),
    shop.care('GET', `/v1/operations/red_${accrual.id.slice(4)}`),
    shop.care('GET', `/v1/operations/acc_${accrual.id.slice(4, -1)}${accrual.id.endsWith('0') ? '1' : '0'}`),
    shop.care('GET', '/v1/operations/nonsense'),
  ]);
  for (const { status, body } of bodies) {
    expect(status).toBe(404);
    expect({ ...body, requestId: '' }).toEqual({ ...bodies[0]!.body, requestId: '' });
  }
});
