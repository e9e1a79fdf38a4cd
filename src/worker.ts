/** A worker process of jobs, from its start to the end of its draining: what all of them do alike. */
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { type App, createApp } from './app.ts';
import { loadConfig } from './config.ts';
import { createHealthServer } from './http/health.ts';
import type { JobQueue } from './jobs/catalog.ts';
import { startJobs } from './jobs/queues.ts';
import { exitWithParent } from './platform/local/parent.ts';
import { createAnyRedis, createBlockingAnyRedis, whenReady } from './platform/redis-nodes.ts';

export interface Work<Name extends string> {
  readonly jobs: Readonly<Record<Name, () => Promise<unknown>>>;
  /** Ends what goes on beside the jobs, once no job runs any more. */
  stop?(): Promise<void>;
}

export interface Worker<Name extends string> {
  readonly process: Parameters<typeof createApp>[1];
  readonly queue: JobQueue<Name>;
  /** It gives way to everybody else on its machine: what it does may come a second later, a till may not wait. */
  readonly givesWay?: boolean;
  begin(app: App): Work<Name>;
}

/** Works until SIGTERM or SIGINT, then drains and ends the process. */
export async function runWorker<Name extends string>(worker: Worker<Name>): Promise<never> {
  exitWithParent();
  // From the beginning: whoever is told to stop while it starts has work under way already, and drains it.
  const told = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  const config = loadConfig();
  if (worker.givesWay) setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const app = await createApp(config, worker.process);
  const { log, metrics } = app.telemetry;
  const work = worker.begin(app);
  const producer = createAnyRedis(config.redisUrl);
  await whenReady(producer);
  const connect = () => createBlockingAnyRedis(config.redisUrl);
  const jobs = await startJobs(worker.queue, connect, producer, work.jobs, log, metrics);
  const health =
    config.workerMetricsPort === undefined
      ? undefined
      : createHealthServer(app.telemetry, () => Promise.resolve(app.standing.faults())).listen(
          config.workerMetricsPort,
          config.listenHost,
        );

  await told;
  log.info('draining');
  await jobs.stop();
  await work.stop?.();
  health?.close();
  producer.disconnect();
  await app.close();
  process.exit(0);
}
