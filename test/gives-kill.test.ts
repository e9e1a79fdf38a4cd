/**
 * A worker, the ledger writer and Redis are killed at any moment of a run, again and again: in the end everybody who was
 * selected has the points once, and the report says what the books say. `GIVE_KILLS=30` is the long form.
 */
import { afterAll, expect, test } from 'vitest';
import { waitFor } from './harness.ts';
import { addMembers, giftsInBooks, runsOf } from './house/gifts.ts';
import { randomOf } from './house/random.ts';
import { type Spawned, spawnEngine } from './house/spawn.ts';

const kills = Number(process.env.GIVE_KILLS ?? 3);
const members = 3_000;
const seed = 20_261_122;
const dayMs = 86_400_000;

const engine = await spawnEngine({ onlyOneRedis: 'kills its process and starts it again on its file' });
afterAll(() => engine.end());
const { stores } = engine;

test(
  `after ${kills} kills in the middle of runs every selected member has the points of each run once`,
  async () => {
    const gift = { name: 'gift', currency: 'points', during: { repeat: 'FREQ=DAILY' }, give: { points: 7 } };
    const shop = await engine.shop({ mode: 'test', definition: { promotions: [gift] } });
    const { number: program } = shop.program;
    const random = randomOf(seed);
    let worker: Spawned = await engine.startPromotions();
    await waitFor(
      'the program is planned',
      async () => {
        const { rowCount } = await stores.pool.query('select from give_plan where program = $1', [program]);
        return rowCount === 1;
      },
      30_000,
    );
    await addMembers(stores.pool, shop, members, { joinedAt: shop.now() - dayMs });

    const given = async () => {
      const { rows } = await stores.pool.query<{ count: number }>(
        'select count(*)::int as count from operation where program = $1',
        [program],
      );
      return rows[0]!.count;
    };
    const open = async () => (await runsOf(shop)).filter(({ status }) => status !== 'done').length;
    const harms: Readonly<Record<string, () => Promise<void>>> = {
      async worker() {
        await worker.kill();
        worker = await engine.startPromotions();
      },
      async writer() {
        await engine.writers.shift()!.kill();
        engine.writers.push(await engine.startWriter());
      },
      async redis() {
        process.kill(stores.redisPid(), 'SIGKILL');
        await stores.startRedisAgain();
      },
    };
    const names = Object.keys(harms);
    for (let kill = 0; kill < kills; kill += 1) {
      if ((await open()) === 0) await shop.advance(86_400);
      const before = await given();
      const more = random(members / 2);
      await waitFor(
        'the run goes on',
        async () => (await given()) > before + more || ((await open()) === 0 && (await given()) > before),
        60_000,
      );
      // Each at least once, whatever the seed.
      await harms[names[kill < names.length ? kill : random(names.length)]!]!();
    }

    await waitFor('every run is done', async () => (await open()) === 0, 120_000);
    await engine.drained(60_000);
    const runs = await runsOf(shop);
    expect(runs.length).toBeGreaterThan(0);
    expect(runs.map(({ members: selected, given: got, refused }) => [selected, got, refused])).toEqual(
      runs.map(() => [members, members, {}]),
    );
    expect(await giftsInBooks(stores.pool, program)).toEqual(
      runs.map(({ occurrence, promotion, points }) => ({
        occurrence,
        promotion,
        members,
        operations: members,
        points,
      })),
    );
    await engine.audit();
  },
  60_000 + kills * 60_000,
);
