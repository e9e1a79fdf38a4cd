/**
 * Real receipts month by month: every purchase at the CDNOW shop from January 1997 to June 1998 comes in at the end of its month,
 * the clock of a test program moves on, and members are measured. Facts, segments, alerts and the models' parameters of every month
 * are those that a few independent functions find in the file.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import {
  countedHistories,
  expectedPurchases,
  fitBuying,
  type History,
  probabilityAlive,
} from '#src/segments/bgnbd.ts';
import { chartOf } from '#src/segments/chart.ts';
import { exportMembers } from '#src/segments/export.ts';
import type { Models } from '#src/segments/fit.ts';
import { expectedSpend, fitSpending } from '#src/segments/gamma-gamma.ts';
import { planRun, runInForce, segmentsOfVersion } from '#src/segments/runs.ts';
import { workOn } from '#src/segments/working.ts';
import { memberId } from '#src/values.ts';
import { type Shop, startEngine } from './harness.ts';
import { type Bought, buyersThrough, defaultWording } from './house/buyers.ts';
import { type CdnowRow, cdnowRows, dayOfText } from './house/cdnow.ts';
import { followerOf, readAll } from './house/diary.ts';

const file = fileURLToPath(new URL('../../shared/data/cdnow/CDNOW_master.txt', import.meta.url));
/** A test clock only moves ahead of the present: every day is thirty years later. */
const shiftDays = 10_957;
const dayMs = 86_400_000;
const itemsPerCall = 1_000;
const horizonDays = 273;

/** Last days of the months, and the one after the last purchases. */
const monthEnds = Array.from({ length: 18 }, (_, month) => Date.UTC(1997, month + 1, 0) / dayMs);

const segments = {
  windowDays: 180,
  lifecycle: { newDays: 60, lapsedDays: 120, wonBackDays: 45, trendDays: 60 },
  value: { horizonDays },
  named: [
    {
      name: 'champions',
      where: { recency_score: { min: 4 }, frequency_score: { min: 4 }, monetary_score: { min: 4 } },
    },
    { name: 'big', where: { spend_class: ['a'] } },
    { name: 'won-back', where: { lifecycle: ['won_back'] } },
  ],
};
const wording = {
  ...defaultWording,
  windowDays: 180,
  newDays: 60,
  lapsedDays: 120,
  wonBackDays: 45,
  trendDays: 60,
};

function purchase({ customer, day, cents }: CdnowRow, index: number) {
  return {
    member: `c-${customer}`,
    reference: `cdnow-${index}`,
    // Noon in New York, or an hour after.
    occurredAt: new Date((day + shiftDays) * dayMs + 17 * 3_600_000).toISOString(),
    enrol: true,
    purchase: { currency: 'USD', lines: [{ line: 1, amount: cents }] },
  };
}

/** What a run exported, by member id: facts as texts. */
async function exportedAt(path: string): Promise<Map<string, Record<string, string>>> {
  const [header = '', ...lines] = (await readFile(path, 'utf8')).trim().split('\n');
  const names = header.split(',');
  return new Map(
    lines.map((line) => {
      const cells = line.split(',');
      return [cells[0]!, Object.fromEntries(names.map((name, i) => [name, cells[i]!]))];
    }),
  );
}

function segmentsOf(facts: Readonly<Record<string, number | string>>): string {
  const scores = [facts.recency_score, facts.frequency_score, facts.monetary_score];
  return [
    ...(scores.every((score) => Number(score) >= 4) ? ['champions'] : []),
    ...(facts.spend_class === 'a' ? ['big'] : []),
    ...(facts.lifecycle === 'won_back' ? ['won-back'] : []),
  ].join(' ');
}

/** Histories and mean amounts of the buyers through a day, in weeks and cents. */
function modelsOf(byBuyer: ReadonlyMap<number, readonly CdnowRow[]>, through: number) {
  const known = [...byBuyer].flatMap(([buyer, rows]) => {
    const seen = rows.filter(({ day }) => day <= through);
    if (seen.length === 0) return [];
    const days = [...new Set(seen.map(({ day }) => day))].sort((a, b) => a - b);
    const [first, last] = [days[0]!, days.at(-1)!];
    const history: History = {
      repeats: days.length - 1,
      recency: (last - first) / 7,
      age: (through - first) / 7,
    };
    const later = seen.filter(({ day }) => day > first).reduce((sum, { cents }) => sum + cents, 0);
    return [
      {
        buyer,
        history,
        spending: { purchases: days.length - 1, mean: later / Math.max(1, days.length - 1) },
      },
    ];
  });
  const buying = fitBuying(countedHistories(known.map(({ history }) => history))).parameters;
  const spending = fitSpending(
    known.map((each) => each.spending).filter(({ purchases, mean }) => purchases > 0 && mean > 0),
  ).parameters;
  return { known, buying, spending };
}

