/** Tiers and segments: reads the books into the diary, moves members between tiers, measures them at night. */
import { createFollower } from '#src/diary/follower.ts';
import { startFollowing } from '#src/diary/following.ts';
import { tiersQueue } from '#src/jobs/catalog.ts';
import { createSegmenter } from '#src/jobs/segments.ts';
import { reviewTouched, startTiers } from '#src/jobs/tiers.ts';
import { runWorker } from '#src/worker.ts';

await runWorker({
  process: 'tiers',
  queue: tiersQueue,
  givesWay: true,
  begin(app) {
    const { pool, programs, telemetry } = app;
    const { log, metrics } = telemetry;
    const hook = reviewTouched(programs, log);
    const following = startFollowing(
      createFollower({ pool, programs, log, metrics, hook }),
      log,
      metrics.diaryLagSeconds,
    );
    const tiers = startTiers(app);
    const segmenter = createSegmenter(app);
    return {
      jobs: { tiers: () => tiers.tick(), segments: () => segmenter.tick() },
      async stop() {
        await Promise.all([tiers.stop(), segmenter.stop(), following.stop()]);
      },
    };
  },
});
