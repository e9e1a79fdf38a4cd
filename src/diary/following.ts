/** Keeps a follower of the books going: turn after turn while there is something to read, a look every 100 ms while there is not. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '#src/platform/telemetry.ts';

/** A tenth of the second in which a promotion is to be in effect. */
const idleMs = 100;
const failedMs = 1_000;

export interface Following {
  /** Ends after the turn that is under way. */
  stop(): Promise<void>;
}

/** `lagSeconds` says since when turns fail; `what` names the follower in the log. */
export function startFollowing(
  follower: { turn(): Promise<number> },
  log: Pick<Logger, 'error'>,
  lagSeconds: { set(value: number): void },
  what: 'diary' | 'clearing' = 'diary',
): Following {
  const stopping = new AbortController();
  let goneOnAt = performance.now();
  const pause = (ms: number) => delay(ms, undefined, { signal: stopping.signal }).catch(() => {});

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const operations = await follower.turn();
        goneOnAt = performance.now();
        if (operations === 0) await pause(idleMs);
      } catch (error) {
        lagSeconds.set((performance.now() - goneOnAt) / 1_000);
        log.error({ err: error }, `a turn of the ${what} failed; it is tried again`);
        await pause(failedMs);
      }
    }
  }

  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
