/**
 * Member days: gives points to members at the times that promotions name. It gives way to everybody else on its machine: a
 * gift may come a second later, a till may not wait.
 */
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createHealthServer } from '#src/http/health.ts';
import { promotionsQueue } from '#src/jobs/catalog.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { startJobs } from '#src/jobs/queues.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';
import { createAnyRedis, createBlockingAnyRedis, whenReady } from '#src/platform/redis-nodes.ts';

exitWithParent();
const config = loadConfig();
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
const app = await createApp(config, 'promotions');
const { log, metrics } = app.telemetry;

const giver = createGiver(app);
const producer = createAnyRedis(config.redisUrl);
await whenReady(producer);
const jobs = await startJobs(
  promotionsQueue,
  () => createBlockingAnyRedis(config.redisUrl),
  producer,
  { gives: () => giver.tick() },
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
await jobs.stop();
await giver.stop();
health?.close();
producer.disconnect();
await app.close();
process.exit(0);
