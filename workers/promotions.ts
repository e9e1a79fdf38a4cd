/** Member days: gives points to members at the times that promotions name. */
import { promotionsQueue } from '#src/jobs/catalog.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { runWorker } from '#src/worker.ts';

await runWorker({
  process: 'promotions',
  queue: promotionsQueue,
  givesWay: true,
  begin(app) {
    const giver = createGiver(app);
    return { jobs: { gives: () => giver.tick() }, stop: () => giver.stop() };
  },
});
