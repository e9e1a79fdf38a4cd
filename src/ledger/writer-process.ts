/**
 * The life of a ledger writer: leases, recovery, turns, trimming, drain. Several can run; each holds its share of the
 * shards. The loop is one sequence of awaits, so nothing in it runs twice at once; only the heartbeat has its own timer,
 * because a long turn must not cost the lease.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { NewerRecord, UnreadableRecord } from '#src/journal.ts';
import { isRedirection } from '#src/wallet/problems.ts';
import { prepare } from './books.ts';
import { type HeldShard, newlyHeld, noteReached } from './held-shard.ts';
import { isDataFault, writeIsolating } from './isolating.ts';
import type { Lease } from './lease.ts';
import { acquire, heartbeatMs, leave, release, renew, surplus } from './lease.ts';
import { moveStep, movesAsked } from './move.ts';
import { gatherMs, nothing, type Wrote } from './pace.ts';
import { createReadAhead } from './read-ahead.ts';
import { LedgerBehind, NotesPending, openEpoch, recover } from './recovery.ts';
import { createScriptWatch } from './script-watch.ts';
import { clearState, noteState, type StandingState } from './shard-state.ts';
import { trimJournal } from './trim.ts';
import type { ShardProgress, ShardTurn } from './writer.ts';
import {
  BrokenLineage,
  createAnnouncer,
  LostLease,
  readProgress,
  readTurns,
  recordsPerTurnMax,
  writeTurn,
} from './writer.ts';
import { giveUp, openConnection } from './writer-connection.ts';
import { createWriterNodes, isTimeout } from './writer-nodes.ts';
import type { ShardState, WriterOptions } from './writer-options.ts';

const moveStepEveryMs = 50;
const behindRetryMs = 2_000;
const trimMs = 5_000;
/** A loop that has not come round for so long loses its leases: another writer takes over and ends its connection. */
const stuckMs = 20_000;
const idlePositionMs = 1_000;
const backoffMsMax = 10_000;

export interface WriterProcess {
  /** Drains the journal (bounded by `timeoutMs`), gives the leases back and ends. */
  stop(timeoutMs: number): Promise<void>;
  /** States of the shards held. */
  shards(): ReadonlyMap<number, ShardState>;
}

