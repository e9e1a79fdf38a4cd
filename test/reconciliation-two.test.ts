/** Two engines that are partners of each other find out where their books differ: over the wire, by digests, and by files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { instantText } from '#src/partners/reconciliation/movement.ts';
import { waitFor } from './harness.ts';
import { commandOf } from './house/command.ts';
import { secondOver } from './house/reconciling.ts';
import { reference } from './house/shop.ts';
import { closeSide, letCall, linkMembers, openSide, type Side } from './house/two-engines.ts';

// Each command is a process of its own.
vi.setConfig({ testTimeout: 120_000 });

const [west, east] = await Promise.all([openSide('east'), openSide('west')]);
afterAll(() => Promise.all([west, east].map(closeSide)));
await Promise.all([letCall(west, east), letCall(east, west)]);
await linkMembers(west, east);

const commandFor = ({ engine }: Side) =>
  commandOf('partners/reconciliation/command.ts', { ...process.env, ...engine.env });
const [atWest, atEast] = [commandFor(west), commandFor(east)];
const day = new Date().toISOString().slice(0, 10);

/** Exchanges by this side's checkout until it is completed. */
async function exchange(
  { shop, member, other }: Side,
  direction: 'out' | 'in',
  points: number,
): Promise<string> {
  const body = { member, partner: other, direction, points, reference: reference() };
  const done = await waitFor(
    'the exchange is completed',
    async () => {
      const answer = await shop.admin('POST', '/v1/exchanges', body);
      if (answer.body.status !== 'completed') throw new Error(JSON.stringify(answer.body));
      return answer;
    },
    60_000,
  );
  return done.id;
}

const ids: string[] = [];
for (let i = 1; i <= 6; i += 1) {
  ids.push(await exchange(west, 'out', i), await exchange(west, 'in', 10 + i));
  ids.push(await exchange(east, 'out', 20 + i));
}

interface Report {
  readonly lines: number;
  readonly matched: number;
  readonly source: string;
  readonly from: string;
  readonly data: readonly {
    readonly difference: string;
    readonly reference: string;
    readonly madeBy: string;
  }[];
}

/** Of the day, and of each day before it that late movements of it belong to. */
async function comparedAll(command: typeof atWest, ...args: string[]): Promise<Report[]> {
  const { out, complaint } = await command(...args, '--json');
  expect(complaint).toBe('');
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Report);
}
const compared = async (command: typeof atWest, ...args: string[]) =>
  (await comparedAll(command, ...args))[0]!;
const differing = ({ data }: Report) =>
  data.map(({ difference, madeBy, reference: name }) => `${difference} ${madeBy} ${name}`);

test('both have the same digest of the day, and nothing but one call is needed to know it', async () => {
  const [mine, theirs] = [
    await atWest('tree', 'east', day, '--json'),
    await atEast('tree', 'west', day, '--json'),
  ];
  expect(JSON.parse(mine.out)).toMatchObject({ movements: ids.length });
  expect(JSON.parse(theirs.out)).toMatchObject({ movements: ids.length });
  const { code, out } = await atWest('with', 'east', day);
  expect([code, out]).toEqual([0, expect.stringMatching(/matched +18\b/)]);
  expect(out).toMatch(/^1 calls on the partner, \d{4,5} bytes/m);
});

test('one movement that was altered on one side is found, exactly that one, from both sides and by few calls', async () => {
  const { pool } = west.engine.stores;
  const [altered] = ids;
  const alter = (by: number) =>
    pool.query('update exchange set partner_points = partner_points + $2 where exchange = $1', [
      altered!.slice(4),
      by,
    ]);
  await alter(1);
  expect(differing(await compared(atWest, 'with', 'east', day))).toEqual([`amount us ${altered}`]);
  expect(differing(await compared(atEast, 'with', 'west', day))).toEqual([`amount them ${altered}`]);
  const { code, out } = await atWest('with', 'east', day);
  expect([code, /^3 calls on the partner, (\d+) bytes/m.exec(out)?.length]).toEqual([1, 2]);
  await alter(-1);
  expect((await atWest('with', 'east', day)).code).toBe(0);
});

