/** Timers and side work: what is due, transfers and merges whose process died, repeated references, eviction. */
import { once } from 'node:events';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createHealthServer } from '#src/http/health.ts';
import { auditPart, publishAudit } from '#src/jobs/audit.ts';
import { upkeepQueue } from '#src/jobs/catalog.ts';
import { takeBackConflicts } from '#src/jobs/conflicts.ts';
import { bookDue } from '#src/jobs/due.ts';
import { createEviction, keepRoom } from '#src/jobs/eviction.ts';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { keepMonthsAhead } from '#src/jobs/months.ts';
import { startJobs } from '#src/jobs/queues.ts';
import { warnAll } from '#src/jobs/warnings.ts';
import { measureOpenWork } from '#src/jobs/watch.ts';
import { createMembers } from '#src/members/members.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';
import { createAnyRedis, createBlockingAnyRedis, whenReady } from '#src/platform/redis-nodes.ts';

exitWithParent();
const config = loadConfig();
const app = await createApp(config, 'upkeep');
const { log, metrics } = app.telemetry;
const members = createMembers(app);
const perRunMax = 200;
/** Half of a core at most: every two seconds for what is hot, and twice every five for the books. */
const auditMs = 1_000;

const room = keepRoom(app);
const producer = createAnyRedis(config.redisUrl);
await whenReady(producer);
const jobs = await startJobs(
  upkeepQueue,
  () => createBlockingAnyRedis(config.redisUrl),
  producer,
  {
    due: () => bookDue(app),
    warnings: () => warnAll(app),
    transfers: () => members.relay.relayOpen(perRunMax),
    merges: () => members.merges.resume(perRunMax),
    conflicts: () => takeBackConflicts(app),
    quarantine: () => freezeQuarantined(app),
    openWork: () => measureOpenWork(app),
    auditHot: () => auditPart(app, 'hot', auditMs),
    auditBooks: async () => {
      for (const part of ['books', 'entries', 'rows', 'transfers'] as const)
        await auditPart(app, part, auditMs);
    },
    auditState: () => publishAudit(app),
    months: () => keepMonthsAhead(app),
    eviction: createEviction(app, config.evictIdleSeconds),
  },
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
await room.stop();
health?.close();
producer.disconnect();
await app.close();
process.exit(0);
