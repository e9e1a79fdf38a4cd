/** Queue and worker of the catalogue, with their metrics. BullMQ carries timers and side work, never the journal. */
import { type Job, Queue, Worker } from 'bullmq';
import type { AnyRedis } from '#src/platform/redis-nodes.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import { catalog, type JobName, jobNames, queueName, queuePrefix } from './catalog.ts';

export type Handlers = Readonly<Record<JobName, () => Promise<unknown>>>;

export interface Jobs {
  stop(): Promise<void>;
}

const measureMs = 5_000;
const keptFailed = 1_000;

/** Sets up every schedule and works the queue until stopped. `connection` must have no request limit. */
export async function startJobs(
  connection: AnyRedis,
  producer: AnyRedis,
  handlers: Handlers,
  log: Logger,
  metrics: Metrics,
): Promise<Jobs> {
  const queue = new Queue(queueName, { connection: producer, prefix: queuePrefix });
  async function schedule(): Promise<void> {
    for (const name of jobNames) {
      const opts = { removeOnComplete: { count: 100 }, removeOnFail: { count: keptFailed } };
      await queue.upsertJobScheduler(name, { every: catalog[name].everyMs }, { name, data: {}, opts });
    }
  }
  let isDoubtful = false;
  /**
   * A Redis that lost its data has lost the timers too, and one that is full refuses to set the next one: nobody else would
   * set them again.
   */
  async function scheduleAgain(): Promise<void> {
    if (!isDoubtful && (await queue.getJobSchedulersCount()) === jobNames.length) return;
    isDoubtful = false;
    await schedule();
    await worker.resume();
  }
  const worker = new Worker(
    queueName,
    async (job: Job) => {
      // A timer of another version, which runs beside this one or has run before it: its own upkeep takes the next tick.
      if (!Object.hasOwn(catalog, job.name)) return undefined;
      const name = job.name as JobName;
      catalog[name].payload.parse(job.data);
      return handlers[name]();
    },
    { connection, prefix: queuePrefix, concurrency: jobNames.length, maxStalledCount: 10 },
  );
  worker.on('failed', (job, error) => log.error({ err: error, job: job?.name }, 'a job failed'));
  worker.on('error', (error) => {
    log.warn({ err: error }, 'the queue cannot be reached');
    if (!error.message.includes('OOM')) return;
    // It would ask a full Redis hundreds of times a second; it goes on once the timers can be set.
    isDoubtful = true;
    worker.pause(true).catch(() => {});
  });
  queue.on('error', () => {});
  const keepSchedule = () =>
    scheduleAgain().catch((error: unknown) => {
      isDoubtful = true;
      log.warn({ err: error }, 'the jobs cannot be scheduled at the moment');
    });
  await keepSchedule();
  const timer = setInterval(() => {
    void keepSchedule();
    queue.getJobCounts('waiting', 'active', 'delayed', 'failed').then(
      (counts) => {
        for (const [state, count] of Object.entries(counts))
          metrics.queueJobs.set({ queue: queueName, state }, count);
      },
      () => {},
    );
  }, measureMs);
  return {
    async stop() {
      clearInterval(timer);
      await worker.close();
      await queue.close();
    },
  };
}