test('movements that one side does not have, or has at another time, are found as such', async () => {
  const { pool } = west.engine.stores;
  const gone = ids[1];
  const [exchangeGone, exchangeMoved] = [gone!.slice(4), ids[3]!.slice(4)];
  await pool.query('update exchange set sent_at = null where exchange = $1', [exchangeGone]);
  await pool.query('update exchange set occurred_at = occurred_at - 86400000 where exchange = $1', [
    exchangeMoved,
  ]);
  const report = await compared(atWest, 'with', 'east', day);
  expect(differing(report).toSorted()).toEqual([`date us ${ids[3]}`, `missing_here us ${gone}`].toSorted());
  expect(report).toMatchObject({ source: 'tree', lines: ids.length, matched: ids.length - 2 });
  expect(differing(await compared(atEast, 'with', 'west', day)).toSorted()).toEqual(
    [`missing_there them ${ids[3]}`, `missing_there them ${gone}`].toSorted(),
  );
  await pool.query('update exchange set sent_at = now() where exchange = $1', [exchangeGone]);
  await pool.query('update exchange set occurred_at = occurred_at + 86400000 where exchange = $1', [
    exchangeMoved,
  ]);
});

test('a late claim is compared with the day on which it was booked, whichever side has booked it then', async () => {
  const [claim] = ids;
  const [atOurs, atTheirs] = [west.engine.stores.pool, east.engine.stores.pool];
  const ago = 10 * 86_400_000;
  const happened = new Date(Date.parse(`${day}T00:00:00Z`) - ago).toISOString().slice(0, 10);
  const claimed = async (by: number) => {
    await atOurs.query('update exchange set occurred_at = occurred_at - $2 where exchange = $1', [
      claim!.slice(4),
      by,
    ]);
    await atTheirs.query('alter table clearing_entry disable trigger user');
    await atTheirs.query(
      `update clearing_entry set occurred_at = occurred_at - $2 * interval '1 ms' where reference = $1`,
      [claim, by],
    );
    await atTheirs.query('alter table clearing_entry enable trigger user');
  };
  await claimed(ago);
  const days = (reports: Report[]) =>
    reports.map(({ from, lines, data }) => [from.slice(0, 10), lines, data.length]);
  const fits = [
    [day, ids.length - 1, 0],
    [happened, 1, 0],
  ];
  expect(days(await comparedAll(atWest, 'with', 'east', day))).toEqual(fits);
  expect(days(await comparedAll(atEast, 'with', 'west', day))).toEqual(fits);
  // The one has booked it before midnight, the other after.
  const sent = `update exchange set first_sent_at = first_sent_at + $2 * interval '1 day', partner_points = partner_points + $3 where exchange = $1`;
  await atOurs.query(sent, [claim!.slice(4), -1, 1]);
  const [today, before] = await comparedAll(atWest, 'with', 'east', day);
  expect([differing(today!), differing(before!)]).toEqual([[], [`amount us ${claim}`]]);
  await atOurs.query(sent, [claim!.slice(4), 1, -1]);
  await claimed(-ago);
  expect(days(await comparedAll(atWest, 'with', 'east', day))).toEqual([[day, ids.length, 0]]);
});

