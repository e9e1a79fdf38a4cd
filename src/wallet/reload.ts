/**
 * Lets one member or operation leave Redis so that the next movement loads it from the books again: the repair where
 * Redis does not say what the books say. The script removes only what the books have entirely, so nothing is lost.
 */
import type pg from 'pg';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { Epochs } from './epochs.ts';
import { keys } from './keys.ts';
import type { Wallet } from './wallet.ts';

const attemptsMax = 20;
const waitMs = 5_000;

export interface ReloadStores {
  readonly pool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly epochs: Epochs;
  readonly wallet: Pick<Wallet, 'readBarrier'>;
}

/** Drops the state with this suffix (`m:7`, `o:<operation>`); false where it moved all the time or the books stand still. */
export async function dropHot(stores: ReloadStores, shard: number, suffix: string): Promise<boolean> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    if ((await stores.wallet.readBarrier(shard, waitMs)) === 'timeout') return false;
    const { rows } = await stores.pool.query<{ epoch: number; seq: number }>(
      'select epoch, seq from position where shard = $1',
      [shard],
    );
    const known = stores.epochs.of(shard);
    if (!known || known.epoch !== rows[0]?.epoch) {
      await stores.epochs.refresh();
      continue;
    }
    const { evict } = known.scripts;
    const redis = stores.nodes.of(shard);
    const answer = await redis.evalsha(evict.sha, 1, keys.journal(shard), rows[0].seq, suffix);
    if (answer === 1) return true;
    if (answer === 0 && (await redis.exists(keys.ofSuffix(shard, suffix))) === 0) return true;
  }
  return false;
}
