/** Recalculations at night: when they begin, what they are worked by, what is kept of them, and nights of 23 and 25 hours. */
import { DateTime } from 'luxon';
import { afterAll, describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import type { Program } from '#src/earning/program.ts';
import { applyVersion, readVersion } from '#src/earning/versions.ts';
import { beginRun, readRuns, workOnRun } from '#src/tiers/recalculating.ts';
import { reference, type Shop, startEngine } from './harness.ts';
import { type FileLadder, standingOf, startTierHouse, tieredDefinition, yearly } from './house/tiers.ts';

const engine = await startEngine();
const house = startTierHouse(engine.app, engine.drained);
afterAll(async () => {
  await house.stop();
  await engine.end();
});
const { pool, app } = engine;

const year = new Date().getUTCFullYear() + 1;
const at = (text: string, years = 0) => Date.parse(`${year + years}-${text}Z`);

async function goTo(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await app.programs.refresh();
}

async function opened(
  now: number,
  options: { readonly definition?: ReturnType<typeof tieredDefinition>; readonly timeZone?: string } = {},
): Promise<Shop> {
  const { definition = tieredDefinition(), timeZone = 'UTC' } = options;
  const shop = await engine.shop({ mode: 'test', timeZone, definition });
  await goTo(shop, now);
  return shop;
}

async function earn(shop: Shop, member: string, points: number): Promise<void> {
  expect((await shop.accrue(member, points)).status).toBe(201);
}

const present = (shop: Shop): Program => app.programs.get(shop.program.number)!;
const runsOf = (shop: Shop) => readRuns(pool, shop.program.number, 50);
const movesOf = async (shop: Shop, member: string) =>
  (await standingOf(shop, member)).history.map(({ from, to }) => `${from} to ${to}`);

/** A member that was silver through the end of next year and has bought what keeps it, of which nobody has read. */
async function keptUnread(): Promise<{ shop: Shop; member: string }> {
  const shop = await opened(at('03-10T12:00'));
  const member = await shop.enrol();
  await earn(shop, member, 100);
  await house.settled();
  await goTo(shop, at('12-30T12:00', 1));
  await house.recalculated();
  await earn(shop, member, 100);
  await goTo(shop, at('01-01T00:30', 2));
  return { shop, member };
}

const nightOf = async (shop: Shop, date: string) =>
  (await runsOf(shop)).filter(({ day }) => day === Date.parse(date) / 86_400_000);

describe('a night', () => {
  test('begins when the diary has what was done before it: nobody goes down who has kept a tier', async () => {
    const { shop, member } = await keptUnread();
    const newYear = `${year + 2}-01-01`;
    expect(await house.tick()).toBe(1);
    expect(await nightOf(shop, newYear)).toEqual([]);
    const { values } = await app.telemetry.metrics.dayWait.get();
    expect(values.find(({ labels }) => labels.work === 'tiers')!.value).toBeGreaterThan(0);
    await house.settled();
    expect(await house.tick()).toBe(0);
    expect(await nightOf(shop, newYear)).toMatchObject([{ status: 'done' }]);
    expect((await standingOf(shop, member)).tier).toBe('silver');
    expect(await movesOf(shop, member)).not.toContain('silver to blue');
  });

  test('does not wait for ever for a diary that cannot go on; what it reads later is a late receipt', async () => {
    const { shop, member } = await keptUnread();
    expect(await house.tick()).toBe(1);
    await pool.query(`update diary_day_end set noted_at = noted_at - interval '3 hours' where program = $1`, [
      shop.program.number,
    ]);
    expect(await house.tick()).toBe(0);
    expect(await nightOf(shop, `${year + 2}-01-01`)).toMatchObject([{ status: 'done', changes: 1 }]);
    await house.settled();
    expect((await standingOf(shop, member)).tier).toBe('silver');
    expect(await movesOf(shop, member)).toContain('silver to blue');
  });

  test('that is made up for warns nobody of an end that has passed', async () => {
    const definition = tieredDefinition([{ ...yearly, warnDays: [30, 7] }]);
    const shop = await opened(at('03-10T12:00'), { definition });
    const [gone, ending] = [await shop.enrol(), await shop.enrol()];
    await earn(shop, gone, 100);
    await house.settled();
    await goTo(shop, at('06-01T12:00', 1));
    await earn(shop, ending, 100);
    await house.settled();
    // Nobody looks from June of one year to Christmas of the next.
    await goTo(shop, at('12-27T12:00', 2));
    await house.recalculated();
    const { data } = (await shop.care('GET', '/v1/events?types=tier.warning')).body;
    expect(data).toMatchObject([{ lastDay: `${year + 2}-12-31`, days: 7 }]);
  });
});

describe('a recalculation that somebody asks for', () => {
  test('is one of its own, and the report of the night stays', async () => {
    const shop = await opened(at('03-10T12:00'));
    const member = await shop.enrol();
    await earn(shop, member, 100);
    await house.settled();
    await goTo(shop, at('01-01T00:30', 2));
    await house.recalculated();
    for (const _ of [1, 2]) {
      expect((await shop.admin('POST', '/v1/tiers/runs')).status).toBe(202);
      await house.recalculated();
    }
    const { data } = (await shop.admin('GET', '/v1/tiers/runs')).body;
    expect((data as Record<string, unknown>[]).slice(0, 3)).toMatchObject([
      { occasion: 'demand', status: 'done', members: 1, changes: 0, moves: [] },
      { occasion: 'demand', status: 'done', members: 1, changes: 0, moves: [] },
      {
        ...{ occasion: 'night', status: 'done', members: 1, changes: 1 },
        moves: [{ ladder: 'status', from: 'silver', to: 'blue', members: 1 }],
      },
    ]);
    // One that is under way is not begun a second time.
    const [first, second] = await Promise.all([1, 2].map(() => shop.admin('POST', '/v1/tiers/runs')));
    expect(first!.body.id).toBe(second!.body.id);
    await house.recalculated();
  });
});

describe('a process that has not heard of a new version', () => {
  test('neither overtakes its run nor works on it by the ladders of before', async () => {
    const shop = await opened(at('03-10T12:00'));
    const member = await shop.enrol();
    await earn(shop, member, 150);
    await house.recalculated();
    await house.settled();
    const before = present(shop);
    const stored = await readVersion(pool, shop.program.number, 1);
    const [blue, silver, gold] = yearly.tiers as [FileLadder['tiers'][0], ...FileLadder['tiers'][0][]];
    const bronze = {
      name: 'bronze',
      reach: { all: [{ measure: 'points', currency: 'points', atLeast: 50 }] },
    };
    const ladders = [{ ...yearly, tiers: [blue, bronze, silver, gold] }];
    const source = JSON.stringify({ ...JSON.parse(stored!.source), ladders });
    const { file } = readProgramFile(source);
    await applyVersion(pool, before, { file: file!, source, actor: 'test' });
    await goTo(shop, shop.now() + 2_000);
    const run = (await beginRun(pool, present(shop)))!;
    expect(run).toMatchObject({ version: 2, occasion: 'version' });
    expect(await beginRun(pool, before)).toBeUndefined();
    expect(await beginRun(pool, before, 'demand')).toBeUndefined();
    expect(await workOnRun(pool, before)).toBeUndefined();
    expect((await runsOf(shop))[0]).toMatchObject({ run: run.run, status: 'running', members: 0 });
    expect(await workOnRun(pool, present(shop))).toMatchObject({ status: 'done', members: 1 });
    // Nor does one whose clock is still in the day before work on what is of today.
    const yesterday = present(shop);
    await goTo(shop, at('03-11T00:00:01'));
    await beginRun(pool, present(shop));
    expect(await workOnRun(pool, yesterday)).toBeUndefined();
    expect(await beginRun(pool, yesterday)).toBeUndefined();
    await house.recalculated();
  });
});

/** The Sunday of that month of next year on which Europe's clocks change. */
function lastSunday(month: number): DateTime {
  const last = DateTime.fromObject({ year, month }, { zone: 'Europe/Berlin' }).endOf('month').startOf('day');
  return last.minus({ days: last.weekday % 7 });
}

describe('a night in which the clocks change', () => {
  test.each([
    ['spring', 3, 23],
    ['autumn', 10, 25],
  ])(
    'in %s begins its day at midnight, once, and a tier ends with its last day',
    async (_, month, hours) => {
      const sunday = lastSunday(month);
      const [saturday, monday] = [sunday.minus({ days: 1 }), sunday.plus({ days: 1 })];
      expect(monday.diff(sunday, 'hours').hours).toBe(hours);
      const shop = await opened(saturday.plus({ hours: 12 }).toMillis(), { timeZone: 'Europe/Berlin' });
      // One ends with the day before, one with the day of the change.
      const ends = [saturday, sunday];
      const members = await Promise.all(ends.map(() => shop.enrol()));
      for (const [i, end] of ends.entries()) {
        const grant = { reference: reference(), tier: 'gold', reason: 'a friend', until: end.toISODate() };
        expect((await shop.care('POST', `/v1/members/${members[i]}/tier`, grant)).status).toBe(200);
      }
      await house.recalculated();
      const minute = 60_000;
      const instants = [
        saturday.toMillis() + 23 * 60 * minute,
        sunday.toMillis() - minute,
        sunday.toMillis() + minute,
        ...[1, 2, 3, 4].map((hour) => sunday.toMillis() + (hour * 60 + 30) * minute),
        monday.toMillis() - minute,
        monday.toMillis() + minute,
      ];
      for (const now of instants) {
        await goTo(shop, now);
        await house.recalculated();
        await house.recalculated();
        const tiers = await Promise.all(members.map(async (member) => (await standingOf(shop, member)).tier));
        const today = DateTime.fromMillis(now, { zone: 'Europe/Berlin' }).toISODate()!;
        expect(tiers, today).toEqual(ends.map((end) => (today <= end.toISODate()! ? 'gold' : 'blue')));
      }
      const days = (await runsOf(shop)).map(({ day, occasion }) => [new Date(day * 86_400_000), occasion]);
      expect(days).toEqual(
        [monday, sunday, saturday].map((day) => [new Date(`${day.toISODate()}T00:00Z`), 'night']),
      );
      // Whoever bought in the last second of the day has the tier, and in the first of the next one has not.
      for (const [i, end] of ends.entries()) {
        const midnight = end.plus({ days: 1 }).toMillis();
        const awardsAt = async (occurredAt: number) => {
          const more = { occurredAt: new Date(occurredAt).toISOString() };
          const { body } = await shop.accrue(members[i]!, 1, more);
          return (body.awards as unknown[]).length;
        };
        expect([await awardsAt(midnight - 1), await awardsAt(midnight)]).toEqual([2, 1]);
      }
      await house.settled();
    },
    60_000,
  );
});
