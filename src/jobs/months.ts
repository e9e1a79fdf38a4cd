/** Keeps partitions of the ledger ahead of time, so that what is written today stands in its own month. */
import type { App } from '#src/app.ts';
import { extendLedger } from '#src/ledger/partitions.ts';

/** Adds the months that are missing; answers how many. */
export async function keepMonthsAhead(app: App): Promise<number> {
  const { log, metrics } = app.telemetry;
  const { added, ahead, isPutOff } = await extendLedger(app.pool);
  metrics.ledgerAhead.set(ahead);
  if (added > 0) log.info({ added }, 'months were added to the ledger');
  if (isPutOff) log.warn('no month could be added while the ledger was read; the next run tries again');
  return added;
}
