/**
 * Exchanges with partners: finishes what processes have left, asks partners again, tells what became of it. And clearing: reads the
 * books into what partners are billed by.
 */
import { startFollowing } from '#src/diary/following.ts';
import { allianceQueue } from '#src/jobs/catalog.ts';
import { startExchanges } from '#src/jobs/exchanges.ts';
import { createClearingFollower } from '#src/partners/clearing/follower.ts';
import { tendPrepaid } from '#src/partners/clearing/tending.ts';
import { runWorker } from '#src/worker.ts';

await runWorker({
  process: 'alliance',
  queue: allianceQueue,
  begin(app) {
    const { pool, programs, telemetry } = app;
    const { log, metrics } = telemetry;
    const exchanges = startExchanges(app);
    const clearing = createClearingFollower({ pool, programs, log, metrics });
    const following = startFollowing(clearing, log, metrics.clearingLagSeconds, 'clearing');
    return {
      jobs: {
        exchanges: () => exchanges.tick(),
        exchangeTidings: () => exchanges.tend(),
        prepaid: () => tendPrepaid({ pool, programs, log, metrics }),
      },
      async stop() {
        await Promise.all([exchanges.stop(), following.stop()]);
      },
    };
  },
});
