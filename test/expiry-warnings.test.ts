/** Warnings of points about to expire, points that come back, and that nothing of this makes or loses a point. */
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { warnAll } from '#src/jobs/warnings.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { chanceOf } from '../loadtest/fuzz/chance.ts';
import { amountRule, reference, type Shop, startEngine } from './harness.ts';

const engine = await startEngine({ shardCount: 2 });
afterAll(() => engine.end());

type CurrencyInput = ProgramFileInput['currencies'][number];
type RuleInput = NonNullable<ProgramFileInput['rules']>[number];

function millis(at: string, zone = 'UTC'): number {
  return DateTime.fromISO(at, { zone }).toMillis();
}

async function shopOf(
  currency: Omit<CurrencyInput, 'code'>,
  at: string,
  zone = 'UTC',
  rules: RuleInput[] = [amountRule('spend', 'points', [1, 100])],
): Promise<Shop> {
  const currencies = [{ code: 'points', ...currency }];
  const shop = await engine.shop({ mode: 'test', timeZone: zone, definition: { currencies, rules } });
  await shop.setClock(millis(at, zone));
  return shop;
}

interface Event {
  readonly id: string;
  readonly member: string;
  readonly points: number;
  readonly expiresOn: string;
  readonly days: number;
}

async function eventsOf(shop: Shop, query = ''): Promise<Event[]> {
  const { status, body } = await shop.care('GET', `/v1/events${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.data as Event[];
}

async function warn(shop: Shop): Promise<Event[]> {
  await engine.drained();
  await engine.app.programs.refresh();
  // Two workers at once: what one has written the other does not write again.
  await Promise.all([warnAll(engine.app), warnAll(engine.app)]);
  return eventsOf(shop);
}

const shown = ({ points, expiresOn, days }: Event) => [points, expiresOn, days];

test('each warning of a member, currency and day is given once, however many workers look, through a change of clocks', async () => {
  const currency = { expiry: { kind: 'days' as const, days: 40 }, warnDays: [30, 7] };
  const shop = await shopOf(currency, '2031-02-20T10:00', 'Europe/Berlin');
  const [ann, bob] = [await shop.enrol('ann'), await shop.enrol('bob')];
  await shop.accrue(ann, 10);
  await shop.accrue(ann, 5);
  const { body } = await shop.accrue(bob, 20);
  expect(await warn(shop)).toEqual([]);
  // Clocks go forward on 30 March; the points end with 1 April.
  await shop.setClock(millis('2031-03-02T00:00', 'Europe/Berlin'));
  const first = await warn(shop);
  expect(first.map(shown).sort()).toEqual([
    [15, '2031-04-01', 30],
    [20, '2031-04-01', 30],
  ]);
  expect(await warn(shop)).toEqual(first);
  await shop.pos('POST', '/v1/redemptions', { member: ann, reference: reference(), points: 15 });
  // A day late: what was missed is made up.
  await shop.setClock(millis('2031-03-26T12:00', 'Europe/Berlin'));
  const both = await warn(shop);
  expect(both.slice(0, 2)).toEqual(first);
  expect(both.slice(2).map((event) => [event.member, ...shown(event)])).toEqual([
    [body.member, 20, '2031-04-01', 7],
  ]);
  expect(await eventsOf(shop, `?after=${first[1]!.id}&types=points.expiring`)).toEqual(both.slice(2));
  const page = await shop.care('GET', '/v1/events?limit=2');
  expect(page.body.nextCursor).toBe(first[1]!.id);
  expect((await shop.care('GET', '/v1/events?types=members.born')).code).toBe('validation_failed');
  expect((await shop.care('GET', '/v1/events?after=evt_0')).code).toBe('validation_failed');
});

test('points that were extended are warned of for their new day, and points that wait for an event never', async () => {
  const rules = [
    amountRule('spend', 'points', [1, 100]),
    amountRule('stay', 'points', [2, 100], { pending: { kind: 'event', daysMax: 40 } }),
  ];
  const currency = { expiry: { kind: 'days' as const, days: 40 }, warnDays: [30] };
  const shop = await shopOf(currency, '2031-05-01T10:00', 'UTC', rules);
  const member = await shop.enrol();
  await shop.accrue(member, 10);
  await shop.care('POST', `/v1/members/${member}/extensions`, {
    reference: reference(),
    reason: 'goodwill',
    months: 1,
  });
  await shop.setClock(millis('2031-05-11T10:00'));
  expect(await warn(shop)).toEqual([]);
  await shop.setClock(millis('2031-06-10T10:00'));
  expect((await warn(shop)).map(shown)).toEqual([[10, '2031-07-10', 30]]);
});

test('ten thousand members are all warned, in an order that never changes', async () => {
  const shop = await shopOf({ expiry: { kind: 'days', days: 20 }, warnDays: [10] }, '2031-01-01');
  const many = 10_001;
  const first = 1_000_000_000;
  const expiresAt = millis('2031-01-12');
  await engine.pool.query(
    `insert into member (number, program, joined_at) select $1::bigint + n, $2, now() from generate_series(1, $3::int) n`,
    [first, shop.program.number, many],
  );
  await engine.pool.query(
    `insert into lot (member, currency, lot, points, party, expires_at, available_at) select $1::bigint + n, 1, 1, n, 0, $2, 0 from generate_series(1, $3::int) n`,
    [first, expiresAt, many],
  );
  try {
    await warnAll(engine.app);
    const read: Event[] = [];
    for (let after = ''; read.length < many; ) {
      const page = await eventsOf(shop, `?limit=200${after}`);
      if (page.length === 0) break;
      read.push(...page);
      after = `&after=${page.at(-1)!.id}`;
    }
    expect(read).toHaveLength(many);
    expect(new Set(read.map(({ member }) => member)).size).toBe(many);
    expect(read[0]!.member).toBe(memberId((first + 1) as MemberNumber));
  } finally {
    for (const table of ['lot where member', 'event where member', 'member where number'])
      await engine.pool.query(`delete from ${table} > $1`, [first]);
  }
}, 60_000);

test('redeemed points that come back end as they would have, or count the days at least that the program promises', async () => {
  const expiry = { kind: 'days' as const, days: 30 };
  for (const [currency, ends] of [
    [{ expiry }, '2031-01-31'],
    [{ expiry, reinstatedDaysMin: 14 }, '2031-02-03'],
    [{ expiry, reinstatedDaysMin: 3 }, '2031-01-31'],
  ] as const) {
    const shop = await shopOf(currency, '2031-01-01T10:00');
    const member = await shop.enrol();
    await shop.accrue(member, 100);
    const spent = await shop.pos('POST', '/v1/redemptions', { member, reference: reference(), points: 40 });
    await shop.setClock(millis('2031-01-20T10:00'));
    const back = await shop.pos('POST', `/v1/redemptions/${spent.id}/refunds`, { reference: reference() });
    expect(back.status).toBe(201);
    expect(await shop.balances(member)).toMatchObject({ available: 100 });
    const { body } = await shop.care('GET', `/v1/members/${member}/balances`);
    const { lots } = (body.balances as Record<string, { lots: { points: number; expiresOn: string }[] }>)
      .points!;
    expect(lots.at(-1)!.expiresOn).toBe(ends);
    expect(lots.reduce((sum, lot) => sum + lot.points, 0)).toBe(100);
  }
});

const kinds: CurrencyInput['expiry'][] = [
  { kind: 'month_end', months: 2 },
  { kind: 'inactivity', months: 2 },
];

test.each(kinds)(
  'no order of extensions, releases and movements makes or loses a point (%o)',
  async (expiry) => {
    const rules = [
      amountRule('spend', 'points', [1, 100]),
      amountRule('stay', 'points', [2, 100], { pending: { kind: 'event', daysMax: 40 } }),
    ];
    const shop = await shopOf({ expiry: expiry! }, '2031-01-01T10:00', 'UTC', rules);
    const member = await shop.enrol();
    const accruals: unknown[] = [];
    const spent: unknown[] = [];
    const { below } = chanceOf(7, expiry!.kind.length);
    const whole = async () => {
      const { available, pending, held, debt } = await shop.balances(member);
      return available + pending + held - debt;
    };
    for (let step = 0; step < 40; step += 1) {
      const before = await whole();
      const said = { reference: reference(), reason: 'step' };
      switch (below(6)) {
        case 0:
          await shop.advance(86_400 * (1 + below(3)));
          break;
        case 1:
          accruals.push((await shop.accrue(member, 1 + below(50))).id);
          break;
        case 2: {
          const redemption = await shop.pos('POST', '/v1/redemptions', {
            ...said,
            reason: undefined,
            member,
            points: 1 + below(20),
          });
          if (redemption.status === 201) spent.push(redemption.id);
          break;
        }
        case 3:
          await shop.care('POST', `/v1/members/${member}/extensions`, { ...said, months: 1 });
          expect(await whole()).toBe(before);
          break;
        case 4: {
          if (accruals.length === 0) break;
          const id = accruals[below(accruals.length)];
          await shop.checkout('POST', `/v1/accruals/${id}/releases`, { reference: said.reference });
          expect(await whole()).toBe(before);
          break;
        }
        default: {
          const id = spent.pop();
          if (id) await shop.pos('POST', `/v1/redemptions/${id}/refunds`, { reference: said.reference });
        }
      }
    }
    // Books what has fallen due since, and shows that the member moved at all.
    expect((await shop.accrue(member, 1)).status).toBe(201);
    expect(accruals.length).toBeGreaterThan(1);
    await engine.drained();
    const { rows } = await engine.pool.query<{ sum: number }>(
      `select coalesce(sum(e.points), 0)::bigint as sum from entry e where e.program = $1 and e.account in ('wallet', 'held', 'debt')`,
      [shop.program.number],
    );
    expect(Number(rows[0]!.sum)).toBe(await whole());
  },
  120_000,
);
