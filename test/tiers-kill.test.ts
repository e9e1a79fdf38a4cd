/**
 * The worker of tiers is killed in the middle of recalculations and of announcing, again and again: in the end everybody stands
 * where a recount in SQL says, the reports have the sums, and every change has one record and one event. `TIER_KILLS=30` is
 * the long form.
 */
import { afterAll, expect, test } from 'vitest';
import { waitFor } from './harness.ts';
import { addMembers } from './house/gifts.ts';
import { type Spawned, spawnEngine } from './house/spawn.ts';
import { tieredDefinition } from './house/tiers.ts';

const kills = Number(process.env.TIER_KILLS ?? 3);
const members = 12_000;

const engine = await spawnEngine();
afterAll(() => engine.end());
const { pool } = engine.stores;

const year = new Date().getUTCFullYear() + 1;
/** Points of a member in the first year, by its place: nothing, silver and gold. */
const earned = [0, 99, 100, 299, 300, 1_000];

interface Counts {
  readonly blue: number;
  readonly silver: number;
  readonly gold: number;
}

/** Who stands where by the points alone, `down` steps below what they brought. */
function expectedCounts(down: number): Counts {
  const counts = { blue: 0, silver: 0, gold: 0 };
  const tiers = ['blue', 'silver', 'gold'] as const;
  for (let place = 0; place < members; place += 1) {
    const points = earned[place % earned.length]!;
    const level = points >= 300 ? 2 : points >= 100 ? 1 : 0;
    counts[tiers[Math.max(0, level - down)]!] += 1;
  }
  return counts;
}

test(
  `after ${kills} kills every member stands where it belongs, and every change is announced once`,
  async () => {
    const shop = await engine.shop({ mode: 'test', definition: tieredDefinition() });
    const { number: program } = shop.program;
    await shop.setClock(Date.parse(`${year}-06-01T12:00Z`));
    const numbers = await addMembers(pool, shop, members, { joinedAt: shop.now() });
    await pool.query(
      `insert into diary_points (member, day, currency, earned)
       select m, date '${year}-05-01' - date '1970-01-01', 1, ($2::bigint[])[1 + (place - 1) % ${earned.length}]
       from unnest($1::bigint[]) with ordinality o (m, place)`,
      [numbers, earned],
    );

    const count = async (query: string) => {
      const { rows } = await pool.query<{ count: number }>(query, [program]);
      return rows[0]!.count;
    };
    const known = () =>
      count('select count(*)::int as count from tier_change where program = $1 and facts is not null');
    const open = () =>
      count(`select ((select count(*) from tier_change where program = $1 and is_move and (facts is null or told_at is null))
        + (select count(*) from tier_run where program = $1 and status = 'running'))::int as count`);
    const doneOn = (day: string) =>
      count(
        `select count(*)::int as count from tier_run where program = $1 and status = 'done' and date '1970-01-01' + day = date '${day}'`,
      );
    const standing = async (): Promise<Counts> => {
      const { rows } = await pool.query<{ tier: keyof Counts; count: number }>(
        `select coalesce(s.tier, 'blue') as tier, count(*)::int as count from member m
         left join tier_standing s on s.member = m.number where m.program = $1 group by 1`,
        [program],
      );
      return {
        blue: 0,
        silver: 0,
        gold: 0,
        ...Object.fromEntries(rows.map(({ tier, count: n }) => [tier, n])),
      };
    };

    const days = [`${year}-06-01`, `${year + 2}-01-01`, `${year + 3}-01-01`];
    let worker: Spawned = await engine.startTiers();
    const again = async () => {
      await worker.kill();
      worker = await engine.startTiers();
    };
    let killed = 0;
    for (const [down, day] of days.entries()) {
      if (down > 0) await shop.setClock(Date.parse(`${day}T00:10Z`));
      const before = await known();
      for (; killed < Math.ceil((kills * (down + 1)) / days.length); killed += 1) {
        if (killed % 2 === 0)
          await waitFor(
            'the run is under way',
            async () => (await open()) > 0 || (await doneOn(day)) > 0,
            60_000,
          );
        else
          await waitFor(
            'changes become known',
            async () =>
              (await known()) > before + killed * 100 || ((await open()) === 0 && (await doneOn(day)) > 0),
            60_000,
          );
        await again();
      }
      await waitFor('the day is done', async () => (await doneOn(day)) > 0 && (await open()) === 0, 180_000);
      expect(await standing(), day).toEqual(expectedCounts(down));
    }
    await worker.stop();
    await engine.drained(60_000);

    const { rows } = await pool.query<Record<string, number>>(
      `select (select sum(changes)::int from tier_run where program = $1) as reported,
         (select sum((m ->> 3)::int)::int from tier_run r, json_array_elements(r.moves) m where r.program = $1) as moved,
         (select count(*)::int from tier_change where program = $1) as changes,
         (select count(*)::int from tier_change where program = $1 and is_move) as moves,
         (select count(*)::int from operation where program = $1 and kind = 'tier') as records,
         (select count(distinct request #>> '{tier,change}')::int from operation where program = $1 and kind = 'tier') as told,
         (select count(*)::int from event where program = $1 and type = 'tier.changed') as events`,
      [program],
    );
    const total = rows[0]!.changes!;
    const [up, down] = [expectedCounts(0), expectedCounts(1)];
    expect(total).toBe(up.silver + up.gold + (up.silver + up.gold) + (down.silver + down.gold));
    expect(rows[0]).toEqual({
      reported: total,
      moved: total,
      changes: total,
      moves: total,
      records: total,
      told: total,
      events: total,
    });
    await engine.audit();
  },
  120_000 + kills * 60_000,
);