describe.skipIf(!existsSync(file))(`CDNOW by months (skipped where ${file} is missing)`, async () => {
  const engine = await startEngine({ maxmemoryMb: 512 });
  afterAll(() => engine.end());
  const { app, pool } = engine;
  const rows = existsSync(file) ? cdnowRows(file) : [];
  const bought = rows.map(
    ({ customer, day, cents }): Bought => ({ buyer: customer, day, times: 1, spend: cents }),
  );
  const numberOf = new Map<number, string>();

  async function send(shop: Shop, month: readonly { row: CdnowRow; index: number }[]): Promise<void> {
    for (let from = 0; from < month.length; from += itemsPerCall) {
      const part = month.slice(from, from + itemsPerCall);
      const items = part.map(({ row, index }) => purchase(row, index));
      const answer = await shop.pos('POST', '/v1/accruals/bulk', { items }, { timeoutMs: 60_000 });
      const answers = answer.body.data as { index: number; status: number; accrual: { member: string } }[];
      expect(answers.filter(({ status }) => status > 202)).toEqual([]);
      for (const { index, accrual } of answers) numberOf.set(part[index]!.row.customer, accrual.member);
    }
  }

  async function measure(shop: Shop): Promise<Map<string, Record<string, string>>> {
    await app.programs.refresh();
    const program = app.programs.get(shop.program.number)!;
    expect(await planRun(pool, program)).toBe(true);
    await workOn(pool, program, () => true);
    const run = (await runInForce(pool, program.number))!;
    const path = join(engine.stores.folder, `cdnow-${run.run}.csv`);
    await exportMembers(pool, run, segmentsOfVersion(program, run.version)!, path);
    return exportedAt(path);
  }

  test('facts, segments, alerts and parameters are those of the file', async () => {
    const definition = { segments, money: { currency: 'USD' }, backdateDaysMax: 400 };
    const shop = await engine.shop({ mode: 'test', timeZone: 'America/New_York', definition });
    const follower = followerOf(app);
    const byBuyer = Map.groupBy(rows, ({ customer }) => customer);
    const numbered = rows.map((row, index) => ({ row, index }));
    const alerts = new Set<string>();
    let [monthBegins, champions] = [dayOfText('19970101'), 0];
    for (const through of monthEnds) {
      await shop.setClock((through + shiftDays + 1) * dayMs + 10 * 3_600_000);
      const from = monthBegins;
      await send(
        shop,
        numbered.filter(({ row }) => row.day >= from && row.day <= through),
      );
      monthBegins = through + 1;
      await engine.drained();
      await readAll(app, follower);
      const found = await measure(shop);
      const wanted = buyersThrough(bought, through, wording);
      expect(found.size).toBe(wanted.size);
      const wrong: unknown[] = [];
      for (const [customer, { facts, brokenDay, lastDay }] of wanted) {
        const member = numberOf.get(customer)!;
        const of = found.get(member);
        const isSame = Object.entries(facts).every(([name, value]) => of?.[name] === String(value));
        const names = segmentsOf(facts);
        if (!isSame || of?.segments !== names) wrong.push({ customer, facts, names, of });
        if (names.includes('champions')) champions += 1;
        if (brokenDay !== undefined && brokenDay <= through && brokenDay > through - 31)
          alerts.add(`${member} ${calendarDayOf(lastDay + shiftDays).date}`);
      }
      expect(wrong.slice(0, 3), calendarDayOf(through).date).toEqual([]);
    }
    expect(champions).toBeGreaterThan(1_000);
    const { rows: told } = await pool.query<{ member: number; last: string }>(
      `select member, content ->> 'lastPurchaseOn' as last from event where program = $1 and type = 'member.rhythm_broken'`,
      [shop.program.number],
    );
    expect(told.map(({ member, last }) => `${memberId(member as never)} ${last}`).sort()).toEqual(
      [...alerts].sort(),
    );
    expect(alerts.size).toBeGreaterThan(500);
    await checkModels(shop, byBuyer);
    // Keeps the picture of the last month, which the README shows.
    const picture = process.env.SEGMENTS_SVG;
    if (picture !== undefined) {
      const { tally } = (await runInForce(pool, shop.program.number))!;
      await writeFile(picture, chartOf(tally, 'CDNOW through June 1998: 23,570 buyers'));
    }
  }, 600_000);

  async function checkModels(shop: Shop, byBuyer: ReadonlyMap<number, readonly CdnowRow[]>): Promise<void> {
    const through = monthEnds.at(-1)!;
    const run = (await runInForce(pool, shop.program.number))!;
    const models = run.models as Models;
    const { known, buying, spending } = modelsOf(byBuyer, through);
    for (const [name, value] of Object.entries({ ...buying, ...spending })) {
      const found = { ...models.buying, ...models.spending }[name as keyof typeof buying]!;
      expect(Math.abs(found / value - 1), name).toBeLessThan(1e-3);
    }
    const { rows: facts } = await pool.query<{
      member: number;
      alive: number;
      purchases: number;
      value: number;
    }>(
      'select member, alive, expected_purchases as purchases, expected_value as value from segment_fact where run = $1',
      [run.run],
    );
    const of = new Map(facts.map((row) => [memberId(row.member as never), row]));
    let wrong = 0;
    for (const { buyer, history, spending: own } of known) {
      const fact = of.get(numberOf.get(buyer)!)!;
      const purchases = expectedPurchases(models.buying, history, horizonDays / 7);
      const isKnown = own.purchases > 0 && own.mean > 0;
      const spend = expectedSpend(models.spending!, isKnown ? own : { purchases: 0, mean: 0 });
      const near = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));
      const isSame =
        near(fact.alive, probabilityAlive(models.buying, history)) &&
        near(fact.purchases, purchases) &&
        near(fact.value, purchases * spend);
      if (!isSame) wrong += 1;
    }
    expect(wrong).toBe(0);
    const all = facts.reduce((sum, { purchases }) => sum + purchases, 0);
    expect(all).toBeGreaterThan(5_000);
  }
});
