/** Promotions that give: who gets points, when, once, and what a run says of it. */
import { afterAll, describe, expect, test } from 'vitest';
import { planRuns } from '#src/earning/gives/plan.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { readBirthDays } from '#src/members/birth-days.ts';
import { parseMemberId } from '#src/values.ts';
import { reference, type Shop, type ShopOptions, startEngine } from './harness.ts';
import { addMembers, giftsInBooks, giveAll, runsOf } from './house/gifts.ts';

const engine = await startEngine();
const giver = createGiver(engine.app);
afterAll(async () => {
  await giver.stop();
  await engine.end();
});
const { pool } = engine;

type Definition = NonNullable<ShopOptions['definition']>;
type Promotion = NonNullable<Definition['promotions']>[number];

const nextYear = new Date().getUTCFullYear() + 1;
const at = (text: string) => Date.parse(`${nextYear}-${text}Z`);

/** A program of a test whose clock stands at `now`, seen by the planner for the first time then. */
async function opened(
  promotion: Partial<Promotion>,
  now: number,
  definition: Definition = {},
  timeZone = 'UTC',
): Promise<Shop> {
  const gift: Promotion = { name: 'gift', currency: 'points', give: { points: 50 }, ...promotion };
  const shop = await engine.shop({
    mode: 'test',
    timeZone,
    definition: { promotions: [gift], ...definition },
  });
  await shop.setClock(now);
  await engine.app.programs.refresh();
  await giver.tick();
  return shop;
}

async function until(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await engine.app.programs.refresh();
  await giveAll(giver, shop);
}

/** One tick at that time; what is due later stays open. */
async function tickAt(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await engine.app.programs.refresh();
  await giver.tick();
  await giver.idle();
}

