/** What a writer knows of a shard whose lease it holds. */
import type { Redis } from 'ioredis';
import type { OpenEpoch } from './fence.ts';
import type { Lease } from './lease.ts';
import type { Reached } from './trim.ts';
import type { ShardProgress, ShardTurn } from './writer.ts';
import type { ShardState } from './writer-options.ts';

export interface HeldShard {
  lease: Lease;
  progress: ShardProgress | undefined;
  state: ShardState;
  /** The shard's epoch as Redis serves it, as long as nobody restarted or replaced it. */
  open: OpenEpoch | undefined;
  /** The journal did not continue the books: only a new epoch opens the shard again. */
  broken: boolean;
  /** When the shard was seen not to be open, on the clock of `performance.now()`. */
  lossSeenAt: number;
  retryAt: number;
  /** Where its recovery was tried last: on another server it is tried at once. */
  triedOn: Redis | undefined;
  failures: number;
  caughtUpAt: number;
  /** Positions by the time they were reached, oldest first; what is older than the keeping time is trimmed. */
  readonly reached: Reached[];
}

/** A shard whose lease was just taken: nothing is known of it yet. */
export function newlyHeld(lease: Lease, now: number): HeldShard {
  return {
    lease,
    progress: undefined,
    state: 'recovering',
    open: undefined,
    broken: false,
    lossSeenAt: performance.now(),
    retryAt: 0,
    triedOn: undefined,
    failures: 0,
    caughtUpAt: now,
    reached: [],
  };
}

const reachedMax = 1_000;

/** Notes how far a turn has brought a shard, where it is still held. */
export function noteReached(shard: HeldShard | undefined, { progress, readAt }: ShardTurn): void {
  if (!shard) return;
  const now = Date.now();
  shard.failures = 0;
  if (readAt !== undefined) shard.caughtUpAt = readAt;
  const last = shard.reached.at(-1);
  if (shard.reached.length < reachedMax && (!last || now - last.at > 1_000))
    shard.reached.push({ at: now, seq: progress.seq });
}
