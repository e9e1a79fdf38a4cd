/** Previews: pages of so many who would move, by a role of PostgreSQL that can write nothing. */
import { afterAll, describe, expect, test } from 'vitest';
import { asReader, preview, previewingOf, readerFault } from '#src/tiers/preview.ts';
import { type MemberNumber, memberId } from '#src/values.ts';
import { type Shop, startEngine } from './harness.ts';
import { addMembers } from './house/gifts.ts';
import { startTierHouse, tieredDefinition } from './house/tiers.ts';

const engine = await startEngine();
const house = startTierHouse(engine.app, engine.drained);
afterAll(async () => {
  await house.stop();
  await engine.end();
});
const { pool, app } = engine;
const year = new Date().getUTCFullYear() + 1;

/** Members of whom every second one is about to fall, and their numbers. */
async function aboutToFall(count: number): Promise<{ shop: Shop; falling: number[] }> {
  const shop = await engine.shop({ mode: 'test', definition: tieredDefinition() });
  await shop.setClock(Date.parse(`${year}-06-01T12:00Z`));
  const numbers = await addMembers(pool, shop, count, { joinedAt: shop.now() });
  await pool.query(
    `insert into diary_points (member, day, currency, earned)
     select m, date '${year}-05-01' - date '1970-01-01', 1, case place % 2 when 0 then 100 else 10 end
     from unnest($1::bigint[]) with ordinality o (m, place)`,
    [numbers],
  );
  await house.recalculated();
  await shop.setClock(Date.parse(`${year + 2}-01-01T00:30Z`));
  await app.programs.refresh();
  return { shop, falling: numbers.filter((_, i) => i % 2 === 1) };
}

describe('a page', () => {
  test('ends with the last member that it has room for, wherever that is in what is read at once', async () => {
    const { shop, falling } = await aboutToFall(18);
    const reviewing = previewingOf(app.programs.get(shop.program.number)!);
    for (const [movingMax, chunkMembers] of [
      [1, 100],
      [2, 3],
      [3, 4],
      [4, 18],
      [9, 5],
      [100, 4],
    ] as const) {
      const [found, looked]: [number[], number[]] = [[], []];
      let after: MemberNumber | undefined = 0 as MemberNumber;
      while (after !== undefined) {
        const page = await preview(pool, reviewing, { after, movingMax, chunkMembers, chunksMax: 3 });
        expect(page.moving.length).toBeLessThanOrEqual(movingMax);
        expect(page.moves.reduce((sum, [, , , members]) => sum + members, 0)).toBe(page.moving.length);
        found.push(...page.moving.map(({ member }) => member));
        looked.push(page.members);
        after = page.next;
      }
      expect(found).toEqual(falling);
      expect(looked.reduce((sum, members) => sum + members, 0)).toBe(18);
    }
    const { body } = await shop.admin('GET', '/v1/tiers/preview?limit=4');
    expect((body.data as { member: string }[]).map(({ member }) => member)).toEqual(
      falling.slice(0, 4).map((member) => memberId(member as MemberNumber)),
    );
    expect(body).toMatchObject({ role: 'loyalty_reader', nextCursor: memberId(falling[3] as MemberNumber) });
    await house.recalculated();
  });
});

describe('the role of a preview', () => {
  test('can write nothing', async () => {
    const { rows } = await pool.query<{ may: boolean }>(
      `select bool_or(has_table_privilege('loyalty_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) as may
       from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = current_schema() and c.relkind in ('r', 'p')`,
    );
    expect(rows).toEqual([{ may: false }]);
    const writing = asReader(pool, (tx) => tx.query(`update member set birth_day = 1`));
    await expect(writing).rejects.toThrow(/permission denied|read-only/);
  });

  test('is what a preview reads as: what the role may not see, it cannot look at', async () => {
    const { shop } = await aboutToFall(2);
    const page = () => preview(pool, previewingOf(app.programs.get(shop.program.number)!), bounds);
    const bounds = { movingMax: 10, chunksMax: 1 };
    expect(await readerFault(pool)).toBeUndefined();
    expect((await page()).role).toBe('loyalty_reader');
    await pool.query('revoke select on diary_points from loyalty_reader');
    await expect(page()).rejects.toThrow('permission denied for table diary_points');
    await pool.query('grant select on diary_points to loyalty_reader');
    await pool.query('revoke select on tier_standing from loyalty_reader');
    // It is said, and the service reads as itself.
    expect(await readerFault(pool)).toContain('may not read');
    expect((await page()).role).not.toBe('loyalty_reader');
    await pool.query('grant select on tier_standing to loyalty_reader');
    await house.recalculated();
  });
});
