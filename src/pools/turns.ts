/**
 * Whose turn it is to collect the points of a pool. The unique index decides; this only lets those wait who would be refused by it:
 * one after the other within a process, and asking again where another process has the turn. Where that one has not been heard
 * of for a second, its redemption is driven on from here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { Collector } from './collecting.ts';
import type { PoolNumber } from './ids.ts';
import { whoseTurn } from './redemption-rows.ts';

export interface Turns {
  isFree(tx: pg.PoolClient, pool: PoolNumber): Promise<boolean>;
  /** Tries until it need not wait any more. Throws `reference_in_progress` when the deadline has passed. */
  take<T extends string>(
    pool: PoolNumber,
    deadlineMs: number,
    attempt: () => Promise<T | 'waits'>,
  ): Promise<Exclude<T, 'waits'>>;
}

const waitingMax = 256;
const askAgainMs = 25;

interface Queue {
  tail: Promise<unknown>;
  length: number;
}

export function createTurns(database: pg.Pool, collector: Collector): Turns {
  const queues = new Map<PoolNumber, Queue>();

  function busy(): Problem {
    return new Problem('reference_in_progress', 'the pool is busy with other redemptions; repeat it');
  }

  async function tryUntil<T extends string>(
    pool: PoolNumber,
    deadlineMs: number,
    attempt: () => Promise<T | 'waits'>,
  ): Promise<Exclude<T, 'waits'>> {
    while (Date.now() < deadlineMs) {
      const outcome = await attempt();
      if (outcome !== 'waits') return outcome as Exclude<T, 'waits'>;
      const turn = await whoseTurn(database, pool);
      if (turn?.isLeft) await collector.drive(turn.redemption, deadlineMs, 'decided');
      else await delay(askAgainMs);
    }
    throw busy();
  }

  return {
    isFree: async (tx, pool) => (await whoseTurn(tx, pool)) === undefined,
    async take(pool, deadlineMs, attempt) {
      const queue = queues.get(pool) ?? { tail: Promise.resolve(), length: 0 };
      if (queue.length >= waitingMax) throw busy();
      queues.set(pool, queue);
      queue.length += 1;
      const mine = queue.tail.then(() => tryUntil(pool, deadlineMs, attempt));
      queue.tail = mine.catch(() => {});
      try {
        return await mine;
      } finally {
        queue.length -= 1;
        if (queue.length === 0) queues.delete(pool);
      }
    },
  };
}
