/** What upkeep counts: work in flight that nobody has ended. */
import type { App } from '#src/app.ts';

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
