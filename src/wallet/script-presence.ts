/**
 * Whether a shard's scripts of this version are there. An epoch may have been opened before the first process of this version
 * started; until a ledger writer has loaded its scripts too, calls would be refused, so the process is not ready.
 */
import type { Redis } from 'ioredis';
import type { Epochs } from './epochs.ts';
import { loadedVersions, ownScripts } from './scripts.ts';

export interface ScriptPresence {
  /** Shards whose scripts have not been seen in their present epoch. */
  lacking(): number[];
  /** Asks Redis about those. Once seen they stay: whatever takes them away is a fence, and a new epoch follows. */
  refresh(): Promise<void>;
}

export function createScriptPresence(
  redisOf: (shard: number) => Redis,
  epochs: Epochs,
  shardCount: number,
): ScriptPresence {
  const seenIn: (number | undefined)[] = new Array<number | undefined>(shardCount).fill(undefined);
  /** Shard by shard, because the server of one may stand still. */
  const running = new Map<number, Promise<void>>();

  function lacking(): number[] {
    return Array.from(seenIn.keys()).filter((shard) => {
      const known = epochs.of(shard);
      return known === undefined || seenIn[shard] !== known.epoch;
    });
  }

  async function look(shard: number): Promise<void> {
    const known = epochs.of(shard);
    if (!known) return;
    const found = await loadedVersions(redisOf(shard), known, [ownScripts]);
    if (found.length > 0) seenIn[shard] = known.epoch;
  }

  /** One that cannot be asked is asked again with the next refresh. */
  function lookOnce(shard: number): Promise<void> {
    const looking =
      running.get(shard) ??
      look(shard)
        .catch(() => {})
        .finally(() => running.delete(shard));
    running.set(shard, looking);
    return looking;
  }

  return {
    lacking,
    async refresh() {
      await Promise.all(lacking().map(lookOnce));
    },
  };
}