const everyEighth = { during: { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' } };

describe('a member day', () => {
  test('gives every member the points once, and the report is what the books count', async () => {
    const shop = await opened(everyEighth, at('03-07T20:00'));
    const known = await shop.enrol();
    await addMembers(pool, shop, 2_500, { joinedAt: at('03-01T00:00') });
    await until(shop, at('03-07T23:59:50'));
    expect(await runsOf(shop)).toEqual([]);
    await until(shop, at('03-08T00:00:10'));
    const [run] = await runsOf(shop);
    expect(run).toMatchObject({
      promotion: 'gift',
      occurrence: `${nextYear}-03-08`,
      status: 'done',
      members: 2_501,
      given: 2_501,
      open: 0,
      refused: {},
      points: 125_050,
    });
    const inBooks = {
      occurrence: `${nextYear}-03-08`,
      promotion: 'gift',
      members: 2_501,
      operations: 2_501,
      points: 125_050,
    };
    expect(await giftsInBooks(pool, shop.program.number)).toEqual([inBooks]);
    expect(await shop.balances(known)).toMatchObject({ available: 50 });
    await until(shop, at('03-09T12:00'));
    expect(await giftsInBooks(pool, shop.program.number)).toEqual([inBooks]);
  });

  test('a chunk whose worker was killed before it could say so is given anew, and nobody gets twice', async () => {
    const shop = await opened(everyEighth, at('03-07T20:00'));
    const members = await addMembers(pool, shop, 300, { joinedAt: at('03-01T00:00') });
    await until(shop, at('03-08T00:00:10'));
    const before = await giftsInBooks(pool, shop.program.number);
    // As a kill leaves it: some have the points, the chunk does not know, its lease has ended.
    await pool.query(
      `update give_chunk set status = 'working', owner = 'killed', lease_until = now() - interval '1 second', members = $2, given = 0
       where run in (select run from give_run where program = $1)`,
      [shop.program.number, members],
    );
    await pool.query(`update give_run set status = 'running', ended_at = null where program = $1`, [
      shop.program.number,
    ]);
    await giveAll(giver, shop);
    expect(await giftsInBooks(pool, shop.program.number)).toEqual(before);
    expect((await runsOf(shop))[0]).toMatchObject({ status: 'done', given: 300, chunks: { attempts: 2 } });
  });

  test('leaves out who joined later, is suspended, closed or erased', async () => {
    const shop = await opened(everyEighth, at('03-07T20:00'));
    const [stays, suspended, closed, erased] = [
      await shop.enrol(),
      await shop.enrol(),
      await shop.enrol(),
      await shop.enrol(),
    ];
    const call = { reference: reference(), reason: 'asked for', durability: 'ledger' };
    expect((await shop.admin('POST', `/v1/members/${suspended}/suspend`, call)).status).toBe(200);
    expect(
      (await shop.admin('POST', `/v1/members/${closed}/close`, { ...call, reference: reference() })).status,
    ).toBe(200);
    expect(
      (await shop.admin('POST', `/v1/members/${erased}/erasure`, { reference: reference() })).status,
    ).toBe(200);
    await shop.setClock(at('03-08T06:00'));
    const late = await shop.enrol();
    await until(shop, at('03-08T06:00:10'));
    expect((await runsOf(shop))[0]).toMatchObject({ members: 1, given: 1, status: 'done' });
    expect(await shop.balances(stays)).toMatchObject({ available: 50 });
    expect(await shop.balances(late)).toMatchObject({ available: 0 });
    expect(await shop.balances(suspended)).toMatchObject({ available: 0 });
  });

  test('who was suspended after the selection is counted as refused, by reason', async () => {
    const shop = await opened({ ...everyEighth, give: { points: 50, spreadMinutes: 10 } }, at('03-07T20:00'));
    const first = await shop.enrol();
    const second = await shop.enrol();
    await tickAt(shop, at('03-08T00:00:01'));
    const call = { reference: reference(), reason: 'asked for', durability: 'ledger' };
    expect((await shop.admin('POST', `/v1/members/${second}/suspend`, call)).status).toBe(200);
    await until(shop, at('03-08T01:00'));
    expect((await runsOf(shop))[0]).toMatchObject({
      members: 2,
      given: 1,
      open: 0,
      refused: { member_not_active: 1 },
    });
    expect(await shop.balances(first)).toMatchObject({ available: 50 });
  });
});

describe('a run', () => {
  test('is spread over cohorts, can be paused between them and goes on where it was', async () => {
    const shop = await opened({ ...everyEighth, give: { points: 50, spreadMinutes: 60 } }, at('03-07T20:00'));
    await addMembers(pool, shop, 600, { joinedAt: at('03-01T00:00') });
    const given = async () => (await runsOf(shop))[0]!.given;
    await tickAt(shop, at('03-08T00:00:01'));
    expect(await given()).toBe(10);
    await tickAt(shop, at('03-08T00:29:30'));
    expect(await given()).toBe(300);
    const { id } = (await runsOf(shop))[0]!;
    const paused = await shop.admin('POST', `/v1/program/gives/${id}/pause`);
    expect(paused).toMatchObject({ status: 200, body: { status: 'paused', given: 300, open: 300 } });
    await tickAt(shop, at('03-08T03:00'));
    expect(await given()).toBe(300);
    expect((await shop.admin('POST', `/v1/program/gives/${id}/resume`)).body.status).toBe('running');
    await until(shop, at('03-08T03:10'));
    expect((await runsOf(shop))[0]).toMatchObject({ status: 'done', given: 600, open: 0 });
    expect(await giftsInBooks(pool, shop.program.number)).toMatchObject([{ members: 600, operations: 600 }]);
    const again = await shop.admin('POST', `/v1/program/gives/${id}/pause`);
    expect(again.body.status).toBe('done');
  });

  test('can be paused before its members are selected, and selects them when it goes on', async () => {
    const shop = await opened(everyEighth, at('03-07T20:00'));
    await shop.enrol();
    await shop.setClock(at('03-08T00:00:01'));
    await engine.app.programs.refresh();
    expect(await planRuns(pool, engine.app.programs.get(shop.program.number)!)).toBe(1);
    const { id } = (await runsOf(shop))[0]!;
    expect((await shop.admin('POST', `/v1/program/gives/${id}/pause`)).body.status).toBe('paused');
    await tickAt(shop, at('03-08T01:00'));
    expect((await runsOf(shop))[0]).toMatchObject({ status: 'paused', members: 0 });
    expect((await shop.admin('POST', `/v1/program/gives/${id}/resume`)).body.status).toBe('planned');
    await until(shop, at('03-08T02:00'));
    expect((await runsOf(shop))[0]).toMatchObject({ status: 'done', members: 1, given: 1 });
  });

  test('that was missed is caught up, once, and so is each of several', async () => {
    const shop = await opened({ during: { repeat: 'FREQ=DAILY' } }, at('03-07T20:00'));
    const member = await shop.enrol();
    // Nobody ticks for three days.
    await until(shop, at('03-10T09:00'));
    const missed = ['08', '09', '10'].map((day) => ({ occurrence: `${nextYear}-03-${day}`, given: 1 }));
    expect(await runsOf(shop)).toMatchObject(missed);
    await until(shop, at('03-10T09:30'));
    expect(await runsOf(shop)).toMatchObject(missed);
    expect(await shop.balances(member)).toMatchObject({ available: 150 });
  });

  test('of another program, or no run, is not found', async () => {
    const shop = await opened(everyEighth, at('03-07T20:00'));
    await until(shop, at('03-08T00:10'));
    const { id } = (await runsOf(shop))[0]!;
    const other = await engine.shop();
    for (const path of [`/v1/program/gives/${id}`, '/v1/program/gives/x1', '/v1/program/gives/999999999']) {
      expect((await other.admin('GET', path)).code).toBe('not_found');
      expect((await other.admin('POST', `${path}/pause`)).code).toBe('not_found');
    }
    expect((await shop.care('GET', '/v1/program/gives')).code).toBe('role_not_allowed');
    expect((await shop.admin('GET', `/v1/program/gives/${id}`)).body).toMatchObject({
      id,
      status: 'done',
      members: 0,
    });
  });
});

describe("a member's own day", () => {
  test('a birthday is known from enrolment, after a change and to nobody after erasure', async () => {
    const shop = await opened({ during: { member: 'birthday' } }, at('05-10T20:00'));
    const enrol = (member: string, birthday?: string) =>
      shop.pos('POST', '/v1/members', { member, ...(birthday === undefined ? {} : { birthday }) });
    for (const [member, birthday] of [
      ['on-the-day', '1990-05-11'],
      ['without-year', '--05-11'],
      ['another-day', '1990-05-12'],
      ['changed', '1990-01-01'],
      ['forgotten', '1990-05-11'],
      ['withdrawn', '1990-05-11'],
      ['unknown', undefined],
    ] as const)
      expect((await enrol(member, birthday)).status).toBe(201);
    await shop.admin('PATCH', '/v1/members/changed', { birthday: '1990-05-11' });
    await shop.admin('PATCH', '/v1/members/on-the-day', { attributes: { city: 'Ulm' } });
    await shop.admin('PATCH', '/v1/members/withdrawn', { birthday: null });
    await shop.admin('POST', '/v1/members/forgotten/erasure', { reference: reference() });
    await until(shop, at('05-11T00:10'));
    expect((await runsOf(shop))[0]).toMatchObject({ members: 3, given: 3 });
    for (const member of ['on-the-day', 'without-year', 'changed'])
      expect(await shop.balances(member)).toMatchObject({ available: 50 });
    const { rows } = await pool.query(
      'select count(*)::int as count from member where program = $1 and erased_at is not null and birth_day is not null',
      [shop.program.number],
    );
    expect(rows).toEqual([{ count: 0 }]);
  });

  test('a profile that nobody can read keeps no gift from the others', async () => {
    const shop = await opened({ during: { member: 'birthday' } }, at('05-10T20:00'));
    await shop.pos('POST', '/v1/members', { member: 'fine', birthday: '1990-05-11' });
    const [damaged] = await addMembers(pool, shop, 1, { joinedAt: at('01-01T00:00') });
    await pool.query(`update member set profile = 'damaged', birth_day = null where number = $1`, [damaged]);
    await until(shop, at('05-11T00:10'));
    expect((await runsOf(shop))[0]).toMatchObject({ members: 1, given: 1 });
    await pool.query('update member set profile = null where number = $1', [damaged]);
  });

  test('a birthday that an older version wrote is read before the run', async () => {
    const shop = await opened({ during: { member: 'birthday' } }, at('05-10T20:00'));
    await shop.pos('POST', '/v1/members', { member: 'old', birthday: '1990-05-11' });
    await shop.pos('POST', '/v1/members', { member: 'older', birthday: '1990-08-30' });
    const numberOf = async (member: string) =>
      parseMemberId(String((await shop.admin('GET', `/v1/members/${member}`)).body.id))!;
    // One was enrolled and one changed by a version that does not know the column.
    await pool.query('update member set birth_day = null where number = $1', [await numberOf('old')]);
    const changed = await numberOf('older');
    const text = JSON.stringify({ birthday: '1990-05-11' });
    const sealed = engine.app.identity.encrypt(shop.program.number, changed, text);
    await pool.query('update member set profile = $2 where number = $1', [changed, sealed]);
    await until(shop, at('05-11T00:10'));
    expect((await runsOf(shop))[0]).toMatchObject({ members: 2, given: 2 });
    const read = { isComplete: true, unreadable: 0 };
    expect(await readBirthDays(pool, engine.app.identity, shop.program.number, 1)).toEqual(read);
  });

  test('who was born on 29 February has the day on the 28th in other years', async () => {
    const common = [1, 2, 3].map((more) => nextYear + more).find((year) => year % 4 !== 0)!;
    const shop = await opened({ during: { member: 'birthday' } }, Date.UTC(common, 1, 27, 12));
    await addMembers(pool, shop, 3, { joinedAt: at('01-01T00:00'), birthDay: 229 });
    await addMembers(pool, shop, 2, { joinedAt: at('01-01T00:00'), birthDay: 228 });
    await until(shop, Date.UTC(common, 2, 1, 12));
    const runs = await runsOf(shop);
    expect(runs.map(({ occurrence, given }) => [occurrence, given])).toEqual([
      [`${common}-02-28`, 5],
      [`${common}-03-01`, 0],
    ]);
  });

  test('an anniversary is that of the day on which the member joined in the zone of the program', async () => {
    const zone = 'Asia/Tokyo';
    const shop = await opened({ during: { member: 'anniversary' } }, at('05-10T03:00'), {}, zone);
    // 11 May begins at 15:00 UTC of the 10th.
    const days = [
      `${nextYear - 2}-05-10T15:00:00Z`,
      `${nextYear - 1}-05-11T14:59:59Z`,
      `${nextYear - 1}-05-11T15:00:00Z`,
    ];
    const members = [];
    for (const joined of days)
      members.push(...(await addMembers(pool, shop, 1, { joinedAt: Date.parse(joined) })));
    await until(shop, at('05-10T15:10'));
    expect(await runsOf(shop)).toMatchObject([{ occurrence: `${nextYear}-05-11`, members: 2, given: 2 }]);
    const { rows } = await pool.query<{ member: number }>(
      'select member from operation where program = $1 order by member',
      [shop.program.number],
    );
    expect(rows.map(({ member }) => member)).toEqual(members.slice(0, 2));
  });
});

describe('a gift', () => {
  test('is an accrual like any other: in the statement, explained, and it can be taken back for good', async () => {
    const during = { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' };
    const expiry = { kind: 'days' as const, days: 30 };
    const shop = await opened({ during, expiry }, at('03-07T20:00'));
    const member = await shop.enrol();
    await until(shop, at('03-08T00:10'));
    const statement = await shop.care('GET', `/v1/members/${member}/statement`);
    const [entry] = statement.body.data as { operation: string }[];
    expect(entry).toMatchObject({
      kind: 'accrual',
      points: 50,
      rule: 'gift',
      expiresOn: `${nextYear}-04-07`,
    });
    const operation = await shop.care('GET', `/v1/operations/${entry!.operation}`);
    expect(operation.body).toMatchObject({
      kind: 'accrual',
      occurredAt: `${nextYear}-03-08T00:00:00.000Z`,
      request: { give: { promotion: 'gift', occurrence: `${nextYear}-03-08` } },
      explanation: { programVersion: 1, rules: [{ rule: 'gift', outcome: 'applied', points: 50 }] },
    });
    const body = { reference: reference(), occurredAt: shop.time(), durability: 'ledger' };
    const reversed = await shop.admin('POST', `/v1/accruals/${entry!.operation}/reversals`, body);
    expect(reversed.status).toBe(201);
    expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 0 });
    // The chunk once more, as after a kill: the books know the gift, although it was taken back.
    await pool.query(
      `update give_chunk set status = 'waiting', members = $2 where run in (select run from give_run where program = $1)`,
      [
        shop.program.number,
        [parseMemberId(String((await shop.admin('GET', `/v1/members/${member}`)).body.id))],
      ],
    );
    await pool.query(`update give_run set status = 'running' where program = $1`, [shop.program.number]);
    await giveAll(giver, shop);
    expect(await shop.balances(member)).toMatchObject({ available: 0, debt: 0 });
    expect((await runsOf(shop))[0]).toMatchObject({ given: 1, status: 'done' });
  });

  test('ends with the month of birth, where the promotion says so', async () => {
    const promotion = { ...everyEighth, expiry: { kind: 'birthday_month' as const, years: 1 } };
    const shop = await opened(promotion, at('03-07T20:00'));
    for (const [member, birthday] of [
      ['may', '1990-05-11'],
      ['january', '1990-01-31'],
    ] as const)
      await shop.pos('POST', '/v1/members', { member, birthday });
    await until(shop, at('03-08T00:10'));
    const ends = async (member: string) => {
      const answer = await shop.care('GET', `/v1/members/${member}/balances`);
      return answer.at('balances.points.lots.0.expiresOn');
    };
    expect([await ends('may'), await ends('january')]).toEqual([
      `${nextYear + 1}-05-31`,
      `${nextYear + 1}-01-31`,
    ]);
  });
});
