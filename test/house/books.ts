/** What the tests ask of the stores directly: whether the books hold everything, and whether they are right. */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { audit, auditConnection } from '#src/ledger/audit.ts';
import { type AuditReport, renderReport } from '#src/ledger/audit-report.ts';
import { installedShards } from '#src/ledger/installation.ts';
import { keys } from '#src/wallet/keys.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import type { Stores } from './stores.ts';
import { waitFor } from './waiting.ts';

interface PositionRow {
  shard: number;
  epoch: number;
  seq: number;
}

/** Waits until the books hold the last record of every shard's journal. */
export async function booksHoldAll(pool: pg.Pool, redis: Redis, timeoutMs = 20_000): Promise<void> {
  let behind: string[] = [];
  const asked = async () => {
    const positions = (await pool.query<PositionRow>('select shard, epoch, seq from position')).rows;
    behind = [];
    for (const { shard, epoch, seq } of positions) {
      const last = (await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1))[0]?.[0];
      if (last !== `${epoch}-${seq}`)
        behind.push(`shard ${shard}: journal ${last ?? 'none'}, books ${epoch}-${seq}`);
    }
    return behind.length === 0;
  };
  await waitFor('the books hold every record of the journals', asked, timeoutMs).catch((error: unknown) => {
    throw new Error(`the books stay behind: ${behind.join('; ')}`, { cause: error });
  });
}

/** The audit's report, of one shard where one is named. */
export async function auditOf(
  { databaseUrl, redisUrl }: Pick<Stores, 'databaseUrl' | 'redisUrl'>,
  shard?: number,
): Promise<AuditReport> {
  const connection = auditConnection(databaseUrl);
  await connection.connect();
  const nodes = await openShardNodes(redisUrl, await installedShards(connection));
  try {
    return await audit({ connection, nodes, shard });
  } finally {
    nodes.close();
    await connection.end();
  }
}

/** Runs the audit; fails with its report when it finds anything. */
export async function assertAuditClean(stores: Pick<Stores, 'databaseUrl' | 'redisUrl'>): Promise<void> {
  const report = await auditOf(stores);
  if (!report.clean) throw new Error(`the audit found faults:\n${renderReport(report)}`);
}
