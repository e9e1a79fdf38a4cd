/**
 * Calls the wallet scripts. Items of one script and shard that arrive while a call is under way go together into the next
 * one, up to sixty-four; an idle shard is called within the same turn of the event loop, so batching costs no latency.
 * All calls of a turn leave in one write. Items of a lane keep their order.
 *
 * What an error says about the points: a script that answered `fenced`, `clock_skew` or `expired` has changed nothing; a
 * connection that broke while a call was under way, or a timeout, leaves the outcome unknown, also when NOSCRIPT comes
 * back afterwards, because ioredis sends the call again by itself.
 */
import { Problem } from '#src/errors.ts';
import type { BalanceRow } from '#src/journal.ts';
import { generationOf, sentTogether } from '#src/platform/redis.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { EpochMs, MemberNumber, OperationHex, OperationKind, Position, Soon } from '#src/values.ts';
import { newOperation, shardOfMember } from '#src/values.ts';
import type { Epochs } from './epochs.ts';
import { keys } from './keys.ts';
import type { Leases } from './leases.ts';
import { deadlineMs, itemsPerCallMax } from './limits.ts';
import type { Loader, Place } from './load.ts';
import { type LotOf, type Outcome, outcomeOf, type Result, type Weighed } from './outcome.ts';
import { ownMovement } from './own-movement.ts';
import { barred, problemOfError, shardProblem } from './problems.ts';
import { callScript, type ScriptArguments, scriptArguments } from './script-call.ts';
import type { MovementScript } from './scripts.ts';
import { createWanted } from './wanted.ts';
import type { Waited, Written } from './written.ts';

/** One movement on its way into a script. Texts are passed through to the journal as they are. */
export interface Movement {
  readonly script: MovementScript;
  readonly kind: OperationKind;
  readonly program: number;
  /** 0 is the engine itself. */
  readonly client: number;
  readonly member: MemberNumber;
  readonly operation: OperationHex;
  readonly origins: readonly OperationHex[];
  readonly order: string;
  /** Empty for movements that are idempotent by themselves. */
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly occurredAt: EpochMs;
  /** Now in the program's own time. */
  readonly at: EpochMs;
  /** When `at` was read (real time); the call is void where the clock has been set since. */
  readonly judgedAt: EpochMs;
  /** The caller waits for the books, so the writer does not wait for company. */
  readonly isAwaited: boolean;
  /** When the reference was looked up in the books (real time); the call is void thirty seconds later. */
  readonly lookedUpAt: EpochMs;
  /** What the script decides on, as JSON. */
  readonly input: string;
  /** What is kept of the request, as JSON. */
  readonly request: string;
  /** The version of the member's facts that the decision rests on; undefined where it rests on none. */
  readonly factsVersion: number | undefined;
}

export type LotRow = [
  currency: number,
  lot: number,
  points: number,
  expiresAt: number,
  availableAt: number,
  party: number,
];

/** A member as it stands at a time. */
export interface Reading {
  readonly balances: BalanceRow[];
  readonly lots: LotRow[];
  readonly position: Position;
  readonly at: EpochMs;
  readonly status: string;
  readonly factsVersion: number;
  /** Spending is frozen until a person has looked. */
  readonly isFrozen: boolean;
}

export interface Wallet {
  readonly shardCount: number;
  execute(movement: Movement): Promise<Outcome>;
  /** What an accrual with this input would be given under its member's counters; nothing is written. */
  weigh(member: MemberNumber, input: string, at: EpochMs): Promise<Outcome | Weighed>;
  read(member: MemberNumber, at: EpochMs): Promise<Reading | undefined>;
  /** The place of the last record of the shard's journal. */
  journalEnd(shard: number): Promise<Position>;
  /** Waits until the books hold everything that the shard's journal holds now. */
  readBarrier(shard: number, timeoutMs: number): Promise<Waited>;
  waitWritten(position: Position, timeoutMs: number): Soon<Waited>;
  shardOf(member: MemberNumber): number;
}

