/** What upkeep counts: work in flight that nobody has ended. */
import type { App } from '#src/app.ts';

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
