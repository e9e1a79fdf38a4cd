/** Exchanges with partners: finishes what processes have left, asks partners again, tells what became of it. */
import { allianceQueue } from '#src/jobs/catalog.ts';
import { startExchanges } from '#src/jobs/exchanges.ts';
import { runWorker } from '#src/worker.ts';

await runWorker({
  process: 'alliance',
  queue: allianceQueue,
  begin(app) {
    const exchanges = startExchanges(app);
    return {
      jobs: { exchanges: () => exchanges.tick(), exchangeTidings: () => exchanges.tend() },
      stop: () => exchanges.stop(),
    };
  },
});
