/**
 * How fast a process gives. Nobody waits for a gift, and a till waits for its receipt: where others move points too, a call of
 * gifts is followed by a rest of seven times its own length, so that with two under way a quarter of Redis's time is the
 * gifts'. A call that takes longer, because Redis or the machine is busy, brings a longer rest. Alone there is none.
 *
 * Whether there are others is told by the journals: records that were appended between the gifts and are none of this
 * process's. Another process that gives is one of the others, so two share what one would have.
 */
import type { Position } from '#src/values.ts';

/**
 * One till's movement waits for two calls of 64 at most, 3 ms. Alone, two more are decided while Redis writes what the first two did to
 * its file, and replies are read: 16,600 awards a second became 19,500.
 */
const callsMax = { alone: 4, shared: 2 };
const restsPerCall = 7;
const restMsMax = 500;
const windowMs = 250;
/** Fewer records of others in a second are timers and single movements. */
const othersPerSecondMin = 20;

export interface Pace {
  /** Runs a call when its turn comes. */
  take<T>(call: () => Promise<T>): Promise<T>;
  /** A gift of this process was recorded there; those of a shard come in their order. */
  gave(position: Position): void;
  /** Whether others move points at the moment, as far as has been seen. */
  isShared(): boolean;
}

interface Seen {
  epoch: number;
  seq: number;
}

/** `clock` counts milliseconds. */
export function createPace(clock: () => number = () => performance.now()): Pace {
  let underWay = 0;
  const waiting: (() => void)[] = [];
  const last = new Map<number, Seen>();
  // Until something has been seen, there may be others.
  let isShared = true;
  let others = 0;
  let windowBeganMs = clock();

  const hasRoom = () => underWay < (isShared ? callsMax.shared : callsMax.alone);

  function release(): void {
    underWay -= 1;
    while (waiting.length > 0 && hasRoom()) {
      underWay += 1;
      waiting.shift()!();
    }
  }

  return {
    async take(call) {
      if (hasRoom()) underWay += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      const beganMs = clock();
      try {
        return await call();
      } finally {
        const restMs = Math.min(restMsMax, (clock() - beganMs) * restsPerCall);
        if (isShared) setTimeout(release, restMs);
        else release();
      }
    },
    gave({ shard, epoch, seq }) {
      const before = last.get(shard);
      if (before?.epoch === epoch && seq > before.seq) others += seq - before.seq - 1;
      last.set(shard, { epoch, seq });
      const tookMs = clock() - windowBeganMs;
      if (tookMs < windowMs) return;
      isShared = (others / tookMs) * 1_000 >= othersPerSecondMin;
      others = 0;
      windowBeganMs += tookMs;
    },
    isShared: () => isShared,
  };
}
