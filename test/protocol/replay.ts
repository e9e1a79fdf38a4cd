/**
 * Takes the steps of a trace with the real scripts, the real writer and real stores. A process that stands still inside a
 * recovery or a load is that code, held at a call to Redis or PostgreSQL; a Redis that restarts on its data is one whose
 * script cache was emptied, an older one is the dump of an earlier moment, and another identity is that of a master
 * that was a replica for a moment.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { ensureInstallation } from '#src/ledger/installation.ts';
import { recover } from '#src/ledger/recovery.ts';
import type { ShardProgress, ShardTurn } from '#src/ledger/writer.ts';
import { createPool } from '#src/platform/postgres.ts';
import { createRedis, identityOf, replicationIdOf } from '#src/platform/redis.ts';
import { onlyNode } from '#src/platform/redis-nodes.ts';
import { createLogger } from '#src/platform/telemetry.ts';
import { type MemberNumber, newOperation, type OperationHex } from '#src/values.ts';
import type { Epochs } from '#src/wallet/epochs.ts';
import type { Loaded } from '#src/wallet/load.ts';
import type { Wallet } from '#src/wallet/wallet.ts';
import { onePointAUnit } from '../house/shop.ts';
import type { Stores } from '../house/stores.ts';
import { heldConnection, heldPool, heldRedis } from './held.ts';
import type { Step, Verb } from './protocol.ts';
import type { State } from './state.ts';
import { type Stepping, stepwise } from './stepping.ts';
import { type Seen, seenInStores, shard } from './stores.ts';
import type { Variant } from './variant.ts';

interface Process {
  readonly owner: string;
  readonly connection: pg.Client;
  progress: ShardProgress | undefined;
  turn: ShardTurn | undefined;
  recovery: Stepping<ShardProgress> | undefined;
}

interface Caller {
  readonly epochs: Epochs;
  /** Which Redis it believes to answer. */
  identity: string | undefined;
  readonly wallet: Wallet;
  loading: Stepping<Loaded> | undefined;
}

export interface Replay {
  /** Takes a step, after which the model is in `state`. APIs never notice by themselves that another Redis answers. */
  take(step: Step, state: State): Promise<void>;
  seen(): Promise<Seen>;
  /** What a caller is told who waits for an operation at the level `ledger`. */
  waited(position: { epoch: number; seq: number }): Promise<string>;
  /** What a caller's load of a member comes to. */
  loaded(member: number): Promise<Loaded>;
  end(): Promise<void>;
}

const ofWriters: readonly Verb[] = [
  'read',
  'write',
  ...(['look', 'fence', 'compare', 'open', 'commit', 'book', 'script', 'serve'] as const),
];

const log = createLogger('silent', 'replay');

async function enrol(pool: pg.Pool): Promise<{ program: number; members: MemberNumber[] }> {
  await ensureInstallation(pool, 1);
  const program = await createProgram(pool, {
    name: 'replay',
    mode: 'live',
    file: onePointAUnit,
  });
  const rows = await pool.query<{ number: MemberNumber }>(
    'insert into member (program, joined_at) values ($1, now()), ($1, now()) returning number',
    [program.number],
  );
  return { program: program.number, members: rows.rows.map((row) => row.number) };
}

async function dumped(admin: Redis): Promise<[string, Buffer][]> {
  const found = await admin.keys('*');
  return Promise.all(
    found.map(async (each): Promise<[string, Buffer]> => [each, (await admin.dumpBuffer(each))!]),
  );
}

async function comeBackAs(admin: Redis, dump: readonly [string, Buffer][]): Promise<void> {
  await admin.flushall();
  for (const [each, value] of dump) await admin.restore(each, 0, value);
}

/** A master that was a replica for a moment has another history; there is nobody whose data it could take over. */
async function changeIdentity(admin: Redis): Promise<void> {
  await admin.replicaof('127.0.0.1', 1);
  await admin.replicaof('NO', 'ONE');
}

/** Redis starts again on older data, without scripts. */
async function restartAs(admin: Redis, dump: readonly [string, Buffer][]): Promise<void> {
  await comeBackAs(admin, dump);
  await admin.script('FLUSH');
  await changeIdentity(admin);
}

/** An API learns the newest epoch, and goes on believing that the Redis answers which that one was opened on. */
async function learn(pool: pg.Pool, api: Caller): Promise<void> {
  await api.epochs.refresh();
  const { rows } = await pool.query<{ redis_identity: string }>(
    'select redis_identity from epoch where redis_identity is not null order by epoch desc limit 1',
  );
  api.identity = rows[0]!.redis_identity;
}

