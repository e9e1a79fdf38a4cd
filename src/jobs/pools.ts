/** What upkeep does for pools: finishes what a process has left. */
import type { App } from '#src/app.ts';
import { createCollector } from '#src/pools/collecting.ts';
import { releaseOrphans } from '#src/pools/orphans.ts';
import { resumeRefunds } from '#src/pools/refunds.ts';
import { resumeReturns } from '#src/pools/returning.ts';

/** Longer than any process takes from a row to its holds. */
const orphanMs = 600_000;

/** Drives redemptions and refunds that nobody has worked on for two seconds; answers how many it finished and could not. */
export async function finishPools(app: App, limit: number): Promise<{ finished: number; failed: number }> {
  const redemptions = await createCollector(app).resume(limit);
  const refunds = await resumeRefunds(app, limit);
  const returns = await resumeReturns(app, limit);
  const orphans = await releaseOrphans(app, orphanMs, limit);
  if (orphans > 0)
    app.telemetry.log.error(
      { orphans },
      'points were held for redemptions that are not there; they went back',
    );
  const failed = redemptions.failed + refunds.failed + returns.failed;
  if (failed > 0) app.telemetry.log.warn({ failed }, 'some movements of pools could not be finished yet');
  return { finished: redemptions.finished + refunds.finished + returns.finished, failed };
}
