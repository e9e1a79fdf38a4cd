/** What upkeep watches: members behind quarantined records, work in flight, and whether Redis says what the books say. */
import type { App } from '#src/app.ts';
import { auditShardHot } from '#src/ledger/audit.ts';
import { createCollector } from '#src/ledger/audit-report.ts';

/** Publishes how many transfers are in flight and how many repeated references nobody could take back. */
export async function measureOpenWork(app: App): Promise<void> {
  const found = await app.pool.query<{ transfers: number; conflicts: number }>(
    `select (select count(*) from transfer where state in ('debited', 'refused'))::int as transfers,
       (select count(*) from operation o where conflict_with is not null
          and not exists (select from consequence c where c.origin = o.operation))::int as conflicts`,
  );
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
