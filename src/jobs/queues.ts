/** Queue and worker of the catalogue, with their metrics. BullMQ carries timers and side work, never the journal. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import type { AnyRedis } from '#src/platform/redis-nodes.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import { type JobName, type JobQueue, queuePrefix } from './catalog.ts';

export type Handlers<Name extends string = JobName> = Readonly<Record<Name, () => Promise<unknown>>>;

export interface Jobs {
  stop(): Promise<void>;
}

const measureMs = 5_000;
const keptFailed = 1_000;
/** The most frequent jobs come every two seconds. */
const overdueMsMax = 15_000;
const closeMsMax = 10_000;

interface Working {
  readonly worker: Worker;
  readonly connection: AnyRedis;
  /** When it got its last job, or began; `performance.now()`. */
  heardAt: number;
}

/**
 * Sets up every schedule and works the queue until stopped. `connect` opens a connection without a request limit.
 *
 * A worker can wait for ever on a connection that is dead, most of all after failovers of a cluster (bullmq issues 4138,
 * 3185), and says nothing then. Where jobs are overdue, Redis answers and the worker has got none all that time, it is
 * replaced by one with connections of its own.
 */
export async function startJobs<Name extends string>(
  { name: queueName, jobs }: JobQueue<Name>,
  connect: () => AnyRedis,
  producer: AnyRedis,
  handlers: Handlers<Name>,
  log: Logger,
  metrics: Metrics,
): Promise<Jobs> {
  const jobNames = Object.keys(jobs) as Name[];
  const queue = new Queue(queueName, { connection: producer, prefix: queuePrefix });
  async function schedule(): Promise<void> {
    for (const name of jobNames) {
      const opts = { removeOnComplete: { count: 100 }, removeOnFail: { count: keptFailed } };
      await queue.upsertJobScheduler(name, { every: jobs[name].everyMs }, { name, data: {}, opts });
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
    await working.worker.resume();
  }
  function work(): Working {
    const connection = connect();
    const worker = new Worker(queueName, runJob, {
      connection,
      prefix: queuePrefix,
      concurrency: jobNames.length,
      maxStalledCount: 10,
    });
    worker.on('active', () => {
      started.heardAt = performance.now();
    });
    worker.on('failed', (job, error) => log.error({ err: error, job: job?.name }, 'a job failed'));
    worker.on('error', (error) => {
      log.warn({ err: error }, 'the queue cannot be reached');
      if (!error.message.includes('OOM')) return;
      // It would ask a full Redis hundreds of times a second; it goes on once the timers can be set.
      isDoubtful = true;
      worker.pause(true).catch(() => {});
    });
    const started: Working = { worker, connection, heardAt: performance.now() };
    return started;
  }
  let working = work();
  /** Ends a worker; one that is forced may have a connection that never answers, so its end is not waited for. */
  async function end({ worker, connection }: Working, isForced: boolean): Promise<void> {
    const closed = worker.close(isForced).catch(() => {});
    await Promise.race([closed, delay(isForced ? 0 : closeMsMax, undefined, { ref: false })]);
    connection.disconnect();
  }
  async function replaceSilent(): Promise<void> {
    if (isDoubtful || performance.now() - working.heardAt < overdueMsMax) return;
    const next = (await queue.getJobSchedulers()).map((scheduler) => scheduler.next ?? Infinity);
    if (Date.now() - Math.min(...next) < overdueMsMax) return;
    log.warn('jobs are overdue and the worker gets none; it is replaced');
    const silent = working;
    working = work();
    await end(silent, true);
  }
  async function runJob(job: Job): Promise<unknown> {
    // A timer of another version, which runs beside this one or has run before it: its own upkeep takes the next tick.
    if (!Object.hasOwn(jobs, job.name)) return undefined;
    const name = job.name as Name;
    jobs[name].payload.parse(job.data);
    return handlers[name]();
  }
  queue.on('error', () => {});
  const keepSchedule = () =>
    scheduleAgain()
      .then(replaceSilent)
      .catch((error: unknown) => {
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
      await end(working, false);
      await queue.close();
    },
  };
}
