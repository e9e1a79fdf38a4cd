/**
 * What this process knows of each shard's epoch, and the digests of the scripts that are valid in it. Recovery opens
 * epochs and writes them to PostgreSQL; everybody else reads them here.
 */
import type pg from 'pg';
import { replicationIdOf } from '#src/platform/redis.ts';
import type { EpochMs } from '#src/values.ts';
import { idempotencyWindowMs } from './limits.ts';
import type { Script, ScriptName, ShardEpoch } from './scripts.ts';
import { scriptsOf } from './scripts.ts';

interface Known extends ShardEpoch {
  readonly scripts: Readonly<Record<ScriptName, Script>>;
  readonly redisIdentity: string;
  /** When this process first saw the epoch; what it looked up before says nothing about it. */
  readonly learnedAt: EpochMs;
}

export interface Epochs {
  /**
   * Epoch and scripts of a shard; undefined before recovery opened its first epoch, and while another Redis answers than
   * the one that the epoch was opened on.
   */
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
  redis_identity: string | null;
  /** When members and references in Redis were last forgotten; null where they never were. */
  forgot_at: Date | null;
}

const query = `
  select distinct on (e.shard) e.shard, e.epoch, e.cold_below, e.redis_identity, cold.opened_at as forgot_at
  from epoch e left join epoch cold on cold.shard = e.shard and cold.epoch = e.cold_below and cold.previous_epoch > 0
  order by e.shard, e.epoch desc`;

/** The epochs as PostgreSQL has them; call `refresh` after a fence and once a second. */
export function createEpochs(
  pool: pg.Pool,
  shardCount: number,
  /** Of the Redis that this process is connected to for a shard. */
  identity: (shard: number) => string | undefined,
): Epochs {
  const known: (Known | undefined)[] = new Array<Known | undefined>(shardCount).fill(undefined);
  let until = 0;
  let running: Promise<void> | undefined;

  async function read(): Promise<void> {
    const result = await pool.query<EpochRow>(query);
    for (const row of result.rows) {
      const { shard, epoch, cold_below: coldBelow, redis_identity: redisIdentity } = row;
      if (known[shard]?.epoch === epoch) continue;
      // A recovery has only passed through it so far; nobody may call anything.
      if (redisIdentity === null) {
        known[shard] = undefined;
        continue;
      }
      const shardEpoch = { shard, epoch, coldBelow, replicationId: replicationIdOf(redisIdentity) };
      known[shard] = {
        ...shardEpoch,
        scripts: scriptsOf(shardEpoch),
        redisIdentity,
        learnedAt: Date.now(),
      };
      if (row.forgot_at) until = Math.max(until, row.forgot_at.getTime() + idempotencyWindowMs);
    }
  }

  return {
    of(shard) {
      const row = known[shard];
      return row?.redisIdentity === identity(shard) ? row : undefined;
    },
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
