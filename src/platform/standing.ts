/**
 * What a serving process watches once a second: whether the stores are there and safe, how far the books are behind, how
 * large the journals are, and whether this machine's clock is right. Readiness and back-pressure read the result from
 * memory, so neither ever waits on the path of a request.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Position } from '#src/values.ts';
import { noteSkew } from './clock.ts';
import { durabilityFaults } from './postgres.ts';
import { redisFaults } from './redis.ts';

export interface Fault {
  readonly reason: string;
  readonly detail: string;
}

export interface Lag {
  readonly shard: number;
  readonly records: number;
  readonly seconds: number;
}

export interface Standing {
  faults(): readonly Fault[];
  journalFull(): boolean;
  acknowledged(position: Position): void;
  stop(): Promise<void>;
}

export interface StandingOptions {
  readonly pool: pg.Pool;
  readonly redis: Redis;
  readonly log: Logger;
  readonly processId: string;
  readonly journalKeys: readonly string[];
  readonly journalLimitBytes: number;
  readonly clockSkewMsMax: number;
  /** Shards that cannot be served at the moment. */
  closedShards(): readonly number[];
  lag(lags: readonly Lag[]): void;
  journalSize(bytes: number): void;
}

const everyMs = 1_000;
const booksBehindSecondsMax = 30;
/** Journals are refused at nine tenths of their limit: the rest is for captures, releases and refunds. */
const admittedShare = 0.9;

interface BooksRow {
  shard: number;
  epoch: number;
  seq: number;
  behind: number;
}

/** Starts watching; the first round has run when this answers. */
export async function watchStanding(options: StandingOptions): Promise<Standing> {
  const { pool, redis, log, journalKeys } = options;
  const highest = new Map<number, Position>();
  let faults: Fault[] = [{ reason: 'starting', detail: 'the first checks have not run' }];
  let full = false;

  async function checkPostgres(): Promise<Fault[]> {
    const settings = await durabilityFaults(pool);
    return settings.map((detail) => ({ reason: 'postgres_unsafe', detail }));
  }

  async function checkRedis(): Promise<Fault[]> {
    const found = (await redisFaults(redis)).map((detail) => ({ reason: 'redis_unsafe', detail }));
    const before = Date.now();
    const [seconds, micros] = await redis.time();
    const redisNow = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    const skew = Math.max(before - redisNow, redisNow - Date.now(), 0);
    noteSkew(skew, options.clockSkewMsMax);
    if (skew > options.clockSkewMsMax) {
      found.push({
        reason: 'clock_skew',
        detail: `this clock and that of Redis differ by ${Math.round(skew / 1_000)} s`,
      });
    }
    return found;
  }

  /** Measures journals and books; answers how many seconds the freshest shard of the books is behind. */
  async function measureJournals(): Promise<number> {
    const pipeline = redis.pipeline();
    for (const key of journalKeys) pipeline.memory('USAGE', key, 'SAMPLES', 2);
    for (const key of journalKeys) pipeline.xrevrange(key, '+', '-', 'COUNT', 1);
    const replies = (await pipeline.exec()) ?? [];
    const bytes = replies.slice(0, journalKeys.length).reduce((sum, [, size]) => sum + Number(size ?? 0), 0);
    options.journalSize(bytes);
    full = bytes > options.journalLimitBytes * admittedShare;
    const books = await pool.query<BooksRow>(
      'select shard, epoch, seq, extract(epoch from clock_timestamp() - written_through_at)::float8 as behind from position order by shard',
    );
    options.lag(
      books.rows.map((row) => {
        const last = replies[journalKeys.length + row.shard]?.[1] as [string, unknown][] | undefined;
        const [epoch, seq] = (last?.[0]?.[0] ?? '0-0').split('-').map(Number) as [number, number];
        const records = epoch === row.epoch ? Math.max(0, seq - row.seq) : 0;
        return { shard: row.shard, records, seconds: records === 0 ? 0 : row.behind };
      }),
    );
    return books.rows.length === 0 ? 0 : Math.min(...books.rows.map((row) => row.behind));
  }

  async function checkBooks(): Promise<Fault[]> {
    // The freshest shard counts: one that is stopped is an alarm, not a reason to refuse everybody.
    const seconds = await measureJournals();
    const found: Fault[] = [];
    if (seconds > booksBehindSecondsMax) {
      found.push({
        reason: 'books_behind',
        detail: `the books are ${Math.round(seconds)} s behind; is a ledger writer running?`,
      });
    }
    if (full) found.push({ reason: 'journal_full', detail: 'the journals have reached their limit' });
    return found;
  }

  async function note(): Promise<void> {
    if (highest.size === 0) return;
    const rows = [...highest.values()];
    highest.clear();
    await pool.query(
      `insert into acknowledged (process, shard, epoch, seq) select $1, * from unnest($2::smallint[], $3::int[], $4::bigint[])
       on conflict (process, shard) do update set epoch = excluded.epoch, seq = excluded.seq, noted_at = now()`,
      [
        options.processId,
        rows.map((row) => row.shard),
        rows.map((row) => row.epoch),
        rows.map((row) => row.seq),
      ],
    );
  }

  async function round(): Promise<void> {
    const unreachable = (store: string) => (error: unknown) => [
      { reason: `${store}_unreachable`, detail: error instanceof Error ? error.message : String(error) },
    ];
    const [postgres, redisState] = await Promise.all([
      checkPostgres().catch(unreachable('postgres')),
      checkRedis().catch(unreachable('redis')),
    ]);
    const found = [...postgres, ...redisState];
    if (found.every((fault) => !fault.reason.endsWith('_unreachable'))) {
      found.push(...(await checkBooks().catch(unreachable('books'))));
      await note().catch((error: unknown) =>
        log.warn({ err: error }, 'acknowledged positions cannot be noted'),
      );
    }
    const closed = options.closedShards();
    if (closed.length > 0)
      found.push({ reason: 'shards_closed', detail: `shards ${closed.join(', ')} are not open yet` });
    for (const fault of found) {
      if (!faults.some((before) => before.reason === fault.reason)) log.warn(fault, 'not ready');
    }
    faults = found;
  }

  let stopped = false;
  let running = round();
  await running;
  const timer = setInterval(() => {
    running = running.then(() => (stopped ? undefined : round())).catch(() => {});
  }, everyMs);
  timer.unref();

  return {
    faults: () => faults,
    journalFull: () => full,
    acknowledged(position) {
      const before = highest.get(position.shard);
      if (
        !before ||
        before.epoch < position.epoch ||
        (before.epoch === position.epoch && before.seq < position.seq)
      ) {
        highest.set(position.shard, position);
      }
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await running;
      await note().catch(() => {});
    },
  };
}