export function startWriter(options: WriterOptions): WriterProcess {
  const { pool, nodes, log, events } = options;
  const reach = createWriterNodes(nodes, log);
  const owner = randomUUID();
  const shards = new Map<number, HeldShard>();
  let connection: pg.Client | undefined;
  let backendPid = 0;
  let stopping = false;
  let trimmedAt = 0;
  let positionsAt = 0;
  let steppedAt = Date.now();
  // Whoever waits reads the position again soon; the books have it either way.
  const announcer = createAnnouncer(nodes, (err) => log.warn({ err }, 'positions not announced'));
  const scripts = createScriptWatch(pool, reach, log);

  async function connect(): Promise<pg.Client> {
    if (connection) return connection;
    const { client, pid } = await openConnection(options.databaseUrl, owner, (broken) => {
      if (connection === broken) connection = undefined;
    });
    backendPid = pid;
    connection = client;
    // Where the last COMMIT is unknown the books say what became of it.
    // A PostgreSQL that came back older lacks the last notes of what was acknowledged: they come in again.
    for (const shard of shards.values())
      Object.assign(shard, { progress: undefined, lossSeenAt: performance.now() });
    return client;
  }

  function hold(lease: Lease): void {
    shards.set(lease.shard, newlyHeld(lease, Date.now()));
    events.state(lease.shard, 'recovering');
  }

  function drop(shard: number): void {
    if (shards.delete(shard)) events.state(shard, undefined);
  }

  /** Gives a connection up whose state is unknown; the next step opens a new one and asks the books where they stand. */
  function abandonConnection(): void {
    const client = connection;
    connection = undefined;
    if (client) giveUp(client);
  }

  /** A record of a newer version stands in the shard's journal: it waits for a writer that knows it. */
  function leaveToNewer(number: number, error: NewerRecord): void {
    log.error({ err: error, shard: number }, 'the shard is left to a newer writer');
    scripts.metNewer();
    drop(number);
    release(pool, owner, [number])
      .then(() => leave(pool, owner))
      .catch((fault: unknown) => log.warn({ err: fault, shard: number }, 'the lease is not given back'));
  }

  async function heartbeat(): Promise<void> {
    if (backendPid === 0) return;
    if (Date.now() - steppedAt > stuckMs) {
      log.fatal({ stuckMs }, 'the writer is stuck; its shards go to another one');
      abandonConnection();
      return;
    }
    reach.look();
    const held = await renew(pool, owner, backendPid, !scripts.isOutdated() && !reach.isBlind());
    const terms = new Map(held.map((lease) => [lease.shard, lease.term]));
    for (const [shard, { lease }] of shards) if (terms.get(shard) !== lease.term) drop(shard);
    if (stopping) return;
    // Ours in PostgreSQL but not here: dropped after a doubt about a COMMIT, or taken by a statement whose answer was lost.
    for (const lease of held) if (!shards.has(lease.shard)) hold(lease);
    await scripts.note();
    if (scripts.isOutdated()) return;
    // Whoever reaches Redis can serve them; where nobody does, they are taken again when somebody does.
    if (reach.isBlind()) return giveBack([...shards.keys()]);
    for (const lease of await acquire(pool, owner, backendPid)) hold(lease);
    const extra = await surplus(pool, owner);
    if (extra > 0) await giveBack([...shards.keys()].slice(-extra));
  }

  async function giveBack(given: readonly number[]): Promise<void> {
    for (const shard of given) drop(shard);
    if (given.length > 0) await release(pool, owner, given);
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

  function failed(shard: HeldShard, error: unknown, message: string): void {
    shard.failures += 1;
    const wait = Math.min(backoffMsMax, 50 * 2 ** shard.failures) * (0.5 + Math.random() / 2);
    shard.retryAt = Date.now() + wait;
    if (isTimeout(error)) reach.leave(shard.lease.shard);
    log.error({ err: error, shard: shard.lease.shard, failures: shard.failures }, message);
  }

  /** The shard waits for a person; one that is behind is tried again, because a newer backup would cure it. */
  function wait(number: number, state: StandingState, error: Error): void {
    const shard = shards.get(number);
    if (!shard) return;
    if (state === 'ledger_behind') shard.retryAt = Date.now() + behindRetryMs;
    noteState(pool, shard.lease, owner, state, error.message).catch((fault: unknown) =>
      log.warn({ err: fault, shard: number }, 'the state of the shard cannot be noted'),
    );
    if (shard.state === state) return;
    shard.state = state;
    events.state(number, state);
    log.fatal({ err: error, shard: number }, `the shard is ${state} until a person has looked at it`);
  }

  function recovering(number: number, broken: boolean): void {
    const shard = shards.get(number);
    if (!shard) return;
    Object.assign(shard, { state: 'recovering', broken, lossSeenAt: performance.now() });
    events.state(number, 'recovering');
  }

  async function recoverShard(client: pg.Client, shard: HeldShard): Promise<void> {
    const { shard: number } = shard.lease;
    const redis = nodes.of(number);
    shard.triedOn = redis;
    const [progress] = await readProgress(client, [shard.lease]);
    const raised = (term: number) => void Object.assign(shard, { lease: { shard: number, term } });
    const stores = { connection: client, owner, redis, log, alive, raised };
    const move = nodes.cluster && (await movesAsked(client, [number])).get(number);
    if (move !== undefined && !(await moveStep(stores, nodes, progress!, move))) {
      shard.retryAt = Date.now() + moveStepEveryMs;
      return;
    }
    const found = shard.broken ? undefined : await openEpoch(client, redis, progress!);
    // Until then somebody may still believe in the server that the shard was on before.
    const lossSeenAt = Math.max(shard.lossSeenAt, nodes.ownedSince(number));
    shard.progress = found ? progress! : await recover(stores, progress!, lossSeenAt);
    shard.open = found ?? (await openEpoch(client, redis, shard.progress));
    if (!shard.open) throw new Error('the epoch is not open after its recovery');
    await scripts.complete(redis, shard.open);
    Object.assign(shard, { broken: false, state: 'serving', failures: 0 });
    shard.reached.length = 0;
    await clearState(client, number);
    events.state(number, 'serving');
  }

  /** Shards to be recovered now. */
  function due(): HeldShard[] {
    const now = Date.now();
    return [...shards.values()].filter(
      ({ state, retryAt, triedOn, lease: { shard } }) =>
        (state === 'recovering' || state === 'ledger_behind') &&
        reach.isThere(shard) &&
        (retryAt <= now || triedOn !== nodes.of(shard)),
    );
  }

  /** Fences what is due, and recovers one shard: the turns of the others go on in between. */
  async function recoverShards(client: pg.Client): Promise<void> {
    for (const shard of due()) {
      try {
        await recoverShard(client, shard);
        return;
      } catch (error) {
        if (error instanceof NotesPending) shard.retryAt = Date.now() + error.waitMs;
        else if (error instanceof NewerRecord) leaveToNewer(shard.lease.shard, error);
        else if (error instanceof BrokenLineage || error instanceof UnreadableRecord)
          wait(shard.lease.shard, 'stopped', error);
        else if (error instanceof LedgerBehind) wait(shard.lease.shard, 'ledger_behind', error);
        else if (error instanceof LostLease) drop(shard.lease.shard);
        // What else is due is tried after the turns of the others.
        else return failed(shard, error, 'recovery failed');
      }
    }
  }

  /** A shard whose fence has fallen is closed until it is recovered, and so is one that a person wants elsewhere. */
  async function checkFences(client: pg.Client): Promise<void> {
    const serving = [...shards.values()].filter(({ state }) => state === 'serving');
    const served = serving.flatMap(({ open }) => open ?? []);
    const fallen = await scripts.check(served);
    if (!fallen) return;
    for (const { shard } of served) events.state(shard, reach.isThere(shard) ? 'serving' : 'recovering');
    const moves = await movesAsked(client, nodes.cluster ? served.map(({ shard }) => shard) : []);
    for (const shard of [...fallen, ...moves.keys()]) recovering(shard, false);
  }

  async function refreshProgress(client: pg.Client): Promise<void> {
    const unknown = [...shards.values()].filter((shard) => shard.state === 'serving' && !shard.progress);
    if (unknown.length === 0) return;
    const leases = unknown.map((shard) => shard.lease);
    for (const progress of await readProgress(client, leases)) {
      const shard = shards.get(progress.shard);
      if (!shard) continue;
      shard.progress = progress;
      // A PostgreSQL that came back older stands in an epoch that is closed: recovery feeds it again.
      if (shard.open?.epoch !== progress.epoch) recovering(progress.shard, true);
    }
  }

  async function write(client: pg.Client, turns: ShardTurn[]): Promise<void> {
    const startedAt = performance.now();
    const postings = turns.flatMap((turn) => turn.postings);
    for (const conflict of await writeTurn(client, owner, turns)) events.conflict(conflict);
    await announcer.announce(turns);
    if (postings.length > 0) events.written(postings, (performance.now() - startedAt) / 1_000);
    for (const turn of turns) {
      for (const { record, reason } of turn.quarantined) events.quarantined(record.member, reason);
      noteReached(shards.get(turn.shard), turn);
    }
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

  function broken(shard: number, error: Error): void {
    // Redis is not what it was: recovery decides what can be kept.
    if (error instanceof BrokenLineage) recovering(shard, true);
    else if (error instanceof NewerRecord) leaveToNewer(shard, error);
    else if (isRedirection(error)) nodes.reread();
    else wait(shard, 'stopped', error);
  }

  /** Reads every server's journals beside the others'. */
  async function readFrom(from: readonly ShardProgress[], onBroken: typeof broken): Promise<ShardTurn[]> {
    return (await reach.byServer(from, (redis, group) => readTurns(redis, group, onBroken))).flat();
  }
  const ahead = createReadAhead((from) => readFrom(from, () => undefined), prepare);

  async function turn(client: pg.Client): Promise<Wrote> {
    const now = Date.now();
    const due = [...shards.values()]
      .filter((s) => s.state === 'serving' && s.progress && s.retryAt <= now && reach.isThere(s.lease.shard))
      .map((shard) => shard.progress!);
    if (due.length === 0) return nothing;
    const early = await ahead.take(due);
    const others = due.filter(({ shard }) => !early.some((t) => t.shard === shard));
    const read = [...early, ...(others.length > 0 ? await readFrom(others, broken) : [])];
    const records = read.reduce((sum, t) => sum + t.postings.length, 0);
    const idleDue = now - positionsAt > idlePositionMs;
    const turns = idleDue ? read : read.filter((t) => t.postings.length > 0);
    for (const t of read) if (t.postings.length === 0) noteReached(shards.get(t.shard), t);
    if (turns.length === 0) return nothing;
    if (idleDue) positionsAt = now;
    if (records >= recordsPerTurnMax) ahead.begin(turns);
    try {
      await write(client, turns);
    } catch (error) {
      if (!connection) throw error;
      await writeApart(client, turns, error);
    }
    const awaitedIn = ({ postings }: ShardTurn) => postings.filter(({ record }) => record.isAwaited).length;
    return { records, awaited: read.reduce((sum, t) => sum + awaitedIn(t), 0) };
  }

  async function trim(): Promise<void> {
    const now = Date.now();
    if (now - trimmedAt < trimMs) return;
    trimmedAt = now;
    for (const [number, shard] of shards) {
      if (shard.state !== 'serving' || !shard.progress || !shard.open || !reach.isThere(number)) continue;
      const { progress, reached, open } = shard;
      const trimming = { ...options, number, sha: open.scripts.trim.sha, progress, reached };
      const records = await reach.at(nodes.of(number), (redis) => trimJournal(redis, trimming));
      if (records === undefined) continue;
      events.lag(number, records, records === 0 ? 0 : (now - shard.caughtUpAt) / 1_000);
    }
  }

  /** Waits until a journal grows. */
  function idle(): Promise<void> {
    const serving = [...shards.values()].filter(({ state }) => state === 'serving');
    return reach.idle(serving.flatMap(({ progress }) => progress ?? []));
  }

  async function step(): Promise<Wrote> {
    const client = await connect();
    await checkFences(client);
    await recoverShards(client);
    await refreshProgress(client);
    const wrote = await turn(client);
    await trim();
    return wrote;
  }

  function alive(): void {
    steppedAt = Date.now();
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      alive();
      try {
        const wrote = await step();
        if (wrote.records === 0 && due().length === 0) await idle();
        else if (gatherMs(wrote) > 0) await delay(gatherMs(wrote));
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
      if ((await step()).records < recordsPerTurnMax) return;
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
      await announcer.ended();
      await release(pool, owner, [...shards.keys()]).catch(() => {});
      await leave(pool, owner).catch(() => {});
      await connection?.end().catch(() => {});
    },
  };
}
