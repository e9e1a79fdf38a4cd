/** Moves the journal into the books. Run as many as you like: they share the shards by leases. */
import { once } from 'node:events';
import { loadConfig } from '#src/config.ts';
import { createHealthServer } from '#src/http/health.ts';
import { ensureInstallation } from '#src/ledger/installation.ts';
import { pointsMoved } from '#src/ledger/postings.ts';
import { type ShardState, shardStates } from '#src/ledger/writer-options.ts';
import { startWriter } from '#src/ledger/writer-process.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';
import { checkSchema } from '#src/platform/migrate.ts';
import { createPool } from '#src/platform/postgres.ts';
import { isClusterUrl } from '#src/platform/redis-topology.ts';
import { createTelemetry } from '#src/platform/telemetry.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';

/** Of several servers one that stands still holds up the turns of the others for so long, once. */
const timeouts = { commandTimeoutMs: 3_000 };

exitWithParent();
const config = loadConfig();
const telemetry = createTelemetry({
  logLevel: config.logLevel,
  processName: 'ledger-writer',
  version: '0.1.0',
});
const { metrics, log } = telemetry;
const pool = createPool(config.databaseUrl, 4);
await checkSchema(pool);
await ensureInstallation(pool, config.shardCount);
const nodes = await openShardNodes(
  config.redisUrl,
  config.shardCount,
  isClusterUrl(config.redisUrl) ? timeouts : {},
);

const writer = startWriter({
  databaseUrl: config.databaseUrl,
  pool,
  nodes,
  log,
  journalKeepMs: config.journalKeepSeconds * 1_000,
  // Half of the limit: the other half is for what is not written yet.
  journalBytesMax: config.journalLimitBytes / config.shardCount / 2,
  events: {
    written(postings, seconds) {
      metrics.ledgerRecordsWritten.inc(postings.length);
      for (const { program, kind, points } of pointsMoved(postings))
        metrics.points.inc({ program, kind }, points);
      metrics.ledgerBatchDuration.observe(seconds);
    },
    lag(shard, records, seconds) {
      metrics.ledgerLagRecords.set({ shard }, records);
      metrics.ledgerLagSeconds.set({ shard }, seconds);
    },
    state(shard, state) {
      for (const each of shardStates) {
        metrics.shardState.set({ shard, state: each }, each === state ? 1 : 0);
      }
    },
    conflict: () => metrics.referenceConflicts.inc(),
    quarantined(member, reason) {
      metrics.recordsQuarantined.inc();
      // Upkeep freezes the member; it finds the row also when this process dies now.
      log.error({ member, reason }, 'a record went into quarantine');
    },
  },
});
const health =
  config.workerMetricsPort === undefined
    ? undefined
    : createHealthServer(telemetry, () => {
        const all = [...writer.shards()];
        const inState = (reason: string, wanted: ShardState) => {
          const found = all.filter(([, state]) => state === wanted).map(([shard]) => shard);
          return found.length === 0 ? [] : [{ reason, detail: `shards ${found.join(', ')}` }];
        };
        return Promise.resolve([
          ...inState('shards_stopped', 'stopped'),
          ...inState('ledger_behind', 'ledger_behind'),
        ]);
      }).listen(config.workerMetricsPort, config.listenHost);

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
log.info('draining');
await writer.stop(config.shutdownSeconds * 1_000);
health?.close();
nodes.close();
await pool.end();
process.exit(0);
