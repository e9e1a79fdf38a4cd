/** What the tests ask of the stores directly: whether the books hold everything, and whether they are right. */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { audit, auditConnection } from '#src/ledger/audit.ts';
import { renderReport } from '#src/ledger/audit-report.ts';
import { keys } from '#src/wallet/keys.ts';
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

/** Runs the audit; fails with its report when it finds anything. */
export async function assertAuditClean(databaseUrl: string, redis: Redis): Promise<void> {
  const connection = auditConnection(databaseUrl);
  await connection.connect();
  try {
    const report = await audit({ connection, redis });
    if (!report.clean) throw new Error(`the audit found faults:\n${renderReport(report)}`);
  } finally {
    await connection.end();
  }
}
