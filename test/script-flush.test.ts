/** Redis forgets its scripts (a restart, a promotion, SCRIPT FLUSH) whenever it likes, also while a shard is being recovered. */
import { afterAll, expect, test } from 'vitest';
import { startEngine, waitFor } from './harness.ts';

const engine = await startEngine({ onlyOneRedis: 'it has to forget faster than a shard recovers' });
afterAll(() => engine.end());

test('scripts that are forgotten again and again while shards recover are all there in the end', async () => {
  const shop = await engine.shop();
  const members = await Promise.all(Array.from({ length: 8 }, () => shop.enrol()));
  for (let times = 0; times < 1_500; times += 1) await engine.redis.script('FLUSH');
  for (const member of members) {
    const answer = await waitFor(
      'the member is served again',
      async () => {
        const reply = await shop.pos('POST', '/v1/accruals', shop.receipt(member, 10));
        return reply.status === 503 ? undefined : reply;
      },
      25_000,
    );
    expect(answer.status).toBe(201);
    expect((await shop.balances(member)).available).toBe(10);
  }
}, 120_000);
