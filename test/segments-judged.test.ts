/**
 * The segments that a receipt was judged by stay with it: whoever takes it back, explains or backtests it finds them, whatever the
 * clock says of runs. A process hears of a run some time after it has ended.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import { planRun } from '#src/segments/runs.ts';
import { workOn } from '#src/segments/working.ts';
import { type Answer, reference, type Shop, startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';
import { followerOf, readAll } from './house/diary.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, stores } = engine;

const source = `
timeZone: UTC
currencies: [{ code: points }]
segments:
  named:
    - { name: regulars, where: { frequency: { min: 3 } } }
    - { name: leaving, where: [{ lifecycle: [lapsed] }, { recency_days: { min: 120 } }] }
rules:
  - { name: spend, currency: points, earn: { by: amount, points: 1, perMinorUnits: 100 } }
  - { name: for-regulars, currency: points, segments: [regulars], earn: { by: amount, points: 5, perMinorUnits: 100 } }
redemption:
  - { name: till, currency: points, exchange: { points: 2, minorUnits: 1, money: EUR }, minimumPoints: 2, stepPoints: 2 }
`;
const { file, faults } = readProgramFile(source);

/** Measures what the ledger has by now. */
async function measured(
  { program: { number } }: Shop,
  follower: ReturnType<typeof followerOf>,
): Promise<void> {
  await engine.drained();
  await readAll(app, follower);
  await app.programs.refresh();
  const program = app.programs.get(number)!;
  await planRun(pool, program);
  await workOn(pool, program, () => true);
  await app.programs.refresh();
}

/**
 * A member buys three times and is measured, buys once more, is measured again after a long time and buys; another buys once
 * each time. Then the clock says that the last run had been in force from the beginning.
 */
async function lived(): Promise<{ shop: Shop; rewarded: Answer }> {
  expect(faults).toEqual([]);
  const shop = await engine.shop({ mode: 'test', definition: file as never });
  const follower = followerOf(app);
  const [regular, once] = [await shop.enrol(), await shop.enrol()];
  for (let visit = 0; visit < 3; visit += 1) {
    await shop.accrue(regular, 10);
    await shop.advance(86_400);
  }
  await shop.accrue(once, 10);
  await shop.advance(86_400);
  await measured(shop, follower);
  const rewarded = await shop.accrue(regular, 10);
  await shop.accrue(once, 10);
  await shop.advance(400 * 86_400);
  await measured(shop, follower);
  await shop.accrue(regular, 10);
  await engine.drained();
  await pool.query(
    'update segment_run set in_force_from = 0 where run = (select max(run) from segment_run where program = $1)',
    [shop.program.number],
  );
  return { shop, rewarded };
}

test('a receipt is explained, taken back and backtested by the segments that it was judged by', async () => {
  const { shop, rewarded } = await lived();
  const { explanation } = (await shop.care('GET', `/v1/operations/${rewarded.id}`)).body;
  expect(explanation).toMatchObject({ facts: { segments: ['regulars'] } });
  const half = { reference: reference(), occurredAt: shop.time(), lines: [{ line: 1, amount: 500 }] };
  const back = await shop.pos('POST', `/v1/accruals/${rewarded.id}/reversals`, half);
  expect(back.body.awards).toMatchObject([
    { rule: 'spend', points: 5 },
    { rule: 'for-regulars', points: 25 },
  ]);
  await engine.drained();

  const path = (name: string) => join(stores.folder, name);
  await writeFile(path('same.yaml'), source);
  const run = commandOf('earning/program-command.ts', {
    PATH: process.env.PATH,
    DATABASE_URL: stores.databaseUrl,
    DATA_DIR: stores.folder,
  });
  const backtest = (name: string, ...more: string[]) =>
    run('backtest', path(name), '--program', shop.program.name, ...more);
  const report = JSON.parse((await backtest('same.yaml', '--json')).out);
  expect(report).toMatchObject({ receiptsOtherwise: 0, points: { draft: 90, actual: 90 } });
  const row = (points: number, money: number) => {
    const side = { points, money, liability: money };
    return { currency: 'points', draft: side, actual: side };
  };
  // Cost is rounded down for each rule: 5 and 25 points at half a minor unit.
  expect(report.segments).toMatchObject([
    { segment: 'regulars', receipts: 1, ...row(30, 14) },
    { segment: 'leaving', receipts: 1, ...row(10, 5) },
    { segment: null, receipts: 5, ...row(50, 25) },
  ]);

  await writeFile(path('more.yaml'), source.replace('points: 5, perMinorUnits', 'points: 7, perMinorUnits'));
  const { out } = await backtest('more.yaml', '--svg', path('picture.svg'));
  expect(out).toMatch(/regulars +points +40 +30 +\+10 +0\.19 EUR +0\.14 EUR +0\.19 EUR +0\.14 EUR +1\n/);
  expect(out).toMatch(/\(none\) +points +50 +50 +0 .* 5\n/);
  const picture = await readFile(path('picture.svg'), 'utf8');
  expect(picture).toMatch(/>by segment at the time of the receipt<.*>regulars<.*>\(none\)</s);
}, 120_000);
