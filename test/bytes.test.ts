/** What a member costs in memory is bounded: a program of ten million members must know what to buy. */
import { afterAll, expect, test } from 'vitest';
import { bytesMark, bytesOf, bytesText } from '../loadtest/bytes.ts';
import { type Engine, startEngine } from './harness.ts';

const engine: Engine = await startEngine({
  onlyOneRedis: 'memory is asked of one server',
});
afterAll(() => engine.end());

test('a hot member with three lots takes at most 250 bytes, and every further lot at most 30', async () => {
  const shop = await engine.shop();
  await shop.accrue(await shop.enrol(), 100);
  await engine.drained();
  const figures = await bytesOf({
    url: engine.url,
    databaseUrl: engine.stores.databaseUrl,
    redis: engine.redis,
    shardCount: 4,
    samples: 50,
  });
  expect(bytesMark(figures)).toMatchObject({ isMet: true });
  expect(figures.memberOfThreeLots).toBeGreaterThan(50);
  const perLot = (figures.memberOfManyLots - figures.memberOfThreeLots) / 21;
  expect(perLot).toBeGreaterThan(5);
  expect(perLot).toBeLessThanOrEqual(30);
  expect(bytesText(figures)).toContain('three lots');
});
