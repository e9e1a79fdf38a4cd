/** Timers and side work: what is due, transfers and merges whose process died, repeated references, eviction. */
import { auditPart, publishAudit } from '#src/jobs/audit.ts';
import { upkeepQueue } from '#src/jobs/catalog.ts';
import { takeBackConflicts } from '#src/jobs/conflicts.ts';
import { bookDue } from '#src/jobs/due.ts';
import { createEviction, keepRoom } from '#src/jobs/eviction.ts';
import { freezeQuarantined } from '#src/jobs/freeze.ts';
import { keepMonthsAhead } from '#src/jobs/months.ts';
import { finishPools } from '#src/jobs/pools.ts';
import { warnAll } from '#src/jobs/warnings.ts';
import { measureOpenWork } from '#src/jobs/watch.ts';
import { createMembers } from '#src/members/members.ts';
import { runWorker } from '#src/worker.ts';

const perRunMax = 200;
/** Half of a core at most: every two seconds for what is hot, and twice every five for the books. */
const auditMs = 1_000;

await runWorker({
  process: 'upkeep',
  queue: upkeepQueue,
  begin(app) {
    const members = createMembers(app);
    const room = keepRoom(app);
    return {
      jobs: {
        due: () => bookDue(app),
        warnings: () => warnAll(app),
        transfers: () => members.relay.relayOpen(perRunMax),
        merges: () => members.merges.resume(perRunMax),
        pools: () => finishPools(app, perRunMax),
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
        eviction: createEviction(app, app.config.evictIdleSeconds),
      },
      stop: () => room.stop(),
    };
  },
});
