/**
 * The life of a ledger writer: leases, recovery, turns, trimming, drain. Several can run; each holds its share of the
 * shards. The loop is one sequence of awaits, so nothing in it runs twice at once; only the heartbeat has its own timer,
 * because a long turn must not cost the lease.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { keys } from '#src/wallet/keys.ts';
import type { Lease } from './lease.ts';
import { acquire, heartbeatMs, leave, release, renew, surplus, writerName } from './lease.ts';
import { openEpoch, recover } from './recovery.ts';
import { type Reached, trimJournal } from './trim.ts';
import type { ShardProgress, ShardTurn } from './writer.ts';
import {
  announce,
  BrokenLineage,
  isDataFault,
  LostLease,
  readProgress,
  readTurns,
  recordsPerTurnMax,
  writeIsolating,
  writeTurn,
} from './writer.ts';
import type { ShardState, WriterOptions } from './writer-options.ts';

interface Shard {
  readonly lease: Lease;
  progress: ShardProgress | undefined;
  state: ShardState;
  /** The scripts of the shard's epoch; Redis knows them as long as nobody restarted or replaced it. */
  scripts: Awaited<ReturnType<typeof openEpoch>>;
  /** The journal did not continue the books: only a new epoch opens the shard again. */
  broken: boolean;
  retryAt: number;
  failures: number;
  caughtUpAt: number;
  /** Positions by the time they were reached, oldest first; what is older than the keeping time is trimmed. */
  readonly reached: Reached[];
}

const fenceCheckMs = 250;
const trimMs = 5_000;
const idleWaitMs = 100;
/** Far above any turn; a connection that is silent for so long is given up. */
const statementMs = 15_000;
/** A loop that has not come round for so long loses its leases: another writer takes over and ends its connection. */
const stuckMs = 20_000;
const idlePositionMs = 1_000;
const backoffMsMax = 10_000;
const reachedMax = 1_000;
/**
 * How long a turn waits for company, by the records of the one before. Turns of 20 records cost writer and PostgreSQL
 * 180 µs a record, full ones 80 (two cores, 2026-11-22). Single movements are written at once; under load the price is
 * half of this more on the mean wait for `ledger`.
 */
function gatherMs(records: number): number {
  if (records < 4 || records >= 1_000) return 0;
  return records < 32 ? 8 : 20;
}

export interface WriterProcess {
  /** Drains the journal (bounded by `timeoutMs`), gives the leases back and ends. */
  stop(timeoutMs: number): Promise<void>;
  /** States of the shards held. */
  shards(): ReadonlyMap<number, ShardState>;
}

