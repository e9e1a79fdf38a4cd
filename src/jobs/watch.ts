/** What upkeep watches: members behind quarantined records, work in flight, and whether Redis says what the books say. */
import type { App } from '#src/app.ts';
import { auditShardHot } from '#src/ledger/audit.ts';
import { createCollector } from '#src/ledger/audit-report.ts';
import { takeStep } from '#src/members/engine.ts';
import type { MemberNumber } from '#src/values.ts';

const quarantinePerRunMax = 200;

/** Freezes the spending of members with a record in quarantine; earning stays open. Answers how many were frozen. */
export async function freezeQuarantined(app: App): Promise<number> {
  const found = await app.pool.query<{ member: MemberNumber; program: number; record: string }>(
    `select q.member, m.program, q.shard || '-' || q.epoch || '-' || q.seq as record
     from quarantine q join member m on m.number = q.member where not m.frozen limit $1`,
    [quarantinePerRunMax],
  );
  let frozen = 0;
  for (const { member, program: number, record } of found.rows) {
    const program = app.programs.get(number);
    if (!program) continue;
    await takeStep(app.operations, {
      program,
      member,
      script: 'status',
      kind: 'status',
      reference: `quarantine/${record}`,
      input: { frozen: true },
      request: { body: { action: 'freeze' } },
    });
    frozen += 1;
  }
  return frozen;
}

/** Publishes how many transfers are in flight, repeated references nobody could take back, and operations decided stale. */
export async function measureOpenWork(app: App): Promise<void> {
  const found = await app.pool.query<{ transfers: number; conflicts: number; stale: number }>(
    `select (select count(*) from transfer where state in ('debited', 'refused'))::int as transfers,
       (select count(*) from operation o where conflict_with is not null
          and not exists (select from consequence c where c.origin = o.operation))::int as conflicts,
       (select count(*) from decided_stale)::int as stale`,
  );
  app.telemetry.metrics.decidedStale.set(found.rows[0]!.stale);
  app.telemetry.metrics.transfersOpen.set(found.rows[0]!.transfers);
  app.telemetry.metrics.referenceConflictsOpen.set(found.rows[0]!.conflicts);
}

const patienceMs = 5_000;

/** Compares one shard's hot members with the books each time, one after the other, and publishes the drift found last. */
export function createDriftWatch(app: App): () => Promise<number> {
  const driftByShard = new Map<number, number>();
  let next = 0;
  return async () => {
    const shard = next;
    next = (next + 1) % app.config.shardCount;
    const connection = await app.pool.connect();
    const collector = createCollector();
    try {
      await auditShardHot(
        { redis: app.redis, connection, patience: { leftMs: patienceMs } },
        shard,
        collector,
      );
    } finally {
      connection.release();
    }
    const { driftPoints } = collector.report();
    if (driftPoints > 0)
      app.telemetry.log.error({ shard, driftPoints }, 'Redis and the books differ: run npm run audit');
    driftByShard.set(shard, driftPoints);
    app.telemetry.metrics.ledgerDrift.set(
      [...driftByShard.values()].reduce((sum, points) => sum + points, 0),
    );
    return driftPoints;
  };
}
