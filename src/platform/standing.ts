/**
 * What a serving process watches once a second: whether the stores are there and safe, how far the books are behind, how
 * large the journals are, and whether this machine's clock is right. Readiness and back-pressure read the result from
 * memory, so neither ever waits on the path of a request.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Position } from '#src/values.ts';
import { createAcknowledgedNote } from './acknowledged.ts';
import { noteSkew } from './clock.ts';
import { durabilityFaults } from './postgres.ts';
import { redisFaults } from './redis.ts';
import type { RedisNode, RedisNodes } from './redis-nodes.ts';

export interface Fault {
  readonly reason: string;
  readonly detail: string;
  /** Some of what it serves is served all the same. */
  readonly isPartial?: boolean;
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
  readonly nodes: RedisNodes;
  readonly log: Logger;
  readonly processId: string;
  /** Where the note of what was acknowledged stands while PostgreSQL is away. */
  readonly noteFolder: string | undefined;
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

/** How far this clock and those of the servers that answered differ, where that is too much for one of them. */
export function skewFaults(skewsMs: readonly number[], skewMsMax: number): Fault[] {
  const most = Math.max(0, ...skewsMs);
  if (most <= skewMsMax) return [];
  return [
    {
      reason: 'clock_skew',
      detail: `this clock and that of Redis differ by ${Math.round(most / 1_000)} s`,
      // Movements go on at the servers whose clocks agree with this one.
      isPartial: Math.min(...skewsMs) <= skewMsMax,
    },
  ];
}

interface BooksRow {
  shard: number;
  epoch: number;
  seq: number;
  behind: number;
}

