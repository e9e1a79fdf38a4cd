/**
 * Exchanges that nobody works on: each partner's are taken up by themselves, so many at once, so that one partner that is slow or
 * down keeps no other waiting. A tick begins what is due and does not wait for it; what is still running is not begun again.
 */
import type { App } from '#src/app.ts';
import { forgetUses } from '#src/partners/contracts/judging.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { checkEnded } from '#src/partners/exchange/checking.ts';
import type { Exchanging } from '#src/partners/exchange/exchanges.ts';
import { measure } from '#src/partners/exchange/figures.ts';
import { forgetHistories } from '#src/partners/exchange/forgetting.ts';
import { leaseMs } from '#src/partners/exchange/policy.ts';
import { forgetQuotes } from '#src/partners/exchange/quote-rows.ts';
import { restoreLost } from '#src/partners/exchange/restoring.ts';
import { claimDue, duePartners } from '#src/partners/exchange/rows.ts';
import { tellBreaks, tellExchanges, tellLimit } from '#src/partners/exchange/telling.ts';
import { measureDisputes } from '#src/partners/reconciliation/disputes.ts';
import type { OperationHex } from '#src/values.ts';

export interface ExchangeWork {
  /** Begins what is due. */
  tick(): Promise<number>;
  /** Events, figures, checks, old quotes. What cannot be done keeps nothing else from being done, and is thrown in the end. */
  tend(): Promise<void>;
  stop(): Promise<void>;
}

const tendedPerTick = 200;
const quotesPerTick = 5_000;
const lostAtOnce = 500;
const usesAtOnce = 20_000;
const stepsAtOnce = 20_000;
const claimedMax = 64;
/** As many a tick as there are: those of the next would come on top. */
const tellTurnsMax = 20;

/** The same, which does nothing where a minute has not passed since it last began. */
function everyMinute(part: () => Promise<unknown>): () => Promise<unknown> {
  let begunMs = Number.NEGATIVE_INFINITY;
  return async () => {
    const now = performance.now();
    if (now - begunMs < 60_000) return;
    begunMs = now;
    await part();
  };
}

export function startExchanges(app: App): ExchangeWork {
  const exchanging: Exchanging = createExchanging(app, { timeoutMs: app.config.partnerTimeoutMs });
  const { pool, telemetry, patience, saga, endpoints } = exchanging;
  const { log, metrics } = telemetry;
  const running = new Map<number, Promise<void>>();
  let isStopping = false;

  async function one(id: OperationHex): Promise<void> {
    try {
      await saga.drive(id, Date.now() + leaseMs(patience));
    } catch (error) {
      log.warn({ err: error, exchange: id }, 'an exchange cannot be driven on at the moment');
    }
  }

  /** What is due of a partner, until nothing is. */
  async function work(partner: number): Promise<void> {
    const endpoint = await endpoints.of(partner);
    const limit = Math.min(claimedMax, endpoint?.callsAtOnce ?? 1);
    while (!isStopping) {
      const claimed = await claimDue(pool, partner, limit, leaseMs(patience));
      if (claimed.length === 0) return;
      await Promise.all(claimed.map(one));
    }
  }

  async function tell(): Promise<void> {
    for (let turns = 0; turns < tellTurnsMax && !isStopping; turns += 1)
      if ((await tellExchanges(pool, app.programs)) < tellLimit) break;
  }

  async function publish(): Promise<void> {
    const { open, stuck, inReview, breaks, inDoubt } = await measure(pool, patience.stuckMs);
    metrics.exchangesOpen.set(open);
    metrics.exchangesStuck.set(stuck);
    metrics.exchangesInReview.set(inReview);
    metrics.exchangeBreaksOpen.set(breaks);
    metrics.exchangesInDoubt.set(inDoubt);
  }

  async function publishDisputes(): Promise<void> {
    const disputes = await measureDisputes(pool);
    metrics.disputesOpen.set(disputes.open);
    metrics.disputesOverdue.set(disputes.overdue);
  }

  // Apart from one another: what throws ends its own part alone.
  const parts = [
    () => tellBreaks(pool),
    tell,
    publish,
    publishDisputes,
    () => checkEnded(exchanging, tendedPerTick),
    // What a PostgreSQL that was restored to an older state has lost, and what nobody asks for any more.
    everyMinute(() => restoreLost(exchanging, lostAtOnce)),
    everyMinute(() => forgetUses(pool, usesAtOnce)),
    everyMinute(() => forgetHistories(pool, stepsAtOnce)),
    () => forgetQuotes(pool, quotesPerTick),
  ];

  return {
    async tick() {
      const due = await duePartners(pool);
      for (const partner of due.filter((each) => !running.has(each))) {
        const working = work(partner)
          .catch((error: unknown) =>
            log.warn({ err: error, partner }, 'exchanges cannot be driven at the moment'),
          )
          .finally(() => running.delete(partner));
        running.set(partner, working);
      }
      return due.length;
    },
    async tend() {
      const failed: unknown[] = [];
      for (const part of parts) await part().catch((error: unknown) => failed.push(error));
      if (failed.length > 0) throw new AggregateError(failed, 'exchanges cannot be tended as they should');
    },
    async stop() {
      isStopping = true;
      await Promise.allSettled(running.values());
    },
  };
}
