/** How far the books are behind the journal, seen from outside: the age of the oldest record that is not in them yet. */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';
import { parseRecord } from '#src/journal.ts';
import { keys } from '#src/wallet/keys.ts';

export interface LagReading {
  readonly records: number;
  readonly seconds: number;
}

export interface Lag {
  /** And the number of the last record that the books hold, over all journals. */
  read(): Promise<LagReading & { readonly written: number }>;
  close(): Promise<void>;
}

interface PositionRow {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

/** Watches the journals and positions of an installation. */
export function watchLag(redisUrl: string, databaseUrl: string): Lag {
  const redis = new Redis(redisUrl, { commandTimeout: 5_000, maxRetriesPerRequest: 1 });
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, query_timeout: 10_000 });
  const ignored = () => undefined;
  redis.on('error', ignored);
  pool.on('error', ignored);
  return {
    async read() {
      const { rows } = await pool.query<PositionRow>(
        'select shard, epoch, seq::int as seq from position order by shard',
      );
      const pipeline = redis.pipeline();
      for (const { shard, epoch, seq } of rows) {
        pipeline.xrange(keys.journal(shard), `${epoch}-${seq + 1}`, '+', 'COUNT', 1);
        pipeline.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
      }
      const replies = ((await pipeline.exec()) ?? []) as [Error | null, [string, string[]][]][];
      const now = Date.now();
      let records = 0;
      let seconds = 0;
      for (const [index, row] of rows.entries()) {
        const oldest = replies[index * 2]?.[1][0];
        const last = replies[index * 2 + 1]?.[1][0];
        if (!oldest || !last) continue;
        const record = parseRecord(oldest[0], oldest[1]);
        if (record.kind === 'opened') continue;
        records += parseRecord(last[0], last[1]).seq - row.seq;
        seconds = Math.max(seconds, (now - record.at) / 1_000);
      }
      return { records, seconds, written: rows.reduce((sum, { seq }) => sum + seq, 0) };
    },
    async close() {
      redis.disconnect();
      await pool.end();
    },
  };
}

const readEveryMs = 100;

/** Reads the lag again and again until `end` resolves. Answers the largest of both figures. */
export async function largestLag(lag: Lag, end: Promise<unknown>): Promise<LagReading> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  end.then(over, over);
  let largest: LagReading = { records: 0, seconds: 0 };
  while (!isOver) {
    const { records, seconds } = await lag.read();
    largest = { records: Math.max(largest.records, records), seconds: Math.max(largest.seconds, seconds) };
    await Promise.race([delay(readEveryMs), end]);
  }
  return largest;
}

const drainMsMax = 60_000;

/** Waits until the books hold everything. Answers the seconds that took; throws after a minute. */
export async function drained(lag: Lag): Promise<number> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < drainMsMax) {
    if ((await lag.read()).records === 0) return (performance.now() - startedAt) / 1_000;
    await delay(10);
  }
  throw new Error('the books did not catch up within a minute');
}
