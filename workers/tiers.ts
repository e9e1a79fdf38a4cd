/**
 * Tiers and segments: reads the books into the diary. It gives way to everybody else on its machine: a till may not wait.
 */
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createFollower } from '#src/diary/follower.ts';
import { startFollowing } from '#src/diary/following.ts';
import { createHealthServer } from '#src/http/health.ts';
import { tiersQueue } from '#src/jobs/catalog.ts';
import { startJobs } from '#src/jobs/queues.ts';
import { reviewTouched, startTiers } from '#src/jobs/tiers.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';
import { createAnyRedis, createBlockingAnyRedis, whenReady } from '#src/platform/redis-nodes.ts';

exitWithParent();
const config = loadConfig();
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
const app = await createApp(config, 'tiers');
const { pool, programs } = app;
const { log, metrics } = app.telemetry;

const following = startFollowing(
  createFollower({ pool, programs, log, metrics, hook: reviewTouched(programs) }),
  log,
  metrics,
);
const tiers = startTiers(app);
const producer = createAnyRedis(config.redisUrl);
await whenReady(producer);
const jobs = await startJobs(
  tiersQueue,
  () => createBlockingAnyRedis(config.redisUrl),
  producer,
  { tiers: () => tiers.recalculate() },
  log,
  metrics,
);
const health =
  config.workerMetricsPort === undefined
    ? undefined
    : createHealthServer(app.telemetry, () => Promise.resolve(app.standing.faults())).listen(
        config.workerMetricsPort,
        config.listenHost,
      );

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
log.info('draining');
await Promise.all([jobs.stop(), tiers.stop()]);
await following.stop();
health?.close();
producer.disconnect();
await app.close();
process.exit(0);
