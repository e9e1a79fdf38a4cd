/**
 * One movement from request to answer: known before? → script → wait for the books where asked. Every domain's movement
 * goes through `perform`; what differs between them is the script, its input and how the reply is rendered.
 *
 * The reply is a function of the recorded operation alone (`Recorded`), so the first answer, a replay an hour later and
 * `GET /v1/operations/:id` cannot differ.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import { type Effect, parseEffect, readRecord } from '#src/journal.ts';
import type { AnyRedis, RedisNodes } from '#src/platform/redis-nodes.ts';
import type { EpochMs, MemberNumber, OperationHex, OperationKind, Position, Soon } from '#src/values.ts';
import { newOperation, operationId, shardOfOperation } from '#src/values.ts';
import { refuseArchived } from './archived.ts';
import { type CounterMemory, createCounterMemory } from './counter-values.ts';
import { createDailyLimit, type DailyLimit } from './daily-limit.ts';
import { type End, endsInBooks } from './ends.ts';
import type { Epochs } from './epochs.ts';
import { gathering } from './gathering.ts';
import { keys } from './keys.ts';
import { requestQuery } from './limits.ts';
import type { Lookup } from './lookup.ts';
import type { Outcome } from './outcome.ts';
import { fingerprintOf, isFresh, parseEntry, referenceKeyOf } from './reference.ts';
import type { MovementScript } from './scripts.ts';
import type { Wallet } from './wallet.ts';
import type { Waited } from './written.ts';

export type Durability = 'journal' | 'ledger';

/** An operation as the journal or the books have it. */
export interface Recorded {
  readonly operation: OperationHex;
  readonly kind: OperationKind;
  readonly program: number;
  readonly member: MemberNumber;
  readonly at: EpochMs;
  readonly occurredAt: EpochMs;
  readonly order: string;
  readonly fingerprint: string;
  readonly position: Position;
  /** What was kept of the request; its `body` is the canonical body without the member. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly effect: Effect;
}

/** What a domain asks for. */
export interface Draft {
  readonly script: MovementScript;
  readonly kind: OperationKind;
  readonly program: number;
  readonly client: number;
  readonly member: MemberNumber;
  readonly factsVersion: number | undefined;
  readonly origins?: readonly OperationHex[];
  readonly order?: string | undefined;
  readonly reference: string;
  /** What the reference stands for beside the kind; movements of one client and kind share one name space. */
  readonly fingerprint: string;
  readonly occurredAt: EpochMs;
  readonly at: EpochMs;
  /** When `at` was read, real time. */
  readonly judgedAt: EpochMs;
  /** The caller waits for the books. */
  readonly isAwaited: boolean;
  readonly input: unknown;
  readonly request: Readonly<Record<string, unknown>>;
}

export interface Performed {
  readonly recorded: Recorded;
  readonly replayed: boolean;
}

export interface Known {
  readonly performed?: Performed;
  readonly behind: readonly number[];
}

export type Attempt =
  | ({ readonly status: 'performed' } & Performed)
  | Exclude<Outcome, { status: 'done' | 'replayed' | 'reference_reused' }>;

export interface Operations {
  readonly wallet: Wallet;
  readonly lookup: Lookup;
  readonly dailyLimit: DailyLimit;
  readonly counters: CounterMemory;
  /** Sixteen hex digits that stand for a canonical request. */
  fingerprint(canonical: object): string;
  /**
   * The operation that already used a reference, checked against the fingerprint. Throws `reference_reused` when it stands
   * for another request. Where there is none, `behind` names the shards whose books cannot say so.
   */
  known(
    draft: Pick<Draft, 'program' | 'client' | 'kind' | 'reference' | 'fingerprint' | 'request'>,
  ): Soon<Known>;
  /**
   * The operation that already used a reference, wherever it is remembered: also that of a fresh one, which `known` leaves
   * to the script. For a refusal that no script has seen.
   */
  answered(draft: Parameters<Operations['known']>[0], member: MemberNumber): Promise<Performed | undefined>;
  /** Runs one movement. `known` has been asked before, `lookedUpAt` says when. */
  attempt(draft: Draft, lookedUpAt: EpochMs): Promise<Attempt>;
  /** Reads an operation from the books, or from the journal when it is not written yet; undefined when there is none. */
  recorded(operation: OperationHex, waitMs: number): Promise<Recorded | undefined>;
  /** Those of the operations that the books have, oldest first. */
  inBooks(operations: readonly OperationHex[]): Promise<Recorded[]>;
  /** How late the member's points of these currencies were ever dated (`ends.ts`). */
  endsInBooks(member: MemberNumber, currencies: readonly number[]): Promise<End[]>;
  /** Whether Redis remembers a reference of this member's shard at the moment. */
  remembers(draft: Pick<Draft, 'program' | 'client' | 'kind' | 'reference' | 'member'>): Promise<boolean>;
  /** The level that was reached within the wait; without a wait it is known at once. */
  reach(recorded: Recorded, durability: Durability, waitMs: number): Soon<Durability>;
}

interface OperationRow {
  operation: OperationHex;
  kind: OperationKind;
  shard: number;
  epoch: number;
  seq: number;
  program: number;
  member: MemberNumber;
  at: EpochMs;
  occurred_at: EpochMs;
  order_reference: string | null;
  fingerprint: string | null;
  request: Record<string, unknown>;
  effect: Effect;
}

// `offset 0`: each id is looked up in its own month. A prepared statement would look for an array of them in every month.
const operationQuery = `select replace(o.operation::text, '-', '') as operation, kind, shard, epoch, seq, program, member, (extract(epoch from at) * 1000)::bigint as at,
  (extract(epoch from occurred_at) * 1000)::bigint as occurred_at, order_reference, fingerprint, request, effect
  from unnest($1::uuid[]) as w(operation) cross join lateral (select * from operation o where o.operation = w.operation offset 0) o
  order by at, o.operation`;

const barrierMsMax = 1_000;
/** What is known of a fresh reference: nobody used it, and no book needed to be asked. */
const unused: Known = { behind: [] };

/** The first difference between two canonical bodies, as a JSON pointer. */
export function differingPointer(first: unknown, second: unknown, path = ''): string | undefined {
  if (Object.is(first, second)) return undefined;
  if (typeof first !== 'object' || typeof second !== 'object' || first === null || second === null)
    return path;
  const names = new Set([...Object.keys(first), ...Object.keys(second)]);
  for (const name of names) {
    const found = differingPointer(
      (first as Record<string, unknown>)[name],
      (second as Record<string, unknown>)[name],
      `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

export function createOperations(
  pool: pg.Pool,
  nodes: RedisNodes,
  anyRedis: AnyRedis,
  wallet: Wallet,
  lookup: Lookup,
  epochs: Epochs,
  fingerprintSecret: string,
): Operations {
  async function inBooks(operations: readonly OperationHex[]): Promise<Recorded[]> {
    const result = await pool.query<OperationRow>({
      ...requestQuery,
      name: 'operations',
      text: operationQuery,
      values: [operations],
    });
    return result.rows.map((row) => ({
      operation: row.operation,
      kind: row.kind,
      program: row.program,
      member: row.member,
      at: row.at,
      occurredAt: row.occurred_at,
      order: row.order_reference ?? '',
      fingerprint: row.fingerprint ?? '',
      position: { shard: row.shard, epoch: row.epoch, seq: row.seq },
      request: row.request,
      effect: row.effect,
    }));
  }

  /**
   * What the shard's Redis says of an earlier attempt. Where it cannot be asked, or nobody has confirmed that the one that
   * answered still holds the shard, what became of that attempt stays unknown.
   */
  async function ofShard<T>(shard: number, ask: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = nodes.of(shard);
    const detail = 'an earlier attempt cannot be looked up at the moment';
    const answer = await ask(redis).catch((error: unknown) => {
      throw new Problem('outcome_unknown', detail, {}, { cause: error });
    });
    if (!nodes.believes(shard, redis)) throw new Problem('outcome_unknown', detail);
    return answer;
  }

  const fromBooks = gathering<OperationHex, Recorded | undefined>(async (operations) => {
    const found = new Map((await inBooks([...new Set(operations)])).map((each) => [each.operation, each]));
    return operations.map((operation) => found.get(operation));
  });

  async function fromJournal(shard: number, streamId: string): Promise<Recorded | 'newer' | undefined> {
    const [found] = await ofShard(shard, (redis) => redis.xrange(keys.journal(shard), streamId, streamId));
    if (!found) return undefined;
    const record = readRecord(found[0], found[1]);
    if (record === 'newer') return record;
    if (record.kind === 'opened') return undefined;
    return {
      operation: record.operation,
      kind: record.kind,
      program: record.program,
      member: record.member,
      at: record.at,
      occurredAt: record.occurredAt,
      order: record.order,
      fingerprint: record.fingerprint,
      position: { shard, epoch: record.epoch, seq: record.seq },
      request: JSON.parse(record.request) as Record<string, unknown>,
      effect: parseEffect(record.effectText),
    };
  }

  async function recorded(operation: OperationHex, waitMs: number): Promise<Recorded | undefined> {
    const found = await fromBooks(operation);
    if (found) return found;
    const shard = shardOfOperation(operation);
    if (shard >= wallet.shardCount) return undefined;
    const waited = await wallet.readBarrier(shard, Math.min(waitMs, barrierMsMax));
    if (waited === 'timeout') throw new Problem('not_ready', 'the books are behind; ask again');
    const written = await fromBooks(operation);
    if (!written) await refuseArchived(pool, operation);
    return written;
  }

  function reused(operation: OperationHex | undefined, first: Recorded | undefined, body: unknown): Problem {
    const fields = {
      ...(operation && first ? { id: operationId(first.kind, operation) } : {}),
      pointer: (first && differingPointer(first.request.body, body)) || '/member',
    };
    return new Problem('reference_reused', undefined, fields);
  }

  async function lookedUp(draft: Parameters<Operations['known']>[0]): Promise<Known> {
    const key = referenceKeyOf(draft.program, draft.client, draft.kind, draft.reference);
    const { operation, behind } = await lookup.reference(key);
    if (!operation) return { behind };
    const first = await fromBooks(operation);
    if (!first) {
      await refuseArchived(pool, operation);
      throw new Problem('not_ready', 'the first answer to this reference cannot be read at the moment');
    }
    if (first.fingerprint !== draft.fingerprint) throw reused(operation, first, draft.request.body);
    return { performed: { recorded: first, replayed: true }, behind };
  }

  function known(draft: Parameters<Operations['known']>[0]): Soon<Known> {
    const now = Date.now();
    // After a merge the member's name stands for somebody in another shard, which has never heard of the reference.
    const mayMove = draft.kind === 'status';
    return !mayMove && isFresh(draft.reference, now) && epochs.lookupUntil() < now ? unused : lookedUp(draft);
  }

  async function replay(operation: OperationHex, streamId: string): Promise<Recorded> {
    const shard = shardOfOperation(operation);
    const found = (await fromJournal(shard, streamId)) ?? (await recorded(operation, barrierMsMax));
    if (found === 'newer' || found?.operation !== operation) {
      const written = await fromBooks(operation);
      if (!written)
        throw new Problem(
          'outcome_unknown',
          'the first answer to this reference cannot be read at the moment',
        );
      return written;
    }
    return found;
  }

  async function answered(
    draft: Parameters<Operations['known']>[0],
    member: MemberNumber,
  ): Promise<Performed | undefined> {
    const { performed } = await lookedUp(draft);
    if (performed) return performed;
    const key = referenceKeyOf(draft.program, draft.client, draft.kind, draft.reference);
    const shard = wallet.shardOf(member);
    const entry = parseEntry(await ofShard(shard, (redis) => redis.get(keys.idempotency(shard, key))));
    if (!entry) return undefined;
    const recorded = await replay(entry.operation, entry.streamId);
    if (entry.fingerprint !== draft.fingerprint) throw reused(entry.operation, recorded, draft.request.body);
    return { recorded, replayed: true };
  }

  async function attempt(draft: Draft, lookedUpAt: EpochMs): Promise<Attempt> {
    const operation = newOperation(wallet.shardOf(draft.member), lookedUpAt);
    const outcome = await wallet.execute({
      script: draft.script,
      kind: draft.kind,
      program: draft.program,
      client: draft.client,
      member: draft.member,
      operation,
      origins: draft.origins ?? [],
      order: draft.order ?? '',
      referenceKey: referenceKeyOf(draft.program, draft.client, draft.kind, draft.reference),
      fingerprint: draft.fingerprint,
      occurredAt: draft.occurredAt,
      at: draft.at,
      judgedAt: draft.judgedAt,
      lookedUpAt,
      isAwaited: draft.isAwaited,
      input: JSON.stringify(draft.input),
      request: JSON.stringify(draft.request),
      factsVersion: draft.factsVersion,
    });
    switch (outcome.status) {
      case 'done':
        return {
          status: 'performed',
          replayed: false,
          recorded: {
            operation,
            kind: outcome.kind,
            program: draft.program,
            member: draft.member,
            at: outcome.at,
            occurredAt: draft.occurredAt,
            order: draft.order ?? '',
            fingerprint: draft.fingerprint,
            position: outcome.position,
            request: draft.request,
            effect: JSON.parse(outcome.effect) as Effect,
          },
        };
      case 'replayed':
        return {
          status: 'performed',
          replayed: true,
          recorded: await replay(outcome.operation, outcome.streamId),
        };
      case 'reference_reused': {
        const first = outcome.operation && (await recorded(outcome.operation, barrierMsMax));
        throw reused(outcome.operation, first || undefined, draft.request.body);
      }
      default:
        return outcome;
    }
  }

  async function remembers(draft: Parameters<Operations['remembers']>[0]): Promise<boolean> {
    const key = referenceKeyOf(draft.program, draft.client, draft.kind, draft.reference);
    const shard = wallet.shardOf(draft.member);
    return (await ofShard(shard, (redis) => redis.exists(keys.idempotency(shard, key)))) === 1;
  }

  async function levelAfter(of: Recorded, waiting: Soon<Waited>): Promise<Durability> {
    const waited = await waiting;
    if (waited === 'written') return 'ledger';
    // The operation is done: whatever cannot be asked now only lowers what is said about its level.
    if (waited === 'moved')
      return (await fromBooks(of.operation).catch(() => undefined)) ? 'ledger' : 'journal';
    return 'journal';
  }

  function reach(of: Recorded, durability: Durability, waitMs: number): Soon<Durability> {
    const waiting = wallet.waitWritten(of.position, durability === 'ledger' ? waitMs : 0);
    return waiting === 'timeout' ? 'journal' : levelAfter(of, waiting);
  }

  return {
    wallet,
    lookup,
    dailyLimit: createDailyLimit(anyRedis),
    counters: createCounterMemory(),
    fingerprint: (canonical) => fingerprintOf(fingerprintSecret, canonical),
    known,
    answered,
    attempt,
    recorded,
    inBooks,
    endsInBooks: (member, currencies) => endsInBooks(pool, member, currencies),
    remembers,
    reach,
  };
}