/** Stores in the model's first state, and the processes that act on them. */
export async function openReplay(stores: Stores, variant: Variant): Promise<Replay> {
  const admin = stores.redis;
  const [redis, subscriber] = [createRedis(stores.redisUrl), createRedis(stores.redisUrl)];
  const nodes = onlyNode(redis);
  const pool = createPool(stores.databaseUrl, 4);
  const { program, members } = await enrol(pool);
  const operations: OperationHex[] = [];
  const written = variant.written.createWritten(subscriber, pool);
  const key = variant.keys.keys.journal(shard);

  async function writerProcess(): Promise<Process> {
    const owner = randomUUID();
    const connection = new pg.Client({
      connectionString: stores.databaseUrl,
      pipeline: true,
      application_name: variant.lease.writerName(owner),
    });
    await connection.connect();
    return { owner, connection, progress: undefined, turn: undefined, recovery: undefined };
  }

  function caller(): Caller {
    const epochs = variant.epochs.createEpochs(pool, 1, () => self.identity);
    const loader = {
      member: () => Promise.reject(new Error('the member should have been hot')),
      operation: () => Promise.reject(new Error('nothing is undone')),
      counters: () => Promise.reject(new Error('nothing is counted')),
      lots: () => Promise.reject(new Error('nothing is undone')),
    };
    const noBudget = () => Promise.reject(new Error('no budget is given from'));
    const leases = { obtain: noBudget, fullOf: noBudget };
    const wallet = variant.wallet.createWallet({
      nodes,
      epochs,
      loader,
      leases,
      written,
      shardCount: 1,
      acknowledged: () => {},
      decided: () => {},
      journalFull: () => false,
    });
    const self: Caller = { epochs, identity: undefined, wallet, loading: undefined };
    return self;
  }

  const writers = [await writerProcess(), await writerProcess()] as const;
  const callers = [caller(), caller()] as const;

  /** What `process` held is gone. */
  function forget(process: Process): void {
    process.progress = undefined;
    process.turn = undefined;
    process.recovery = undefined;
  }

  async function takeLease(process: Process): Promise<void> {
    forget(process);
    // The holder is silent, and its connection is not the one that the lease names: nothing ends it.
    await pool.query(
      "update lease set heartbeat_at = 'epoch', backend_pid = null where owner is distinct from $1",
      [process.owner],
    );
    const taken = await variant.lease.acquire(pool, process.owner, 0);
    const held = await pool.query<{ shard: number; term: number }>(
      'select shard, term from lease where owner = $1',
      [process.owner],
    );
    if (taken.length + held.rows.length === 0) throw new Error('the lease was not taken');
    [process.progress] = await variant.writer.readProgress(process.connection, held.rows);
  }

  async function lookAt(process: Process): Promise<void> {
    const { shard: number, term } = process.progress!;
    const [progress] = await variant.writer.readProgress(process.connection, [{ shard: number, term }]);
    process.turn = undefined;
    process.recovery = stepwise((pause) =>
      variant.recovery.recover(
        {
          connection: heldConnection(process.connection, pause),
          owner: process.owner,
          redis: heldRedis(redis, pause),
          log,
          alive: () => {},
          raised: () => {},
        },
        progress!,
        0,
      ),
    );
    await process.recovery.next();
  }

  async function goOn(process: Process): Promise<void> {
    const ended = await process.recovery!.next();
    if (!ended) return;
    process.progress = ended.result;
    process.recovery = undefined;
  }

  async function readJournal(process: Process): Promise<void> {
    const [turn] = await variant.writer.readTurns(redis, [process.progress!], () => {});
    if (turn && turn.postings.length > 0) process.turn = turn;
    else if (turn) await variant.writer.writeTurn(process.connection, process.owner, [turn]);
  }

  async function writeBooks(process: Process): Promise<void> {
    const turn = process.turn!;
    process.turn = undefined;
    await variant.writer.writeTurn(process.connection, process.owner, [turn]);
  }

  async function accrue({ wallet }: Caller, who: number, member: number): Promise<void> {
    const operation = newOperation(shard, Date.now());
    const outcome = await wallet.execute({
      script: 'accrue',
      kind: 'accrual',
      program,
      client: 0,
      member: members[member]!,
      operation,
      origins: [],
      order: '',
      referenceKey: '',
      fingerprint: '',
      occurredAt: Date.now(),
      at: Date.now(),
      isAwaited: false,
      judgedAt: Date.now(),
      lookedUpAt: Date.now(),
      input: JSON.stringify({ awards: [[1, 2 ** operations.length, 0, 0, 0]] }),
      request: '{}',
      factsVersion: undefined,
    });
    if (outcome.status !== 'done') throw new Error(`the accrual was not done: ${outcome.status}`);
    operations.push(operation);
    await pool.query(
      `insert into acknowledged (process, shard, epoch, seq) values ($1, $2, $3, $4)
       on conflict (process, shard) do update set epoch = excluded.epoch, seq = excluded.seq`,
      [`api ${who}`, shard, outcome.position.epoch, outcome.position.seq],
    );
  }

  async function snapshot(api: Caller, member: number): Promise<void> {
    api.loading = stepwise((pause) => {
      const held = heldPool(pool, pause);
      return variant.load.createLoader(nodes, held, api.epochs, 1, () => {}).member(members[member]!);
    });
    await api.loading.next();
  }

  async function evict(api: Caller, member: number): Promise<void> {
    const { epoch, scripts } = api.epochs.of(shard)!;
    const position = await pool.query<{ seq: number }>('select seq from position where epoch = $1', [epoch]);
    const suffix = `m:${members[member]}`;
    const removed = await redis.evalsha(scripts.evict.sha, 1, key, position.rows[0]!.seq, suffix);
    if (removed !== 1) throw new Error(`the member was not evicted: ${String(removed)}`);
  }

  async function trim({ progress }: Process): Promise<void> {
    const { epoch, seq } = progress!;
    const { rows } = await pool.query<{ coldBelow: number; identity: string }>(
      'select cold_below as "coldBelow", redis_identity as identity from epoch where epoch = $1',
      [epoch],
    );
    const { coldBelow, identity } = rows[0]!;
    const { trim: script } = variant.scripts.scriptsOf({
      shard,
      epoch,
      coldBelow,
      replicationId: replicationIdOf(identity),
    });
    await variant.trim.trimJournal(redis, {
      number: shard,
      sha: script.sha,
      progress: progress!,
      reached: [{ at: 0, seq }],
      journalKeepMs: 0,
      journalBytesMax: 1_000_000,
    });
  }

  async function begin(): Promise<[string, Buffer][]> {
    const [first] = writers;
    await takeLease(first);
    const { connection, owner } = first;
    const recovering = { connection, owner, redis, log, alive: () => {}, raised: () => {} };
    const progress = await recover(recovering, first.progress!, 0);
    const { epoch } = progress;
    first.progress = { ...progress, term: epoch };
    await admin.script('FLUSH');
    const replicationId = replicationIdOf(await identityOf(redis));
    await variant.scripts.loadScripts(redis, { shard, epoch, coldBelow: epoch, replicationId });
    for (const each of callers) await learn(pool, each);
    return dumped(admin);
  }

  let copy = await begin();

  const takers: Readonly<Record<Verb, (step: Step) => Promise<unknown>>> = {
    accrue: ({ who, member }) => accrue(callers[who]!, who, member),
    snapshot: ({ who, member }) => snapshot(callers[who]!, member),
    install: ({ who }) => callers[who]!.loading!.next(),
    evict: ({ who, member }) => evict(callers[who]!, member),
    refresh: ({ who }) => learn(pool, callers[who]!),
    read: ({ who }) => readJournal(writers[who]!),
    write: ({ who }) => writeBooks(writers[who]!),
    trim: ({ who }) => trim(writers[who]!),
    take: ({ who }) => takeLease(writers[who]!),
    look: ({ who }) => lookAt(writers[who]!),
    open: ({ who }) => goOn(writers[who]!),
    fence: ({ who }) => goOn(writers[who]!),
    compare: ({ who }) => goOn(writers[who]!),
    commit: ({ who }) => goOn(writers[who]!),
    book: ({ who }) => goOn(writers[who]!),
    script: ({ who }) => goOn(writers[who]!),
    serve: ({ who }) => goOn(writers[who]!),
    restart: () => admin.script('FLUSH').then(() => changeIdentity(admin)),
    wipe: () => admin.flushall(),
    copy: async () => {
      copy = await dumped(admin);
    },
    return: () => restartAs(admin, copy),
    resync: () => comeBackAs(admin, copy).then(() => changeIdentity(admin)),
    reload: () => comeBackAs(admin, copy),
  };

  return {
    async take(step, state) {
      const writer = writers[step.who]!;
      const isWriters = ofWriters.includes(step.verb);
      const fails = isWriters && ['away', 'stopped'].includes(state.writers[step.who]!.phase);
      const failure = await takers[step.verb](step).then(
        () => undefined,
        (error: unknown) => error,
      );
      // A load whose scripts are gone installs nothing, like one that comes too late.
      const isLateLoad = step.verb === 'install' && String(failure).includes('NOSCRIPT');
      if (failure && !fails && !isLateLoad) throw failure;
      if (fails && !failure) throw new Error(`${step.verb} should have been refused`);
      const isStop = failure instanceof Error && failure.name === 'LedgerBehind';
      if (fails && isStop !== (state.writers[step.who]!.phase === 'stopped')) throw failure;
      if (fails) forget(writer);
    },
    seen: () => seenInStores(admin, pool, { members, operations, scriptsOf: variant.scripts.scriptsOf }),
    waited: async (position) => written.wait({ shard, ...position }, 2_000),
    loaded: (member) =>
      variant.load.createLoader(nodes, pool, callers[0].epochs, 1, () => {}).member(members[member]!),
    async end() {
      written.stop();
      for (const { connection } of writers) await connection.end();
      for (const each of [redis, subscriber]) each.disconnect();
      await pool.end();
    },
  };
}
