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
  let running: Promise<void> | undefined;

  function lacking(): number[] {
    return Array.from(seenIn.keys()).filter((shard) => {
      const known = epochs.of(shard);
      return known === undefined || seenIn[shard] !== known.epoch;
    });
  }

  async function look(): Promise<void> {
    for (const shard of lacking()) {
      const known = epochs.of(shard);
      if (!known) continue;
      const found = await loadedVersions(redisOf(shard), known, [ownScripts]);
      if (found.length > 0) seenIn[shard] = known.epoch;
    }
  }

  return {
    lacking,
    refresh() {
      running ??= look().finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}
