/** What upkeep counts: work in flight that nobody has ended. */
import type { App } from '#src/app.ts';

/** Publishes how many transfers are in flight, what of pools has no end after a minute, repeated references nobody could take back, and operations decided stale. */
export async function measureOpenWork(app: App): Promise<void> {
  const found = await app.pool.query<{ transfers: number; conflicts: number; stale: number; pools: number }>(
    `select (select count(*) from transfer where state in ('debited', 'refused'))::int as transfers,
       (select count(*) from operation o where conflict_with is not null
          and not exists (select from consequence c where c.origin = o.operation))::int as conflicts,
       (select count(*) from decided_stale)::int as stale,
       (select count(*) from pool_redemption where state in ('collecting', 'giving_back', 'capturing', 'releasing')
            and case when hold_until is null then created_at else changed_at end < now() - interval '1 minute')::int
         + (select count(*) from pool_refund where state in ('waiting', 'refunding') and created_at < now() - interval '1 minute')::int as pools`,
  );
  app.telemetry.metrics.decidedStale.set(found.rows[0]!.stale);
  app.telemetry.metrics.poolMovementsLeft.set(found.rows[0]!.pools);
  app.telemetry.metrics.transfersOpen.set(found.rows[0]!.transfers);
  app.telemetry.metrics.referenceConflictsOpen.set(found.rows[0]!.conflicts);
}