export function startWriter(options: WriterOptions): WriterProcess {
  const { pool, redis, waiting, log, events } = options;
  const owner = randomUUID();
  const shards = new Map<number, Shard>();
  let connection: pg.Client | undefined;
  let backendPid = 0;
  let stopping = false;
  let fenceCheckedAt = 0;
  let trimmedAt = 0;
  let positionsAt = 0;
  let steppedAt = Date.now();

  async function connect(): Promise<pg.Client> {
    if (connection) return connection;
    const client = new pg.Client({
      connectionString: options.databaseUrl,
      application_name: writerName(owner),
      connectionTimeoutMillis: 5_000,
      statement_timeout: statementMs,
      query_timeout: statementMs,
      keepAlive: true,
    });
    client.on('error', () => {
      if (connection === client) connection = undefined;
    });
    await client.connect();
    const result = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    backendPid = result.rows[0]!.pid;
    connection = client;
    // Where the last COMMIT is unknown the books say what became of it.
    for (const shard of shards.values()) shard.progress = undefined;
    return client;
  }

  function hold(lease: Lease): void {
    const now = Date.now();
    shards.set(lease.shard, {
      lease,
      progress: undefined,
      state: 'recovering',
      scripts: undefined,
      broken: false,
      retryAt: 0,
      failures: 0,
      caughtUpAt: now,
      reached: [],
    });
    events.state(lease.shard, 'recovering');
  }

  function drop(shard: number): void {
    if (shards.delete(shard)) events.state(shard, undefined);
  }

  /** Gives a connection up whose state is unknown; the next step opens a new one and asks the books where they stand. */
  function abandonConnection(): void {
    const client = connection;
    connection = undefined;
    client?.end().catch(() => {});
  }

  async function heartbeat(): Promise<void> {
    if (backendPid === 0) return;
    if (Date.now() - steppedAt > stuckMs) {
      log.fatal({ stuckMs }, 'the writer is stuck; its shards go to another one');
      abandonConnection();
      return;
    }
    const held = await renew(pool, owner, backendPid);
    const terms = new Map(held.map((lease) => [lease.shard, lease.term]));
    for (const [shard, { lease }] of shards) if (terms.get(shard) !== lease.term) drop(shard);
    if (stopping) return;
    // Ours in PostgreSQL but not here: dropped after a doubt about a COMMIT, or taken by a statement whose answer was lost.
    for (const lease of held) if (!shards.has(lease.shard)) hold(lease);
    for (const lease of await acquire(pool, owner, backendPid)) hold(lease);
    const extra = await surplus(pool, owner);
    if (extra > 0) {
      const given = [...shards.keys()].slice(-extra);
      for (const shard of given) drop(shard);
      await release(pool, owner, given);
    }
  }

  let beating = false;
  const timer = setInterval(() => {
    if (beating) return;
    beating = true;
    heartbeat()
      .catch((error: unknown) => log.warn({ err: error }, 'heartbeat failed'))
      .finally(() => {
        beating = false;
      });
  }, heartbeatMs);

  function failed(shard: Shard, error: unknown, message: string): void {
    shard.failures += 1;
    const wait = Math.min(backoffMsMax, 50 * 2 ** shard.failures) * (0.5 + Math.random() / 2);
    shard.retryAt = Date.now() + wait;
    log.error({ err: error, shard: shard.lease.shard, failures: shard.failures }, message);
  }

  function stopShard(number: number, error: Error): void {
    const shard = shards.get(number);
    if (!shard || shard.state === 'stopped') return;
    shard.state = 'stopped';
    events.state(number, 'stopped');
    log.fatal({ err: error, shard: number }, 'the shard stops until a person has looked at it');
  }

  async function recoverShards(client: pg.Client): Promise<void> {
    for (const shard of shards.values()) {
      if (shard.state !== 'recovering' || shard.retryAt > Date.now()) continue;
      try {
        const [progress] = await readProgress(client, [shard.lease]);
        const open = shard.broken ? undefined : await openEpoch(client, redis, progress!);
        shard.progress = open
          ? progress!
          : await recover({ connection: client, owner, redis, log }, progress!);
        shard.scripts = open ?? (await openEpoch(client, redis, shard.progress));
        // Redis restarted while they were loaded: a shard that serves without them would never be looked at again.
        if (!shard.scripts) throw new Error('the scripts were forgotten while the shard recovered');
        shard.broken = false;
        shard.state = 'serving';
        shard.failures = 0;
        shard.reached.length = 0;
        events.state(shard.lease.shard, 'serving');
      } catch (error) {
        if (error instanceof BrokenLineage) stopShard(shard.lease.shard, error);
        else failed(shard, error, 'recovery failed');
      }
    }
  }

  /** A shard whose scripts are gone is fenced: nobody can move points in it until it is recovered. */
  async function checkFences(): Promise<void> {
    const now = Date.now();
    if (now - fenceCheckedAt < fenceCheckMs) return;
    fenceCheckedAt = now;
    const serving = [...shards.values()].filter(
      (shard) => shard.state === 'serving' && shard.scripts !== undefined,
    );
    if (serving.length === 0) return;
    const exists = (await redis.script(
      'EXISTS',
      ...serving.map((shard) => shard.scripts!.accrue.sha),
    )) as number[];
    serving.forEach((shard, i) => {
      if (exists[i] === 1) return;
      shard.state = 'recovering';
      events.state(shard.lease.shard, 'recovering');
    });
  }

  async function refreshProgress(client: pg.Client): Promise<void> {
    const unknown = [...shards.values()].filter((shard) => shard.state === 'serving' && !shard.progress);
    if (unknown.length === 0) return;
    for (const progress of await readProgress(
      client,
      unknown.map((shard) => shard.lease),
    )) {
      const shard = shards.get(progress.shard);
      if (shard) shard.progress = progress;
    }
  }

  async function write(client: pg.Client, turns: ShardTurn[]): Promise<void> {
    const startedAt = performance.now();
    const postings = turns.flatMap((turn) => turn.postings);
    for (const conflict of await writeTurn(client, owner, turns)) events.conflict(conflict);
    // Whoever waits reads the position again soon; the books have it either way.
    await announce(redis, turns).catch((error: unknown) =>
      log.warn({ err: error }, 'positions not announced'),
    );
    if (postings.length > 0) events.written(postings, (performance.now() - startedAt) / 1_000);
    for (const turn of turns) {
      for (const { record, reason } of turn.quarantined) events.quarantined(record.member, reason);
      noteReached(turn);
    }
  }

  function noteReached({ shard: number, progress, readAt }: ShardTurn): void {
    const shard = shards.get(number);
    if (!shard) return;
    const now = Date.now();
    shard.failures = 0;
    if (readAt !== undefined) shard.caughtUpAt = readAt;
    const last = shard.reached.at(-1);
    if (shard.reached.length < reachedMax && (!last || now - last.at > 1_000))
      shard.reached.push({ at: now, seq: progress.seq });
  }

  /** After an error each shard is tried alone, so that one shard's trouble does not stop the others. */
  async function writeApart(client: pg.Client, turns: readonly ShardTurn[], cause: unknown): Promise<void> {
    log.warn({ err: cause }, 'the turn failed; trying each shard alone');
    if (!isDataFault(cause) && !(cause instanceof LostLease)) throw cause;
    for (const turn of turns) {
      const shard = shards.get(turn.shard);
      if (!shard) continue;
      try {
        await writeIsolating(turn, (each) => write(client, [each]));
      } catch (error) {
        shard.progress = undefined;
        if (error instanceof LostLease) drop(turn.shard);
        else if (isDataFault(error)) failed(shard, error, 'the shard cannot be written');
        else throw error;
      }
    }
  }

  /** One turn; answers how many records it wrote. */
  async function turn(client: pg.Client): Promise<number> {
    const now = Date.now();
    const due = [...shards.values()].filter((s) => s.state === 'serving' && s.progress && s.retryAt <= now);
    if (due.length === 0) return 0;
    const read = await readTurns(
      redis,
      due.map((shard) => shard.progress!),
      (shard, error) => {
        if (error instanceof BrokenLineage) {
          // Redis is not what it was: recovery decides what can be kept.
          const held = shards.get(shard);
          if (held) Object.assign(held, { state: 'recovering', broken: true });
          events.state(shard, 'recovering');
        } else stopShard(shard, error);
      },
    );
    const records = read.reduce((sum, t) => sum + t.postings.length, 0);
    const idleDue = now - positionsAt > idlePositionMs;
    const turns = idleDue ? read : read.filter((t) => t.postings.length > 0);
    for (const t of read) if (t.postings.length === 0) noteReached(t);
    if (turns.length === 0) return 0;
    if (idleDue) positionsAt = now;
    try {
      await write(client, turns);
    } catch (error) {
      if (!connection) throw error;
      await writeApart(client, turns, error);
    }
    return records;
  }

  async function trim(): Promise<void> {
    const now = Date.now();
    if (now - trimmedAt < trimMs) return;
    trimmedAt = now;
    for (const [number, shard] of shards) {
      if (shard.state !== 'serving' || !shard.progress || !shard.scripts) continue;
      const sha = shard.scripts.trim.sha;
      const records = await trimJournal(redis, {
        ...options,
        number,
        sha,
        progress: shard.progress,
        reached: shard.reached,
      });
      events.lag(number, records, records === 0 ? 0 : (now - shard.caughtUpAt) / 1_000);
    }
  }

  /** Waits until a journal grows, at most `idleWaitMs`. */
  async function idle(): Promise<void> {
    const serving = [...shards.values()].filter((shard) => shard.state === 'serving' && shard.progress);
    if (serving.length === 0 || waiting.status !== 'ready') return delay(idleWaitMs);
    const streams = serving.map((shard) => keys.journal(shard.lease.shard));
    const ids = serving.map(({ progress }) => `${progress!.epoch}-${progress!.seq}`);
    await waiting.xread('COUNT', 1, 'BLOCK', idleWaitMs, 'STREAMS', ...streams, ...ids);
  }

  async function step(): Promise<number> {
    const client = await connect();
    await checkFences();
    await recoverShards(client);
    await refreshProgress(client);
    const records = await turn(client);
    await trim();
    return records;
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      steppedAt = Date.now();
      try {
        const records = await step();
        if (records === 0) await idle();
        else if (gatherMs(records) > 0) await delay(gatherMs(records));
      } catch (error) {
        log.error({ err: error }, 'the writer cannot go on at the moment');
        abandonConnection();
        for (const shard of shards.values()) shard.progress = undefined;
        await delay(200);
      }
    }
  }

  const running = loop();

  async function drain(until: number): Promise<void> {
    while (Date.now() < until) {
      if ((await step()) < recordsPerTurnMax) return;
    }
    log.warn('the journal was not drained in time; it stays in Redis for the next writer');
  }

  return {
    shards: () => new Map([...shards].map(([number, shard]) => [number, shard.state])),
    async stop(timeoutMs) {
      stopping = true;
      clearInterval(timer);
      await running;
      await drain(Date.now() + timeoutMs).catch((error: unknown) =>
        log.error({ err: error }, 'drain failed'),
      );
      await release(pool, owner, [...shards.keys()]).catch(() => {});
      await leave(pool, owner).catch(() => {});
      await connection?.end().catch(() => {});
    },
  };
}
