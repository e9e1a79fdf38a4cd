/**
 * The audit: recomputes the books from the operations and compares Redis with them. It runs while the service does: the
 * books are read in one snapshot, what is hot is compared at the same sequence, and nothing is written anywhere.
 *
 * Its parts are for a worker that audits all the time, too: `auditShardBooks` walks one shard, `compareHotMembers` takes
 * some members.
 */
import type { Redis } from 'ioredis';
import pg from 'pg';
// Its parser of 64-bit integers is the one that every query here counts on.
import '#src/platform/postgres.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { keys, shardPrefix } from '#src/wallet/keys.ts';
import { auditShardBooks } from './audit-books.ts';
import {
  compareHotMembers,
  compareHotOperations,
  type HotComparison,
  type HotStores,
  hotPerBatch,
} from './audit-hot.ts';
import { type AuditReport, type Collector, createCollector } from './audit-report.ts';
import { differenceText, pointsOf } from './audit-standing.ts';
import { auditSums } from './audit-sums.ts';
import { installedShards } from './installation.ts';

export interface AuditOptions {
  /** A connection of the audit's own (`auditConnection`), connected. */
  readonly connection: pg.ClientBase;
  readonly nodes: RedisNodes;
  /** One shard alone; all when absent. */
  readonly shard?: number | undefined;
  /** Told which part begins. */
  readonly onProgress?: (sentence: string) => void;
}

/** How long an audit waits altogether for books that are behind Redis. */
const patienceMs = 10_000;
const scanCount = 1_000;

/** A connection whose statements may run as long as a sum over a large ledger takes. */
export function auditConnection(databaseUrl: string): pg.Client {
  return new pg.Client({
    connectionString: databaseUrl,
    application_name: 'audit',
    connectionTimeoutMillis: 5_000,
    statement_timeout: 3_600_000,
  });
}

/** Hot names of one sort and shard; SCAN may say a name twice. */
async function* hotNames(redis: Redis, pattern: string): AsyncGenerator<string[]> {
  let cursor = '0';
  let names: string[] = [];
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount);
    cursor = next;
    names.push(...found.map((key) => key.slice(pattern.length - 1)));
    while (names.length >= hotPerBatch) {
      yield names.slice(0, hotPerBatch);
      names = names.slice(hotPerBatch);
    }
  } while (cursor !== '0');
  if (names.length > 0) yield names;
}

function collect(
  collector: Collector,
  check: 'hot members' | 'hot operations',
  shard: number,
  { compared, skipped, differences, unreadable }: HotComparison,
): void {
  collector.compared(check, compared);
  collector.skipped(check, skipped);
  for (const difference of differences) {
    const where = { shard, ...difference.figure.where };
    collector.found({ check, where, detail: differenceText(difference), points: pointsOf(difference) });
  }
  for (const name of unreadable) {
    const where =
      check === 'hot members' ? { shard, member: Number(name) as MemberNumber } : { shard, operation: name };
    collector.found({
      check,
      where,
      detail: 'the state in Redis cannot be read, or names a record that never was',
      points: 0,
    });
  }
}

/** Compares everything that is hot in a shard. */
export async function auditShardHot(stores: HotStores, shard: number, collector: Collector): Promise<void> {
  collector.compared('hot members', 0);
  collector.compared('hot operations', 0);
  for await (const names of hotNames(stores.nodes.of(shard), keys.memberPattern(shard))) {
    collect(
      collector,
      'hot members',
      shard,
      await compareHotMembers(stores, shard, names.map(Number) as MemberNumber[]),
    );
  }
  for await (const names of hotNames(stores.nodes.of(shard), `${shardPrefix(shard)}o:*`)) {
    collect(
      collector,
      'hot operations',
      shard,
      await compareHotOperations(stores, shard, names as OperationHex[]),
    );
  }
}

async function noteQuarantine(
  tx: pg.ClientBase,
  shard: number | undefined,
  collector: Collector,
): Promise<void> {
  const { rows } = await tx.query<{ shard: number; epoch: number; seq: number; reason: string }>(
    'select shard, epoch, seq, reason from quarantine where $1::int is null or shard = $1 order by shard, epoch, seq limit 50',
    [shard ?? null],
  );
  for (const row of rows)
    collector.note(`shard ${row.shard}, epoch ${row.epoch}, number ${row.seq}: in quarantine: ${row.reason}`);
}

async function auditBooks(
  options: AuditOptions,
  shards: readonly number[],
  shardCount: number,
  collector: Collector,
): Promise<void> {
  const { connection, shard, onProgress } = options;
  await connection.query('begin isolation level repeatable read read only');
  try {
    for (const number of shards) {
      onProgress?.(`reading the operations of shard ${number}`);
      await auditShardBooks(connection, number, collector);
    }
    onProgress?.('adding up entries');
    await auditSums(connection, shard, shardCount, collector);
    await noteQuarantine(connection, shard, collector);
  } finally {
    await connection.query('rollback');
  }
}

/** Runs the whole audit, or one shard's. */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  const { connection, nodes, shard, onProgress } = options;
  const shardCount = await installedShards(connection);
  if (shard !== undefined && shard >= shardCount)
    throw new Error(`there is no shard ${shard}: this installation has ${shardCount}, from 0`);
  const shards = shard === undefined ? Array.from({ length: shardCount }, (_, i) => i) : [shard];
  const collector = createCollector();
  await auditBooks(options, shards, shardCount, collector);
  const stores: HotStores = { nodes, connection, patience: { leftMs: patienceMs } };
  for (const number of shards) {
    onProgress?.(`comparing what is hot in shard ${number}`);
    await auditShardHot(stores, number, collector);
  }
  return collector.report();
}