interface Waiting {
  /** When the caller looked its reference up; a call in an epoch opened since might repeat what Redis forgot. */
  readonly lookedUpAt: EpochMs;
  readonly judgedAt: EpochMs;
  readonly args: ScriptArguments;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** `balance` and `weigh` only read. */
type LaneScript = MovementScript | 'balance' | 'weigh';

function isReading(script: LaneScript): boolean {
  return script === 'balance' || script === 'weigh';
}

interface Lane {
  readonly shard: number;
  readonly script: LaneScript;
  queue: Waiting[];
  inFlight: boolean;
}

const coldAttemptsMax = 6;
/**
 * A place may be dropped again between its reading and the script, where others count late receipts of the member too, and what a
 * budget granted may have been given by others of the shard.
 */
const countedAttemptsMax = 16;
/** Items that wait for one script of one shard; beyond it callers are told to come back. */
const waitingMax = 10_000;

export interface WalletOptions {
  readonly nodes: RedisNodes;
  readonly epochs: Epochs;
  readonly loader: Loader;
  readonly leases: Leases;
  readonly written: Written;
  readonly shardCount: number;
  /** Called for every record that this process acknowledges. */
  acknowledged(position: Position): void;
  /** Called for every movement that was decided: `done`, `replayed`, or the word of the refusal. */
  decided(kind: OperationKind, outcome: string): void;
  /** Whether the journals have reached their limit; then only what ends an earlier promise goes on. */
  journalFull(): boolean;
}

/** Scripts that resolve what was promised before; the last part of the journal is kept for them. */
const resolving: ReadonlySet<MovementScript> = new Set(['settle', 'undo', 'status', 'correct', 'expire']);

export function createWallet({
  nodes,
  epochs,
  loader,
  leases,
  written,
  shardCount,
  acknowledged,
  decided,
  journalFull,
}: WalletOptions): Wallet {
  const lanes = new Map<string, Lane>();
  let ready: Lane[] = [];
  const wanted = createWanted(loader, written, journalEnd, shardCount);

  async function call(lane: Lane, batch: Waiting[], now: EpochMs): Promise<Result[]> {
    const known = epochs.of(lane.shard);
    if (!known) throw new Problem('shard_recovering');
    const redis = nodes.of(lane.shard);
    const generation = generationOf(redis);
    let answer: [string, ...Result[]];
    try {
      const { sha } = known.scripts[lane.script];
      const call = callScript(redis, sha, keys.journal(lane.shard), [now, now + deadlineMs], batch);
      answer = (await call) as [string, ...Result[]];
    } catch (error) {
      void epochs.refresh().catch(() => {});
      nodes.reread();
      const problem = problemOfError(error, generation !== generationOf(redis));
      // A read changes nothing, so nothing about it is unknown.
      throw isReading(lane.script) && problem.code === 'outcome_unknown'
        ? new Problem('not_ready', 'the balances cannot be read at the moment', {}, { cause: error })
        : problem;
    }
    const [word, ...results] = answer;
    if (word !== 'ok') {
      if (word === 'fenced') void epochs.refresh().catch(() => {});
      // ioredis may have sent the call twice: then this answer is the second one's.
      throw generation === generationOf(redis) ? shardProblem(word) : new Problem('outcome_unknown');
    }
    // Of a master that was replaced while it stood still nobody keeps what it says.
    if (!nodes.believes(lane.shard, redis))
      throw new Problem(isReading(lane.script) ? 'shard_recovering' : 'outcome_unknown');
    return results;
  }

  function flush(lane: Lane): void {
    if (lane.inFlight || lane.queue.length === 0) return;
    const learnedAt = epochs.of(lane.shard)?.learnedAt ?? 0;
    const now = Date.now();
    const batch = lane.queue.splice(0, itemsPerCallMax).filter((waiting) => {
      const word = barred(waiting, now, learnedAt);
      if (word !== undefined) waiting.reject(shardProblem(word));
      return word === undefined;
    });
    if (batch.length === 0) {
      flush(lane);
      return;
    }
    lane.inFlight = true;
    call(lane, batch, now).then(
      (results) => {
        ended(lane);
        for (let i = 0; i < batch.length; i += 1) batch[i]!.resolve(results[i]!);
      },
      (error: unknown) => {
        ended(lane);
        for (const waiting of batch) waiting.reject(error);
      },
    );
  }

  function flushReady(): void {
    const now = ready;
    ready = [];
    sentTogether(nodes.all(), () => {
      for (const lane of now) flush(lane);
    });
  }

  function makeReady(lane: Lane): void {
    if (ready.push(lane) === 1) setImmediate(flushReady);
  }

  function ended(lane: Lane): void {
    lane.inFlight = false;
    if (lane.queue.length > 0) makeReady(lane);
  }

  function submit(
    shard: number,
    script: Lane['script'],
    lookedUpAt: EpochMs,
    judgedAt: EpochMs,
    args: ScriptArguments,
  ): Promise<Result> {
    const key = `${script}.${shard}`;
    let lane = lanes.get(key);
    if (!lane) {
      lane = { shard, script, queue: [], inFlight: false };
      lanes.set(key, lane);
    }
    const target = lane;
    if (target.queue.length >= waitingMax)
      return Promise.reject(new Problem('not_ready', 'too many movements wait for this shard'));
    return new Promise((resolve, reject) => {
      if (target.queue.push({ lookedUpAt, judgedAt, args, resolve, reject }) > 1 || target.inFlight) return;
      makeReady(target);
    });
  }

  /** The nine arguments of an item, in the order of `prelude.lua`; the last one holds what only the record needs. */
  function argsOf(movement: Movement): ScriptArguments {
    const { program, client, origins, order, occurredAt, isAwaited, request } = movement;
    return scriptArguments([
      movement.kind,
      movement.member,
      movement.operation,
      movement.referenceKey,
      movement.fingerprint,
      movement.at,
      movement.factsVersion ?? '',
      movement.input,
      `${program}\t${client}\t${origins.join(',')}\t${order}\t${occurredAt}\t${isAwaited ? 1 : ''}\t${request}`,
    ]);
  }

  /** Runs a script for a movement, with what it wants from the books. */
  async function answerOf(movement: Movement, script: LaneScript): Promise<Outcome | Weighed> {
    const shard = shardOfMember(movement.member, shardCount);
    let args = argsOf(movement);
    const places = new Map<string, Place>();
    const lots = new Map<string, LotOf>();
    const fullBudgets = new Set<number>();
    let [known, past, full, attemptsMax] = ['', '', '', coldAttemptsMax];
    // A movement without a reference rests on no look-up.
    const lookedUpAt = movement.referenceKey === '' ? Number.POSITIVE_INFINITY : movement.lookedUpAt;
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      if (Date.now() - movement.lookedUpAt > deadlineMs) throw shardProblem('expired');
      const result = await submit(shard, script, lookedUpAt, movement.judgedAt, args);
      const outcome = outcomeOf(shard, movement.kind, result);
      if (!('wants' in outcome)) return outcome;
      if (outcome.wants === 'member') {
        if ((await wanted.member(movement.member)) === 'not_found') return { status: 'member_not_found' };
      } else if (outcome.wants === 'operation') {
        if ((await wanted.operation(outcome.operation, shard)) === 'not_found')
          return { status: 'original_not_found' };
      } else {
        attemptsMax = countedAttemptsMax;
        if (outcome.wants === 'lots') {
          for (const lot of outcome.lots) lots.set(lot.join(), lot);
          past = await wanted.lots(movement.member, lots.values());
        } else if (outcome.wants === 'leases') {
          full = await leases.fullOf(shard, movement.program, outcome.short, fullBudgets);
        } else {
          const isAgain = outcome.places.some((place) => places.has(place.join()));
          for (const place of outcome.places) places.set(place.join(), place);
          known = await wanted.counters(movement.member, places.values(), isAgain);
        }
        args = argsOf({ ...movement, input: `${movement.input.slice(0, -1)}${known}${past}${full}}` });
      }
    }
    throw new Problem('shard_recovering', 'what the movement needs leaves Redis again and again');
  }

