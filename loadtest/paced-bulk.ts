/**
 * Bulk accruals as fast as the books follow: whoever sends without regard for them measures how fast a journal can be
 * filled, which no installation can keep up. A call waits while the oldest record that is not in the books is older than
 * half a second, and the time until the books hold everything counts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { sendAll } from './driver.ts';
import { drained, type Lag } from './lag.ts';

export const itemsPerCall = 1_000;
const callsUnderWay = 4;
const lagSecondsMax = 0.5;
const readEveryMs = 50;
/** Books that stand still for so long end the run. */
const standstillMs = 60_000;

interface BulkRun {
  readonly items: number;
  /** Until the books held everything. */
  readonly seconds: number;
  readonly lagSecondsLargest: number;
}

export interface BulkOrder {
  readonly port: number;
  readonly calls: number;
  readonly abort: AbortSignal;
  /** The bytes of the next call of `itemsPerCall` items. */
  request(): Buffer;
  /** Absent where nobody brings the journal to the books. */
  readonly lag?: Lag;
}

/** Keeps reading the lag until it is closed; `passed` resolves when the books are near enough. */
function gate(lag: Lag, abort: AbortSignal) {
  let behindSeconds = 0;
  let largest = 0;
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      behindSeconds = (await lag.read()).seconds;
      largest = Math.max(largest, behindSeconds);
      await delay(readEveryMs);
    }
  };
  const watching = watch();
  watching.catch(() => undefined);
  return {
    async passed(): Promise<void> {
      const endMs = performance.now() + standstillMs;
      while (behindSeconds > lagSecondsMax) {
        abort.throwIfAborted();
        if (performance.now() > endMs) throw new Error(`the books stand still for ${standstillMs / 1_000} s`);
        await delay(5);
      }
    },
    async close(): Promise<number> {
      isOver = true;
      await watching;
      return largest;
    },
  };
}

/** Sends the calls; throws where one is not answered with 200. Items that were refused are the caller's to count. */
export async function sendBulk({ port, calls, abort, request, lag }: BulkOrder): Promise<BulkRun> {
  const startedMs = performance.now();
  const books = lag && gate(lag, abort);
  let next = 0;
  const work = async () => {
    while (next < calls) {
      next += 1;
      abort.throwIfAborted();
      await books?.passed();
      const [reply] = await sendAll({ port, connections: 1, request }, 1);
      if (reply!.status !== 200) throw new Error(`a bulk call was answered with ${reply!.status}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: callsUnderWay }, work));
  } catch (error) {
    await books?.close().catch(() => undefined);
    throw error;
  }
  const lagSecondsLargest = (await books?.close()) ?? 0;
  if (lag) await drained(lag);
  return { items: calls * itemsPerCall, seconds: (performance.now() - startedMs) / 1_000, lagSecondsLargest };
}