test('where a day before fails, what was compared is told with the days that were not', async () => {
  const { pool } = west.engine.stores;
  const midnight = Date.parse(`${day}T00:00:00Z`);
  const [fit, wild, after] = [3, 5, 10].map((days) => new Date(midnight - days * 86_400_000).toISOString());
  // Late claims that only we have: two of days of their own, and of one day more than are compared over the wire.
  const { rows } = await pool.query<{ exchange: string }>(
    `insert into exchange (exchange, program, member, partner, direction, currency, own_points, partner_currency, partner_points,
       account_sealed, terms, quoted_at, quote_expires_at, day, occurred_at, reference_key, state, sent_at)
     select gen_random_uuid(), program, member, partner, direction, currency, own_points, partner_currency, partner_points,
       '', '{}', 0, 0, current_date, extract(epoch from t.at) * 1000, gen_random_uuid(), 'completed', now()
     from (select * from exchange limit 1) e, (values ($1::timestamptz, 1), ($2, 1100), ($3, 1)) t (at, many), generate_series(1, t.many)
     returning exchange`,
    [fit, wild, after],
  );
  const { code, out, complaint } = await atWest('with', 'east', day, '--json');
  const told = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Report);
  expect(told.map(({ from, data }) => [from.slice(0, 10), data.length])).toEqual([
    [day, 0],
    [fit!.slice(0, 10), 1],
  ]);
  const [failed, left] = [wild!.slice(0, 10), after!.slice(0, 10)];
  expect([code, complaint]).toEqual([
    2,
    expect.stringMatching(new RegExp(`^${failed}: more than 1024 .*\\nNot compared: ${failed}, ${left}\\.`)),
  ]);
  await pool.query('delete from exchange where exchange = any($1::uuid[])', [
    rows.map(({ exchange: id }) => id),
  ]);
});

test('by files both find the same: one writes, the other reads, and disputes the line that differs', async () => {
  const path = join(east.engine.stores.folder, 'movements.csv');
  const from = `${day}T00:00:00Z`;
  const until = instantText(await secondOver());
  const exported = await atEast('export', 'west', from, until, '--out', path, '--as', 'east');
  expect(exported.out).toMatch(/file 1 for west: 18 movements/);
  const { code, out } = await atWest(path);
  expect([code, out]).toEqual([0, expect.stringMatching(/matched +18\b/)]);
  const again = await atWest(path);
  expect([again.code, again.complaint]).toEqual([2, expect.stringMatching(/file_out_of_sequence/)]);

  const late = await exchange(west, 'in', 99);
  await west.engine.stores.pool.query('update exchange set partner_points = 999 where exchange = $1', [
    late.slice(4),
  ]);
  const second = join(east.engine.stores.folder, 'movements-2.csv');
  const end = instantText(await secondOver());
  const twice = await atEast('export', 'west', from, end, '--out', second, '--as', 'east');
  expect(twice.complaint).toMatch(/period before ended/);
  expect((await atEast('export', 'west', until, end, '--out', second, '--as', 'east')).out).toMatch(/file 2/);
  expect(await readFile(second, 'utf8')).toMatch(/^H,1,east,2,/);
  const found = await atWest(second);
  expect([found.code, found.out]).toEqual([1, expect.stringContaining(`amount  our redemption  ${late}`)]);
  const other = join(west.engine.stores.folder, 'movements.csv');
  const begun = ['export', 'east', until, end, '--out', other, '--as', 'west'];
  expect((await atWest(...begun)).complaint).toMatch(/first movement with the partner was booked/);
  expect((await atWest(...begun, '--first', '7')).out).toMatch(/file 7 for east: 1 movements/);
  expect((await atEast(other)).complaint).toMatch(/file 1 of this partner is missing/);
  expect((await atEast(other, '--first', '7')).out).toContain(`amount  their redemption  ${late}`);

  const id = /^(rcn_\w+)/.exec(found.out)?.[1] ?? '';
  const opened = await atWest('disputes', 'open', id, '1', '--reason', 'they have 999 less');
  expect(opened.out).toMatch(/^dsp_\w+ +east +open +due \d{4}-\d\d-\d\d +amount +redemption exc_/);
  const dispute = opened.out.split(' ')[0]!;
  await atWest('disputes', 'answer', dispute, '--reason', 'asked');
  const settled = await atWest(
    'disputes',
    'settle',
    dispute,
    '--outcome',
    'theirs',
    '--reason',
    'ours was altered',
  );
  expect(settled.out).toMatch(/settled \(theirs\)/);
  expect((await atWest('disputes')).out).toMatch(/No movement is disputed/);
  const before = await atWest('disputes', 'settle', dispute, '--outcome', 'ours', '--reason', 'again');
  expect([before.code, before.complaint]).toEqual([2, expect.stringMatching(/dispute_not_open/)]);
});
