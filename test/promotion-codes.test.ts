/** Codes that a member activates before it buys: what they are worth, since when, and who keeps them. */

import { DateTime } from 'luxon';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Engine, startEngine } from './harness.ts';
import type { Answer } from './house/client.ts';
import { amountRule, reference, type Shop } from './house/shop.ts';
import { waitFor } from './house/waiting.ts';

let engine: Engine;
let shop: Shop;
beforeAll(async () => {
  engine = await startEngine();
  shop = await engine.shop({
    timeZone: 'Europe/Berlin',
    definition: {
      rules: [amountRule('base', 'points', [1, 100])],
      promotions: [
        { name: 'welcome', currency: 'points', code: 'HELLO', earn: { by: 'fixed', points: 50 } },
        { name: 'autumn', currency: 'points', code: 'AUTUMN', earn: { by: 'fixed', points: 7 } },
      ],
    },
  });
});
afterAll(() => engine.end());

const path = (member: string) => `/v1/members/${encodeURIComponent(member)}/codes`;
const activate = (member: string, code: string) => shop.pos('POST', path(member), { code });
const purchase = { currency: 'EUR', lines: [{ line: 1, amount: 1_000 }] };

function buy(member: string, more: object = {}): Promise<Answer> {
  const body = { member, reference: reference(), occurredAt: shop.time(), purchase, ...more };
  return shop.pos('POST', '/v1/accruals', body);
}

function pointsOf(answer: Answer): [number, number] {
  const awards = (answer.body.awards ?? []) as { points: number }[];
  return [answer.status, awards.reduce((sum, { points }) => sum + points, 0)];
}

test('a code that was activated counts with the next receipt, and no code with others', async () => {
  const [member, other] = [await shop.enrol(), await shop.enrol()];
  expect(pointsOf(await buy(member))).toEqual([201, 10]);
  const activated = await activate(member, 'HELLO');
  expect([activated.status, activated.body]).toMatchObject([
    201,
    { object: 'memberCode', member: expect.stringMatching(/^mem_/), code: 'HELLO', promotions: ['welcome'] },
  ]);
  expect(pointsOf(await buy(member))).toEqual([201, 60]);
  expect(pointsOf(await buy(other))).toEqual([201, 10]);
});

test('the same code again says since when, and changes nothing', async () => {
  const member = await shop.enrol();
  const [first, again] = [await activate(member, 'HELLO'), await activate(member, 'HELLO')];
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.body).toEqual(first.body);
  const list = await shop.pos('GET', path(member));
  expect(list.body.data).toMatchObject([{ code: 'HELLO', activatedAt: first.body.activatedAt }]);
});

test('what was bought the day before is judged without it, what was bought that day with it', async () => {
  const member = await shop.enrol();
  await activate(member, 'HELLO');
  const day = DateTime.now().setZone('Europe/Berlin').startOf('day');
  expect(pointsOf(await buy(member, { occurredAt: day.toISO() }))).toEqual([201, 60]);
  expect(pointsOf(await buy(member, { occurredAt: day.minus({ seconds: 1 }).toISO() }))).toEqual([201, 10]);
});

test('a receipt that was judged before the activation is returned, and explained, as it was judged', async () => {
  const member = await shop.enrol();
  const bought = await buy(member);
  await activate(member, 'HELLO');
  const shown = await shop.care('GET', `/v1/operations/${bought.body.id}`);
  expect(JSON.stringify(shown.body.explanation)).toContain('its code was neither shown nor activated');
  const back = await shop.pos('POST', `/v1/accruals/${bought.body.id}/reversals`, {
    reference: reference(),
    occurredAt: shop.time(),
    lines: [{ line: 1, amount: 1_000 }],
  });
  expect(back.status).toBe(201);
  expect((await shop.balances(member)).available).toBe(0);
});

test('a merge gives the survivor what either had; an export names it, an erasure forgets it', async () => {
  const [source, into] = [await shop.enrol(), await shop.enrol()];
  await activate(source, 'HELLO');
  await activate(into, 'AUTUMN');
  const reason = 'one person';
  await shop.admin('POST', `/v1/members/${source}/merge`, { reference: reference(), reason, into });
  await waitFor(
    "both codes are the survivor's",
    async () => ((await shop.pos('GET', path(into))).at('data') as unknown[]).length === 2,
  );
  expect(pointsOf(await buy(into))).toEqual([201, 67]);
  const held = await shop.care('GET', `/v1/members/${into}/export`);
  expect(held.at('member.codes')).toMatchObject([{ code: 'HELLO' }, { code: 'AUTUMN' }]);
  await shop.admin('POST', `/v1/members/${into}/erasure`, { reference: reference() });
  const rest = await engine.pool.query(
    'select from member_code c join member m on m.number = c.member where m.erased_at is not null',
  );
  expect(rest.rowCount).toBe(0);
});

test.each([
  ['a code of no promotion', { code: 'NOTHING' }, '/code'],
  ['no code', {}, '/code'],
  ['more than a code', { code: 'HELLO', points: 5 }, '/points'],
])('%s is refused with its place', async (_, body, pointer) => {
  const member = await shop.enrol();
  const answer = await shop.pos('POST', path(member), body, { invalid: true });
  expect(answer.body).toMatchObject({ status: 400, code: 'validation_failed', errors: [{ pointer }] });
  expect((await shop.pos('GET', path(member))).body.data).toEqual([]);
});
