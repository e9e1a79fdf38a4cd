/**
 * A real file: purchases of 23,570 people at the CDNOW music shop, imported by the command as an operator runs it. Its totals
 * equal a few independent lines over the file; a second run adds nothing. It takes the purchases of the published tenth of these
 * people; `CDNOW=all` is the long form, with all of them.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { amountRule, type Shop } from './harness.ts';
import { sampledCustomers } from './house/cdnow-sample.ts';
import { commandOf } from './house/command.ts';
import { checkout } from './house/folders.ts';
import { type SpawnedEngine, spawnEngine } from './house/spawn.ts';

const master = fileURLToPath(new URL('../../shared/data/cdnow/CDNOW_master.txt', import.meta.url));
const isWhole = process.env.CDNOW === 'all';
/** What is known of both files. */
const known = isWhole
  ? { purchases: 69_659, members: 23_570, zeros: 80 }
  : { purchases: 6_919, members: 2_357 };

interface Totals {
  readonly purchases: number;
  readonly members: number;
  readonly points: number;
  readonly zeros: number;
}

/** The independent lines: customer, date, number of CDs, dollars; one point a whole dollar. */
async function totalsOf(path: string): Promise<Totals> {
  const lines = (await readFile(path, 'utf8'))
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  return {
    purchases: lines.length,
    members: new Set(lines.map(([customer]) => customer)).size,
    points: lines.reduce(
      (sum, [, , , dollars]) => sum + Math.floor(Math.round(Number(dollars) * 100) / 100),
      0,
    ),
    zeros: lines.filter(([, , , dollars]) => Number(dollars) === 0).length,
  };
}

/** The lines of the sampled people, in a file of their own. */
async function writeSample(path: string): Promise<void> {
  const sampled = sampledCustomers();
  const lines = (await readFile(master, 'utf8')).trim().split('\n');
  const chosen = lines.filter((line, i) => i === 0 || sampled.has(Number(line.trim().split(/\s+/)[0])));
  await writeFile(path, `${chosen.join('\n')}\n`);
}

describe.skipIf(!existsSync(master))(`CDNOW (skipped where ${master} is missing)`, () => {
  let engine: SpawnedEngine;
  let shop: Shop;
  let file: string;
  // What is skipped is read all the same, but its hooks do not run.
  beforeAll(async () => {
    engine = await spawnEngine({ shardCount: 16, maxmemoryMb: 512 });
    file = isWhole ? master : join(engine.stores.folder, 'sample.txt');
    if (!isWhole) await writeSample(file);
    shop = await engine.shop({ timeZone: 'America/New_York' });
  });
  afterAll(() => engine.end());

  async function importFile(): Promise<string> {
    const columns =
      '--delimiter whitespace --member customer_id --date date --date-format yyyyMMdd --amount dollar_value';
    const flags = `${columns} --quantity number_of_cds --currency USD --enrol --concurrency 4`.split(' ');
    const target = [
      '--url',
      engine.apis[0]!.url,
      '--key',
      shop.tokens.pos,
      '--rejects',
      join(engine.stores.folder, 'rejects.csv'),
    ];
    const args = [`${checkout}src/earning/import/command.ts`, file, ...flags, ...target];
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      timeout: 240_000,
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  }

  async function inBooks(): Promise<Totals> {
    await engine.drained(30_000);
    const found = await engine.stores.pool.query<Totals>(
      `select (select count(*)::int from operation where kind = 'accrual') as purchases,
         (select count(*)::int from member) as members,
         (select sum(points)::bigint from entry where account = 'wallet') as points,
         (select count(*)::int from operation o where kind = 'accrual' and not exists
           (select from entry e where e.operation = o.operation)) as zeros`,
    );
    return found.rows[0]!;
  }

  test('every purchase is imported, and a second run adds nothing', async () => {
    const expected = await totalsOf(file);
    expect(expected).toMatchObject(known);
    await importFile();
    const { zeros: _, ...first } = await inBooks();
    const { zeros: __, ...wanted } = expected;
    expect(first).toEqual(wanted);
    const second = await importFile();
    expect(second).toMatch(isWhole ? /69,?659/ : /6,?919/);
    expect(await inBooks()).toMatchObject(wanted);
  }, 300_000);

  test('backtests of all purchases: by the rule that was in force nothing differs, by twice the points all do', async () => {
    const { purchases, points, zeros, members } = await totalsOf(file);
    await engine.drained(30_000);
    const run = commandOf('earning/program-command.ts', {
      PATH: process.env.PATH,
      DATABASE_URL: engine.stores.databaseUrl,
      DATA_DIR: engine.stores.folder,
    });
    async function backtest(pointsADollar: number): Promise<unknown> {
      const draft = join(engine.stores.folder, 'draft.yaml');
      const rule = amountRule('spend', 'points', [pointsADollar, 100]);
      const currencies = [{ code: 'points' }];
      await writeFile(draft, JSON.stringify({ timeZone: 'America/New_York', currencies, rules: [rule] }));
      const { out, complaint } = await run('backtest', draft, '--program', shop.program.name, '--json');
      return out === '' ? complaint : JSON.parse(out);
    }
    const actual = points;
    expect(await backtest(1)).toMatchObject({
      ...{ receipts: purchases, receiptsOtherwise: 0, points: { draft: actual, actual }, lateRows: 0 },
      members: { more: 0, less: 0, same: members },
    });
    const twice = (await backtest(2)) as { receiptsOtherwise: number };
    expect(twice).toMatchObject({ receipts: purchases, points: { draft: 2 * actual, actual } });
    // Receipts below a dollar earn nothing by both.
    expect(twice.receiptsOtherwise).toBeLessThanOrEqual(purchases - zeros);
  }, 300_000);
});