  async function execute(movement: Movement): Promise<Outcome> {
    if (journalFull() && !resolving.has(movement.script)) throw new Problem('journal_full');
    const outcome = await answerOf(movement, movement.script);
    if ('weighed' in outcome) throw new Error('only the script that weighs answers so');
    if (outcome.status === 'done') acknowledged(outcome.position);
    decided(movement.kind, outcome.status === 'refused' ? outcome.code : outcome.status);
    return outcome;
  }

  function weigh(member: MemberNumber, input: string, at: EpochMs): Promise<Outcome | Weighed> {
    const judgedAt = Date.now();
    const operation = newOperation(shardOfMember(member, shardCount), judgedAt);
    const nobodys = { script: 'accrue', kind: 'accrual', program: 0 } as const;
    return answerOf(ownMovement({ ...nobodys, member, operation, at, judgedAt, input }), 'weigh');
  }

  async function read(member: MemberNumber, at: EpochMs): Promise<Reading | undefined> {
    const shard = shardOfMember(member, shardCount);
    const args = scriptArguments([member, at]);
    for (let attempt = 0; attempt < coldAttemptsMax; attempt += 1) {
      const result = await submit(shard, 'balance', Number.POSITIVE_INFINITY, Date.now(), args);
      if (result[0] === 'read') {
        return {
          balances: JSON.parse(String(result[1])) as BalanceRow[],
          lots: JSON.parse(String(result[2])) as LotRow[],
          position: { shard, epoch: Number(result[4]), seq: Number(result[3]) },
          at: Number(result[5]),
          status: String(result[6]),
          factsVersion: Number(result[7]),
          isFrozen: Number(result[8]) === 1,
        };
      }
      if ((await wanted.member(member)) === 'not_found') return undefined;
    }
    throw new Problem('shard_recovering');
  }

  async function journalEnd(shard: number): Promise<Position> {
    const redis = nodes.of(shard);
    const found = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1).catch((error: unknown) => {
      throw new Problem('not_ready', 'the journals cannot be read at the moment', {}, { cause: error });
    });
    const last = found[0];
    if (!last || !nodes.believes(shard, redis)) throw new Problem('shard_recovering');
    const [epoch, seq] = last[0].split('-');
    return { shard, epoch: Number(epoch), seq: Number(seq) };
  }

  return {
    shardCount,
    execute,
    weigh,
    read,
    journalEnd,
    readBarrier: async (shard, timeoutMs) => written.wait(await journalEnd(shard), timeoutMs),
    waitWritten: (position, timeoutMs) => written.wait(position, timeoutMs),
    shardOf: (member) => shardOfMember(member, shardCount),
  };
}
