/** kill -9 of an API and of a ledger writer while tills give from one budget: it is given to the last point and not one more. */
import { afterAll, expect, test } from 'vitest';
import { amountRule, waitFor } from './harness.ts';
import { issuedBy, standingOf } from './house/budgets.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ apis: 2, writers: 2, ownPostgres: true });
afterAll(() => engine.end());
const { pool } = engine.stores;

const points = 20_011;

test('a budget is given to the last point and not one more, whichever processes are killed', async () => {
  const shop = await engine.shop({
    definition: {
      rules: [amountRule('spend', 'points', [1, 100], { budget: 'campaign' })],
      budgets: [{ name: 'campaign', points, whenFull: 'trim' }],
    },
  });
  const members = await Promise.all(Array.from({ length: 24 }, () => shop.enrol()));
  let isOver = false;
  let acknowledged = 0;
  /** A till sends receipts one after the other, each with its reference until it is answered for good. */
  async function till(number: number): Promise<void> {
    for (let i = number; !isOver; i += 1) {
      const receipt = shop.receipt(members[i % members.length]!, 5 + (i % 11));
      const answer = await waitFor(
        'the receipt is taken',
        async () => {
          const api = engine.apis[i % engine.apis.length]!;
          const tried = await api.http('POST', '/v1/accruals', receipt, { key: shop.tokens.pos });
          return tried.status < 500 ? tried : undefined;
        },
        40_000,
      );
      for (const award of answer.body.awards as { points: number }[]) acknowledged += award.points;
    }
  }
  const tills = Promise.all(Array.from({ length: 8 }, (_, number) => till(number)));
  const given = (least: number) =>
    waitFor('points are given', async () => (await standingOf({ pool }, shop, 1)).given > least, 40_000);
  await given(1_000);
  const api = engine.apis[0]!;
  await api.kill();
  engine.apis[0] = await engine.startApi(Number(new URL(api.url).port));
  await given(3_000);
  await engine.writers[0]!.kill();
  engine.writers[0] = await engine.startWriter();
  await given(points - 1);
  isOver = true;
  await tills;
  await engine.drained();
  expect(acknowledged).toBe(points);
  expect(await issuedBy({ pool }, shop)).toBe(points);
  expect(await standingOf({ pool }, shop, 1)).toMatchObject({ given: points, leased: 0 });
  await engine.audit();
}, 120_000);
