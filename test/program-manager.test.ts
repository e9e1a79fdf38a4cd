/**
 * The way of a new program manager, as the README leads it: the supermarket's file with the member day on the 18th, triple points on
 * fresh food, at most 500 a member. Checked, tried on the receipts that are there, applied for tomorrow, seen at the till.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DateTime } from 'luxon';
import { afterAll, expect, test } from 'vitest';
import type { Report } from '#src/earning/backtest/report.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';
import { checkout } from './house/folders.ts';
import { reference } from './house/shop.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { databaseUrl, redisUrl, folder } = engine.stores;
const run = commandOf('earning/program-command.ts', {
  PATH: process.env.PATH,
  DATABASE_URL: databaseUrl,
  REDIS_URL: redisUrl,
  DATA_DIR: folder,
});
const zone = 'Europe/Berlin';

const memberDay = `during: { repeat: FREQ=MONTHLY;BYMONTHDAY=8 }
    multiply: { by: 3, rules: [base] }`;
const moved = `during: { repeat: FREQ=MONTHLY;BYMONTHDAY=18 }
    multiply: { by: 3, rules: [base], lines: { categories: [fresh] } }`;

test('the member day moves to the 18th, and the till gives triple points on fresh food up to 500 from then on', async () => {
  const source = await readFile(join(checkout, 'src/earning/samples/supermarket.yaml'), 'utf8');
  expect(source.split(memberDay)).toHaveLength(2);
  const { timeZone: _, ...definition } = readProgramFile(source).file!;
  const shop = await engine.shop({ mode: 'test', timeZone: zone, definition });
  const { name } = shop.program;
  const path = join(folder, 'shop.yaml');
  await writeFile(path, source.replace(memberDay, moved));

  // The 20th of a month, at noon, with receipts of its 18th and 8th that came from the till.
  const noon = DateTime.fromMillis(shop.now(), { zone }).plus({ months: 1 }).set({ day: 20, hour: 12 });
  await shop.setClock(noon.toMillis());
  const member = await shop.enrol();
  async function memberDayOn(at: DateTime, amount: number): Promise<number> {
    const answer = await shop.pos('POST', '/v1/accruals', {
      ...{ member, reference: reference(), occurredAt: at.toISO() },
      purchase: { currency: 'EUR', lines: [{ line: 1, category: 'fresh/fruit', amount }] },
    });
    expect(answer.status).toBe(201);
    const awards = answer.body.awards as { rule: string; points: number }[];
    return awards.find(({ rule }) => rule === 'member-day')?.points ?? 0;
  }
  expect(await memberDayOn(noon.set({ day: 18 }), 10_000)).toBe(0);
  expect(await memberDayOn(noon.set({ day: 8 }), 10_000)).toBe(200);
  await engine.drained();

  expect((await run('validate', path)).out).toMatch(/^.*shop\.yaml is right: 11 rules, 19 promotions/);
  const tried = await run('test', path);
  expect(tried.code).toBe(1);
  expect(tried.out).toContain('on the 8th everything counts three times');
  expect(tried.out).toContain('member-day 10 points did not come');
  const back = await run(
    'backtest',
    path,
    '--program',
    name,
    '--from',
    `${noon.toISODate()!.slice(0, 8)}01`,
    '--json',
  );
  const report = JSON.parse(back.out) as Report;
  expect(report.receipts).toBe(2);
  expect(report.rules.find(({ rule }) => rule === 'member-day')).toMatchObject({
    draft: { points: 200 },
    actual: { points: 200 },
  });
  expect(report.days.map(({ date, draft, actual }) => [Number(date.slice(8)), draft - actual])).toEqual([
    [8, -200],
    [18, 200],
  ]);

  const tomorrow = noon.plus({ days: 1 }).toISODate()!;
  const applied = await run('apply', path, '--program', name, '--effective', tomorrow);
  expect(applied.out).toMatch(new RegExp(`^Version 2 of ${name} is in force from ${tomorrow}T00:00`));

  const day = noon.plus({ months: 1 }).set({ day: 18 }).startOf('day');
  await shop.setClock(day.plus({ days: 1, hours: 1 }).toMillis());
  expect(await memberDayOn(day.minus({ seconds: 1 }), 10_000)).toBe(0);
  expect(await memberDayOn(day, 20_000)).toBe(400);
  expect(await memberDayOn(day.plus({ days: 1 }).minus({ seconds: 1 }), 20_000)).toBe(100);
  expect(await memberDayOn(day.plus({ days: 1 }), 10_000)).toBe(0);
  // What happened in the old version's time is judged by it, however late it comes.
  expect(await memberDayOn(noon.set({ day: 20 }), 10_000)).toBe(0);
}, 120_000);
