/**
 * What this process knows of each shard's epoch, and the digests of the scripts that are valid in it. Recovery opens
 * epochs and writes them to PostgreSQL; everybody else reads them here.
 */
import type pg from 'pg';
import { idempotencyWindowMs } from './limits.ts';
import type { Script, ScriptName, ShardEpoch } from './scripts.ts';
import { scriptsOf } from './scripts.ts';

interface Known extends ShardEpoch {
  readonly scripts: Readonly<Record<ScriptName, Script>>;
}

export interface Epochs {
  /** Epoch and scripts of a shard; undefined before recovery opened its first epoch. */
  of(shard: number): Known | undefined;
  /** Reads all epochs; concurrent callers share one query. */
  refresh(): Promise<void>;
  /** Whether every shard has an epoch. */
  complete(): boolean;
  /**
   * Until when (epoch ms) references must be looked up in PostgreSQL even when they carry a fresh time: after a cold
   * recovery Redis has forgotten the references of the last window.
   */
  lookupUntil(): number;
}

interface EpochRow {
  shard: number;
  epoch: number;
  cold_below: number;
  previous_epoch: number;
  opened_at: Date;
}

const query = `select distinct on (shard) shard, epoch, cold_below, previous_epoch, opened_at from epoch order by shard, epoch desc`;

/** The epochs as PostgreSQL has them; call `refresh` after a fence and once a second. */
export function createEpochs(pool: pg.Pool, shardCount: number): Epochs {
  const known: (Known | undefined)[] = new Array<Known | undefined>(shardCount).fill(undefined);
  let until = 0;
  let running: Promise<void> | undefined;

  async function read(): Promise<void> {
    const result = await pool.query<EpochRow>(query);
    for (const row of result.rows) {
      if (known[row.shard]?.epoch === row.epoch) continue;
      const shardEpoch = { shard: row.shard, epoch: row.epoch, coldBelow: row.cold_below };
      known[row.shard] = { ...shardEpoch, scripts: scriptsOf(shardEpoch) };
      // The very first epoch has nothing to forget.
      const forgot = row.cold_below === row.epoch && row.previous_epoch > 0;
      if (forgot) until = Math.max(until, row.opened_at.getTime() + idempotencyWindowMs);
    }
  }

  return {
    of: (shard) => known[shard],
    refresh() {
      running ??= read().finally(() => {
        running = undefined;
      });
      return running;
    },
    complete: () => known.every((row) => row !== undefined),
    lookupUntil: () => until,
  };
}
