/**
 * Real receipts month by month: purchases at the CDNOW shop from January 1997 to June 1998 comes in on the last day of its
 * month, members rise, the clock of a test program moves on to the next day, members go down that have not kept their tier, and
 * after every quarter all are measured. Tiers and their ends and movements of every month, facts, segments and alerts of every
 * measurement are those that a few independent functions find in the file; at the end the models' parameters are the likeliest.
 * The suite takes the tenth of the buyers that papers use; `CDNOW=all` takes all 23,570, and `CDNOW_MEASURED=1` measures after
 * every month.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import { applyVersion, readVersion } from '#src/earning/versions.ts';
import { reviewTouched } from '#src/jobs/tiers.ts';
import { expectedPurchases, type History, probabilityAlive } from '#src/segments/bgnbd.ts';
import { chartOf } from '#src/segments/chart.ts';
import { exportMembers } from '#src/segments/export.ts';
import type { Models } from '#src/segments/fit.ts';
import { expectedSpend } from '#src/segments/gamma-gamma.ts';
import { planRun, runInForce, segmentsOfVersion } from '#src/segments/runs.ts';
import { workOn } from '#src/segments/working.ts';
import { tierChart } from '#src/tiers/chart.ts';
import { beginRun, workOnRun } from '#src/tiers/recalculating.ts';
import { readReport, upAndDown } from '#src/tiers/report.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { type Shop, startEngine } from './harness.ts';
import { type Bought, buyersThrough, defaultWording } from './house/buyers.ts';
import { type CdnowRow, cdnowRows, dayOfText } from './house/cdnow.ts';
import { sampledCustomers } from './house/cdnow-sample.ts';
import { cdnowLadder, cdnowTiers, type Moves, type NaiveTiers, naiveTiers } from './house/cdnow-tiers.ts';
import { followerOf, readAll } from './house/diary.ts';
import { buyingLikelihood, isHighest, spendingLikelihood } from './house/likelihood.ts';

const file = fileURLToPath(new URL('../../shared/data/cdnow/CDNOW_master.txt', import.meta.url));
/** A test clock only moves ahead of the present: every day is thirty years later. */
const shiftDays = 10_957;
const dayMs = 86_400_000;
const itemsPerCall = 1_000;
const callsAtOnce = 3;
const isWhole = process.env.CDNOW === 'all';
/** Of all buyers in the whole file, where a tenth is taken. */
const taken = isWhole ? 1 : 0.08;
const measuredMonths = Number(process.env.CDNOW_MEASURED ?? 3);
const horizonDays = 273;

/** Last days of the months by the shop's calendar, in which the file's last receipts come a day before June's end. */
const monthEnds = Array.from({ length: 18 }, (_, month) => Date.UTC(2027, month + 1, 0) / dayMs - shiftDays);
const dateOf = (day: number) => calendarDayOf(day + shiftDays).date;

