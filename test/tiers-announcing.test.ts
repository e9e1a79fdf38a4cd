/** Changes of tier while some of them cannot be announced: the others are, and nobody tries the same again and again. */
import { afterAll, describe, expect, test } from 'vitest';
import { reviewTouched } from '#src/jobs/tiers.ts';
import { createAnnouncer } from '#src/tiers/announcing.ts';
import { beginRun, workOnRun } from '#src/tiers/recalculating.ts';
import { type Shop, startEngine } from './harness.ts';
import { followerOf, readAll } from './house/diary.ts';
import { addMembers } from './house/gifts.ts';
import { tieredDefinition } from './house/tiers.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { pool, app } = engine;

/** So many members become silver by a recalculation, of which nothing is announced. */
async function silentProgram(members: number): Promise<Shop> {
  const shop = await engine.shop({ definition: tieredDefinition() });
  const numbers = await addMembers(pool, shop, members, { joinedAt: shop.now() - 86_400_000 });
  await pool.query(
    `insert into diary_points (member, day, currency, earned) select m, current_date - date '1970-01-01', 1, 100 from unnest($1::bigint[]) m`,
    [numbers],
  );
  await app.programs.refresh();
  const program = app.programs.get(shop.program.number)!;
  expect(await beginRun(pool, program)).toBeDefined();
  expect(await workOnRun(pool, program)).toMatchObject({ status: 'done', changes: members });
  return shop;
}

async function silentOf(shop: Shop): Promise<number> {
  const { rows } = await pool.query<{ silent: number }>(
    'select count(*)::int as silent from tier_change where program = $1 and is_move and facts is null',
    [shop.program.number],
  );
  return rows[0]!.silent;
}

describe('while the changes of a program cannot be announced', () => {
  test('a page of them is tried, then those of others are known; and it ends when it is told to', async () => {
    const closed = await silentProgram(700);
    const failed = new Set<string>();
    let [isOpen, attempts, mayGoOn] = [false, 0, true];
    const announcer = createAnnouncer(
      {
        pool,
        operations: app.operations,
        programs: {
          get: (number) =>
            number === closed.program.number && !isOpen ? undefined : app.programs.get(number),
        },
        failed(change) {
          failed.add(change);
          attempts += 1;
        },
        mayGoOn: () => mayGoOn,
      },
      'nights',
    );
    expect(await announcer.announce(4_096)).toBe(0);
    expect([failed.size, attempts]).toEqual([256, 256]);
    const other = await silentProgram(1);
    expect(await announcer.announce(4_096)).toBe(1);
    expect(await silentOf(other)).toBe(0);
    expect([failed.size, attempts]).toEqual([256, 256]);
    isOpen = true;
    mayGoOn = false;
    expect(await announcer.announce(4_096)).toBe(0);
    const another = createAnnouncer(
      {
        pool,
        operations: app.operations,
        programs: app.programs,
        failed() {},
      },
      'nights',
    );
    expect(await another.announce(4_096)).toBe(700);
    expect(await silentOf(closed)).toBe(0);
  }, 60_000);
});

test('what a receipt brings does not wait for the changes of a night', async () => {
  const night = await silentProgram(300);
  const member = await night.enrol();
  await night.accrue(member, 100);
  await engine.drained();
  await readAll(app, followerOf(app, reviewTouched(app.programs, app.telemetry.log)));
  const { operations, programs } = app;
  const context = { pool, operations, programs, failed() {} };
  expect(await createAnnouncer(context, 'receipts').announce(4_096)).toBe(1);
  const shown = await night.care('GET', `/v1/members/${member}`);
  expect(shown.body.tier).toBe('silver');
  expect(await silentOf(night)).toBe(300);
  expect(await createAnnouncer(context, 'nights').announce(4_096)).toBe(300);
});

describe('a till that is slow or fast by minutes', () => {
  test('has a new tier for the receipt after the one that brought it, by its own clock', async () => {
    const shop = await engine.shop({ definition: tieredDefinition() });
    await app.programs.refresh();
    const follower = followerOf(app, reviewTouched(app.programs, app.telemetry.log));
    const announcer = createAnnouncer(
      {
        pool,
        operations: app.operations,
        programs: app.programs,
        failed() {},
      },
      'receipts',
    );
    const settled = async () => {
      await engine.drained();
      await readAll(app, follower);
      await announcer.announce(100);
    };
    const awardsAt = async (member: string, points: number, fromNow: number) => {
      const { body } = await shop.accrue(member, points, { occurredAt: shop.time(fromNow) });
      return (body.awards as unknown[]).length;
    };
    const minute = 60_000;
    const slow = await shop.enrol();
    expect(await awardsAt(slow, 100, -2 * minute)).toBe(1);
    await settled();
    expect(await awardsAt(slow, 1, -1.5 * minute)).toBe(2);
    expect(await awardsAt(slow, 1, -2.5 * minute)).toBe(1);
  });

  test('in a day that has not begun here it counts at once, for that day', async () => {
    const shop = await engine.shop({ mode: 'test', definition: tieredDefinition() });
    const midnight = Math.ceil(Date.now() / 86_400_000 + 30) * 86_400_000;
    await shop.setClock(midnight - 3 * 60_000);
    await app.programs.refresh();
    const follower = followerOf(app, reviewTouched(app.programs, app.telemetry.log));
    const member = await shop.enrol();
    const more = { occurredAt: new Date(midnight + 30_000).toISOString() };
    expect((await shop.accrue(member, 100, more)).status).toBe(201);
    await engine.drained();
    await readAll(app, follower);
    const { rows } = await pool.query(
      'select to_tier, since, effective_at from tier_change where program = $1',
      [shop.program.number],
    );
    expect(rows).toEqual([{ to_tier: 'silver', since: midnight / 86_400_000, effective_at: midnight }]);
  });
});
