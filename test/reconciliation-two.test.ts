/** Two engines that are partners of each other find out where their books differ: over the wire, by digests, and by files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { waitFor } from './harness.ts';
import { commandOf } from './house/command.ts';
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
  readonly data: readonly {
    readonly difference: string;
    readonly reference: string;
    readonly madeBy: string;
  }[];
}

async function compared(command: typeof atWest, ...args: string[]): Promise<Report> {
  const { out, complaint } = await command(...args, '--json');
  expect(complaint).toBe('');
  return JSON.parse(out) as Report;
}
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

test('by files both find the same: one writes, the other reads, and disputes the line that differs', async () => {
  const path = join(east.engine.stores.folder, 'movements.csv');
  const from = `${day}T00:00:00Z`;
  const until = `${new Date(Math.floor(Date.now() / 1_000) * 1_000).toISOString().slice(0, 19)}Z`;
  const exported = await atEast('export', 'west', from, until, '--out', path, '--as', 'east');
  expect(exported.out).toMatch(/file 1 for west: 18 movements/);
  const { code, out } = await atWest(path);
  expect([code, out]).toEqual([0, expect.stringMatching(/matched +18\b/)]);
  const again = await atWest(path);
  expect([again.code, again.complaint]).toEqual([2, expect.stringMatching(/file_out_of_sequence/)]);

  await west.engine.stores.pool.query('update exchange set partner_points = 999 where exchange = $1', [
    ids[4]!.slice(4),
  ]);
  const second = join(east.engine.stores.folder, 'movements-2.csv');
  expect((await atEast('export', 'west', from, until, '--out', second, '--as', 'east')).out).toMatch(
    /file 2/,
  );
  expect(await readFile(second, 'utf8')).toMatch(/^H,1,east,2,/);
  const found = await atWest(second);
  expect([found.code, found.out]).toEqual([1, expect.stringContaining(`amount  our redemption  ${ids[4]}`)]);
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