const segments = {
  windowDays: 180,
  lifecycle: { newDays: 60, lapsedDays: 120, wonBackDays: 45, trendDays: 60 },
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

const sum = (counts: Moves) => Object.values(counts).reduce((total, count) => total + count, 0);

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

/** Histories and mean amounts of the buyers, in weeks and cents. */
function historiesOf(byBuyer: ReadonlyMap<number, readonly CdnowRow[]>, through: number) {
  return [...byBuyer].map(([buyer, rows]) => {
    const days = [...new Set(rows.map(({ day }) => day))].sort((a, b) => a - b);
    const [first, last] = [days[0]!, days.at(-1)!];
    const history: History = {
      repeats: days.length - 1,
      recency: (last - first) / 7,
      age: (through - first) / 7,
    };
    const later = rows.filter(({ day }) => day > first).reduce((sum, { cents }) => sum + cents, 0);
    const spending = { purchases: days.length - 1, mean: later / Math.max(1, days.length - 1) };
    return { buyer, history, spending };
  });
}

/** Parts of some thousand receipts; what a customer bought comes in one of them. */
function partsOf<Each extends { readonly row: CdnowRow }>(month: readonly Each[]): Each[][] {
  const parts: Each[][] = [[]];
  for (const own of Map.groupBy(month, ({ row }) => row.customer).values()) {
    if (parts.at(-1)!.length + own.length > itemsPerCall) parts.push([]);
    parts.at(-1)!.push(...own);
  }
  return parts;
}

describe.skipIf(!existsSync(file))(`CDNOW by months (skipped where ${file} is missing)`, async () => {
  const engine = await startEngine({ maxmemoryMb: 512 });
  afterAll(() => engine.end(), 180_000);
  const { app, pool } = engine;
  const sampled = sampledCustomers();
  const all = existsSync(file) ? cdnowRows(file) : [];
  const rows = all.filter(({ customer }) => isWhole || sampled.has(customer));
  const bought = rows.map(
    ({ customer, day, cents }): Bought => ({ buyer: customer, day, times: 1, spend: cents }),
  );
  const numberOf = new Map<number, string>();

  async function send(shop: Shop, month: readonly { row: CdnowRow; index: number }[]): Promise<void> {
    const parts = partsOf(month);
    async function sendSome(): Promise<void> {
      for (let part = parts.pop(); part; part = parts.pop()) {
        const items = part.map(({ row, index }) => purchase(row, index));
        const answer = await shop.pos('POST', '/v1/accruals/bulk', { items }, { timeoutMs: 60_000 });
        const answers = answer.body.data as { index: number; status: number; accrual: { member: string } }[];
        expect(answers.filter(({ status }) => status > 202)).toEqual([]);
        for (const { index, accrual } of answers) numberOf.set(part[index]!.row.customer, accrual.member);
      }
    }
    await Promise.all(Array.from({ length: callsAtOnce }, sendSome));
  }

  const present = (shop: Shop) => app.programs.get(shop.program.number)!;

  async function goTo(shop: Shop, at: number): Promise<void> {
    await shop.setClock(at);
    await app.programs.refresh();
  }

  /** Looks at everybody, as the night does; answers who moved. */
  async function night(shop: Shop): Promise<Moves> {
    expect(await beginRun(pool, present(shop))).toBeDefined();
    let run = await workOnRun(pool, present(shop));
    while (run?.status === 'running') run = await workOnRun(pool, present(shop));
    return Object.fromEntries(run!.moves.map(([, from, to, members]) => [`${from} ${to}`, members]));
  }

  /** Everybody whose tier or its last day is not what the file says. */
  async function wrongTiers(shop: Shop, naive: NaiveTiers): Promise<unknown[]> {
    const { rows: stored } = await pool.query<{ member: MemberNumber; tier: string; until: number | null }>(
      `select member, tier, (standing -> 'earned' ->> 'untilDay')::int as until from tier_standing where program = $1`,
      [shop.program.number],
    );
    const of = new Map(stored.map(({ member, ...rest }) => [memberId(member), rest]));
    return [...naive.standings].flatMap(([customer, { level, until }]) => {
      const found = of.get(numberOf.get(customer) ?? '') ?? { tier: cdnowTiers[0], until: null };
      const end = found.until === null ? undefined : calendarDayOf(found.until).date;
      return found.tier === cdnowTiers[level] && end === until ? [] : [{ customer, level, until, found }];
    });
  }

  /** From here on what members are worth is measured as well, which takes a second or two. */
  async function withValue(shop: Shop): Promise<void> {
    const { source } = (await readVersion(pool, shop.program.number, 1))!;
    const definition = JSON.parse(source) as Record<string, unknown>;
    const text = JSON.stringify({ ...definition, segments: { ...segments, value: { horizonDays } } });
    const { file: second } = readProgramFile(text);
    await applyVersion(pool, present(shop), { file: second!, source: text, actor: 'test' });
    await goTo(shop, shop.now() + 2_000);
  }

  async function measure(shop: Shop): Promise<Map<string, Record<string, string>>> {
    const program = present(shop);
    expect(await planRun(pool, program)).toBe(true);
    await workOn(pool, program, () => true);
    const run = (await runInForce(pool, program.number))!;
    const path = join(engine.stores.folder, `cdnow-${run.run}.csv`);
    await exportMembers(pool, run, segmentsOfVersion(program, run.version)!, path);
    return exportedAt(path);
  }

  /** Counts of facts and segments that are not the file's, and the alerts of the month. */
  async function checkSegments(shop: Shop, through: number, alerts: Set<string>): Promise<number> {
    const found = await measure(shop);
    const wanted = buyersThrough(bought, through, wording);
    expect(found.size).toBe(wanted.size);
    const wrong: unknown[] = [];
    let champions = 0;
    for (const [customer, { facts, brokenDay, lastDay }] of wanted) {
      const member = numberOf.get(customer)!;
      const of = found.get(member);
      const isSame = Object.entries(facts).every(([name, value]) => of?.[name] === String(value));
      const names = segmentsOf(facts);
      if (!isSame || of?.segments !== names) wrong.push({ customer, facts, names, of });
      if (names.includes('champions')) champions += 1;
      if (brokenDay !== undefined && brokenDay <= through && brokenDay > through - 31)
        alerts.add(`${member} ${dateOf(lastDay)}`);
    }
    expect(wrong.slice(0, 3), dateOf(through)).toEqual([]);
    return champions;
  }

  test('tiers and movements, facts, segments, alerts and parameters are those of the file', async () => {
    const definition = { segments, ladders: [cdnowLadder], money: { currency: 'USD' }, backdateDaysMax: 400 };
    const shop = await engine.shop({ mode: 'test', timeZone: 'America/New_York', definition });
    const follower = followerOf(app, reviewTouched(app.programs, app.telemetry.log));
    const naive = naiveTiers(rows.map((row) => ({ ...row, day: row.day + shiftDays })));
    const numbered = rows.map((row, index) => ({ row, index }));
    const alerts = new Set<string>();
    const moved = { up: 0, down: 0 };
    let [monthBegins, champions] = [dayOfText('19970101'), 0];
    for (const [month, through] of monthEnds.entries()) {
      const from = monthBegins;
      monthBegins = through + 1;
      // The evening of the last day in New York, and the next morning.
      await goTo(shop, (through + shiftDays) * dayMs + 23 * 3_600_000);
      await send(
        shop,
        numbered.filter(({ row }) => row.day >= from && row.day <= through),
      );
      await engine.drained();
      await readAll(app, follower);
      moved.up += sum(naive.bought(dateOf(through)));
      expect((await wrongTiers(shop, naive)).slice(0, 3), dateOf(through)).toEqual([]);
      await goTo(shop, (through + shiftDays + 1) * dayMs + 10 * 3_600_000);
      const went = naive.ended(dateOf(through));
      moved.down += sum(went);
      expect(await night(shop), dateOf(through)).toEqual(went);
      expect((await wrongTiers(shop, naive)).slice(0, 3), dateOf(through + 1)).toEqual([]);
      if (month === monthEnds.length - 1) await withValue(shop);
      if ((month + 1) % measuredMonths === 0) champions += await checkSegments(shop, through, alerts);
    }
    expect(champions).toBeGreaterThan(300 * taken);
    expect(moved.up).toBeGreaterThan(5_000 * taken);
    expect(moved.down).toBeGreaterThan(3_000 * taken);
    await checkReport(shop, naive, moved.down);
    const { rows: told } = await pool.query<{ member: number; last: string }>(
      `select member, content ->> 'lastPurchaseOn' as last from event where program = $1 and type = 'member.rhythm_broken'`,
      [shop.program.number],
    );
    expect(told.map(({ member, last }) => `${memberId(member as never)} ${last}`).sort()).toEqual(
      [...alerts].sort(),
    );
    expect(alerts.size).toBeGreaterThan(150 * taken);
    await checkModels(
      shop,
      Map.groupBy(rows, ({ customer }) => customer),
    );
    await draw(shop);
  }, 600_000);

  /** The report counts the members of the file's tiers and all who went down. */
  async function checkReport(shop: Shop, naive: NaiveTiers, down: number): Promise<void> {
    const [report] = await readReport(pool, present(shop));
    const levels = [...naive.standings.values()].map(({ level }) => level);
    expect(report!.tiers.map(({ tier, members }) => [tier, members])).toEqual(
      cdnowTiers.map((tier, level) => [tier, levels.filter((each) => each === level).length]),
    );
    expect(sum(Object.fromEntries(upAndDown(report!).map((each) => [each.month, each.down])))).toBe(down);
  }

  /** Keeps the pictures of the last month, which the README shows. */
  async function draw(shop: Shop): Promise<void> {
    const { SEGMENTS_SVG: ofSegments, TIERS_SVG: ofTiers } = process.env;
    const buyers = new Set(rows.map(({ customer }) => customer)).size.toLocaleString('en');
    const title = `CDNOW through June 1998: ${buyers} buyers`;
    const { tally } = (await runInForce(pool, shop.program.number))!;
    if (ofSegments !== undefined) await writeFile(ofSegments, chartOf(tally, title));
    const reports = await readReport(pool, present(shop));
    if (ofTiers !== undefined) await writeFile(ofTiers, tierChart(reports, `${title}, thirty years later`));
  }

  async function checkModels(shop: Shop, byBuyer: ReadonlyMap<number, readonly CdnowRow[]>): Promise<void> {
    const through = monthEnds.at(-1)!;
    const run = (await runInForce(pool, shop.program.number))!;
    const models = run.models as Models;
    const known = historiesOf(byBuyer, through);
    const histories = known.map(({ history }) => history);
    expect(isHighest({ ...models.buying }, (each) => buyingLikelihood(each, histories))).toBe(true);
    const spendings = known
      .map((each) => each.spending)
      .filter(({ purchases, mean }) => purchases > 0 && mean > 0);
    expect(isHighest({ ...models.spending! }, (each) => spendingLikelihood(each, spendings))).toBe(true);
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
    expect(all).toBeGreaterThan(5_000 * taken);
  }
});