/** Starts watching; the first round has run when this answers. */
export async function watchStanding(options: StandingOptions): Promise<Standing> {
  const { pool, nodes, log, journalKeys } = options;
  const note = createAcknowledgedNote(pool, options.processId, options.noteFolder);
  let faults: Fault[] = [{ reason: 'starting', detail: 'the first checks have not run' }];
  let full = false;
  /** Where the books stood when they were last asked, which is longer ago while PostgreSQL is away. */
  let books: readonly BooksRow[] = [];
  let booksReadAt = Date.now();
  /** What was last seen of each shard's journal. */
  const journals = journalKeys.map(() => ({ bytes: 0, last: '0-0' }));
  let ofPostgres: Fault[] = [];
  let ofRedis: Fault[] = [];

  async function checkPostgres(): Promise<Fault[]> {
    const settings = await durabilityFaults(pool);
    return settings.map((detail) => ({ reason: 'postgres_unsafe', detail }));
  }

  async function skewOf({ redis }: RedisNode): Promise<number> {
    const before = Date.now();
    const [seconds, micros] = await redis.time();
    const redisNow = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    return Math.max(before - redisNow, redisNow - Date.now(), 0);
  }

  interface Checked {
    readonly node: RedisNode;
    readonly found: Fault[];
    /** How far its clock is off; undefined where it does not answer. */
    readonly skew: number | undefined;
  }

  async function checkNode(node: RedisNode): Promise<Checked> {
    const at = node.address === '' ? '' : `${node.address}: `;
    try {
      const found = await redisFaults(node.redis);
      return {
        node,
        found: found.map((detail) => ({ reason: 'redis_unsafe', detail: `${at}${detail}` })),
        skew: await skewOf(node),
      };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return { node, found: [{ reason: 'redis_unreachable', detail: `${at}${detail}` }], skew: undefined };
    }
  }

  function faultsOf(checked: readonly Checked[]): Fault[] {
    const skews = checked.flatMap(({ skew }) => skew ?? []);
    const found = checked.flatMap((each) =>
      each.found.map((fault) =>
        each.skew === undefined ? { ...fault, isPartial: skews.length > 0 } : fault,
      ),
    );
    if (skews.length === 0) return found;
    // Of several clocks the one nearest to this one decides whether this one can be believed: another is the odd one out.
    noteSkew(Math.min(...skews), options.clockSkewMsMax);
    return [...found, ...skewFaults(skews, options.clockSkewMsMax)];
  }

  /** Of a server that does not answer the last measure stays. */
  async function measureNode(redis: Redis, shards: readonly number[]): Promise<void> {
    const pipeline = redis.pipeline();
    for (const shard of shards) pipeline.memory('USAGE', journalKeys[shard]!, 'SAMPLES', 2);
    for (const shard of shards) pipeline.xrevrange(journalKeys[shard]!, '+', '-', 'COUNT', 1);
    const replies = (await pipeline.exec()) ?? [];
    shards.forEach((shard, i) => {
      const last = replies[shards.length + i]?.[1] as [string, unknown][] | undefined;
      journals[shard] = { bytes: Number(replies[i]?.[1] ?? 0), last: last?.[0]?.[0] ?? '0-0' };
    });
  }

  /** Measures the journals, whether PostgreSQL is there or not: their limit is what bounds its absence. */
  async function measureJournals(answering: ReadonlySet<Redis>): Promise<void> {
    const byNode = [...Map.groupBy(journals.keys(), (shard) => nodes.of(shard))];
    const there = byNode.filter(([redis]) => answering.has(redis));
    await Promise.allSettled(there.map(([redis, shards]) => measureNode(redis, shards)));
    const bytes = journals.reduce((sum, journal) => sum + journal.bytes, 0);
    options.journalSize(bytes);
    full = bytes > options.journalLimitBytes * admittedShare;
    const sinceSeconds = (Date.now() - booksReadAt) / 1_000;
    options.lag(
      books.map((row) => {
        const [epoch, seq] = (journals[row.shard]?.last ?? '0-0').split('-').map(Number) as [number, number];
        const records = epoch === row.epoch ? Math.max(0, seq - row.seq) : 0;
        return { shard: row.shard, records, seconds: records === 0 ? 0 : row.behind + sinceSeconds };
      }),
    );
  }

  async function readBooks(): Promise<void> {
    const found = await pool.query<BooksRow>(
      'select shard, epoch, seq, extract(epoch from clock_timestamp() - written_through_at)::float8 as behind from position order by shard',
    );
    books = found.rows;
    booksReadAt = Date.now();
  }

  function booksFaults(): Fault[] {
    // The freshest shard counts: one that is stopped is an alarm, not a reason to refuse everybody.
    const seconds = books.length === 0 ? 0 : Math.min(...books.map((row) => row.behind));
    if (seconds <= booksBehindSecondsMax) return [];
    const detail = `the books are ${Math.round(seconds)} s behind; is a ledger writer running?`;
    return [{ reason: 'books_behind', detail, isPartial: true }];
  }

  /** Shards that only a person can open again. */
  async function checkShards(): Promise<Fault[]> {
    const { rows } = await pool.query<{ state: string; shards: string; count: number }>(
      `select state, string_agg(shard::text, ', ' order by shard) as shards, count(*)::int as count from shard_state where state = 'ledger_behind' group by state`,
    );
    return rows.map(({ state, shards, count }) => ({
      reason: state,
      detail: `shards ${shards}: PostgreSQL is older than their journals reach; npm run recover -- --status says what can be done`,
      isPartial: count < journalKeys.length,
    }));
  }

  const unreachable = (error: unknown) => [
    {
      reason: 'postgres_unreachable',
      detail: error instanceof Error ? error.message : String(error),
      // Fresh references of known members go on at `journal`.
      isPartial: true,
    },
  ];

  async function askPostgres(): Promise<Fault[]> {
    const found = await checkPostgres();
    await readBooks();
    return [...found, ...booksFaults(), ...(await checkShards())];
  }

  async function askRedis(): Promise<Fault[]> {
    const checked = await Promise.all(nodes.all().map(checkNode));
    const found = faultsOf(checked);
    // One that does not answer would hold the round up, and be called unreachable when it no longer is.
    const answering = checked.filter(({ skew }) => skew !== undefined);
    await measureJournals(new Set(answering.map(({ node }) => node.redis)));
    if (full) found.push({ reason: 'journal_full', detail: 'the journals have reached their limit' });
    return found;
  }

  function publish(): void {
    const closed = options.closedShards();
    const found = [...ofPostgres, ...ofRedis];
    if (closed.length > 0)
      found.push({
        reason: 'shards_closed',
        detail: `shards ${closed.join(', ')} are not open yet`,
        isPartial: closed.length < journalKeys.length,
      });
    for (const fault of found) {
      if (!faults.some((before) => before.reason === fault.reason)) log.warn(fault, 'not ready');
    }
    faults = found;
  }

  // Each store has rounds of its own: a PostgreSQL that does not answer must not keep the journals from being measured.
  async function roundOfPostgres(): Promise<void> {
    ofPostgres = await askPostgres().catch(unreachable);
    publish();
  }
  async function roundOfRedis(): Promise<void> {
    ofRedis = await askRedis();
    publish();
  }

  // Beside the checks, which may wait for a store that is away: recovery counts on a note every second.
  async function roundOfNote(): Promise<void> {
    await note
      .write()
      .catch((error: unknown) => log.warn({ err: error }, 'acknowledged positions cannot be noted'));
  }

  let stopped = false;
  await roundOfPostgres();
  await roundOfRedis();
  /** One round after the other, at most one a second. */
  function again(round: () => Promise<void>): () => Promise<void> {
    let running: Promise<void> | undefined;
    const timer = setInterval(() => {
      if (running || stopped) return;
      running = round()
        .catch(() => {})
        .finally(() => {
          running = undefined;
        });
    }, everyMs);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await running;
    };
  }
  const ends = [again(roundOfPostgres), again(roundOfRedis), again(roundOfNote)];

  return {
    faults: () => faults,
    journalFull: () => full,
    acknowledged: note.acknowledged,
    async stop() {
      stopped = true;
      for (const end of ends) await end();
      await note.write().catch(() => {});
    },
  };
}
