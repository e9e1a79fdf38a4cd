/**
 * Redis = ledger: what is hot, compared with the books at the same sequence, while the system runs.
 *
 * A batch is read from Redis, then from the books in one snapshot that is written at least through the last record of
 * everything in the batch, then from Redis again. The two must be equal where the snapshot's last record of a member is
 * the one that Redis names, or where both readings of Redis are the same, so that nothing moved in between (a member that
 * was just loaded names no record). What moved is read again, a bounded number of times, and otherwise counted as
 * skipped. A state of an epoch below the shard's `cold_below` counts as not there.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { z } from 'zod';
import { parseStreamId } from '#src/journal.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { operationStateOf } from '#src/wallet/operation-state.ts';
import { type CountersOfMember, compareCounters } from './audit-counters.ts';
import { blamedOnBooks, memberRows, operationRows, type PlacedOperation } from './audit-hot-books.ts';
import {
  type Difference,
  differencesOf,
  type MemberRow,
  memberStateSchema,
  operationStateSchema,
  standingInBooks,
  standingInRedis,
  standingOfOperation,
} from './audit-standing.ts';

/** Keys of one call: 200 members with a few lots each are about 60 kB and one millisecond of Redis. */
export const hotPerBatch = 200;
const attemptsMax = 5;
const pollMs = 20;
const inspect = readFileSync(new URL('../wallet/scripts/inspect.lua', import.meta.url), 'utf8');

export interface HotStores {
  readonly nodes: RedisNodes;
  /** A connection of the audit's own; it opens a database transaction for each batch. */
  readonly connection: pg.ClientBase;
  /** How much longer the audit will wait for books that are behind; shared by all batches. */
  readonly patience: { leftMs: number };
}

export interface HotComparison {
  readonly compared: number;
  /** Not at rest long enough, or not written in time. */
  readonly skipped: number;
  readonly differences: readonly Difference[];
  /** Names whose state cannot even be read, or says that its last record is one that the journal never had. */
  readonly unreadable: readonly string[];
}

interface Numbered {
  readonly epoch: number;
  readonly seq: number;
}

interface Progress extends Numbered {
  readonly coldBelow: number;
}

/** What is hot of one sort, and how both sides are read. */
interface Sort<Name extends string | number, State extends readonly [number, number, ...unknown[]]> {
  readonly key: (shard: number, name: Name) => string;
  readonly schema: z.ZodType<State>;
  /** Compares each with one snapshot; `still` are those that were the same in both readings of Redis. */
  compare(
    tx: pg.ClientBase,
    shard: number,
    states: ReadonlyMap<Name, State>,
    still: ReadonlySet<Name>,
  ): Promise<Compared<Name>>;
}

interface Compared<Name> {
  readonly differences: readonly Difference[];
  /** What the snapshot has at another sequence. */
  readonly moved: readonly Name[];
}

async function progressOf(connection: pg.ClientBase, shard: number): Promise<Progress> {
  const { rows } = await connection.query<{ epoch: number; seq: number; cold_below: number | null }>({
    name: 'audit-progress',
    text: `select p.epoch, p.seq, (select cold_below from epoch e where e.shard = p.shard order by e.epoch desc limit 1) as cold_below
      from position p where p.shard = $1`,
    values: [shard],
  });
  const row = rows[0];
  return { epoch: row?.epoch ?? 0, seq: row?.seq ?? 0, coldBelow: row?.cold_below ?? 0 };
}

/** The last record of a shard's journal; undefined where there is none. */
async function newestOf(redis: Redis, shard: number): Promise<Numbered | undefined> {
  const [found] = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
  return found && parseStreamId(found[0]);
}

function isWritten(progress: Numbered, [epoch, seq]: readonly [number, number, ...unknown[]]): boolean {
  return progress.epoch > epoch || (progress.epoch === epoch && progress.seq >= seq);
}

/** Waits until the books hold the records of all states, as long as the audit's patience lasts. */
async function untilWritten(
  { connection, patience }: HotStores,
  shard: number,
  states: Iterable<readonly [number, number, ...unknown[]]>,
): Promise<void> {
  const waiting = [...states];
  while (patience.leftMs > 0) {
    const progress = await progressOf(connection, shard);
    if (waiting.every((state) => isWritten(progress, state))) return;
    await delay(pollMs);
    patience.leftMs -= pollMs;
  }
}

/** What `inspect.lua` answered; undefined where it is no state at all. */
function stateOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function inSnapshot<T>(connection: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await connection.query('begin isolation level repeatable read read only');
  try {
    return await work();
  } finally {
    await connection.query('rollback');
  }
}

async function compareHot<
  Name extends string | number,
  State extends readonly [number, number, ...unknown[]],
>(stores: HotStores, shard: number, names: readonly Name[], sort: Sort<Name, State>): Promise<HotComparison> {
  const { connection } = stores;
  const redis = stores.nodes.of(shard);
  const differences: Difference[] = [];
  const unreadable: string[] = [];
  let count = 0;
  let open = [...new Set(names)];

  async function textsOf(asked: readonly Name[]): Promise<(string | null)[]> {
    const answer = await redis.eval_ro(inspect, asked.length, ...asked.map((name) => sort.key(shard, name)));
    return answer as (string | null)[];
  }

  function parse(name: Name, text: string): State | undefined {
    const read = sort.schema.safeParse(stateOf(text));
    if (!read.success) unreadable.push(String(name));
    return read.data;
  }

  /** One reading of both sides; answers what must be read again. */
  async function attempt(): Promise<Name[]> {
    const before = await textsOf(open);
    const newest = await newestOf(redis, shard);
    const { coldBelow } = await progressOf(connection, shard);
    const states = new Map<Name, State>();
    open.forEach((name, i) => {
      const text = before[i];
      const state = text ? parse(name, text) : undefined;
      if (!state || state[0] < coldBelow) return;
      // The journal was read later, so it has every record that a state can name.
      if (newest && !isWritten(newest, state)) unreadable.push(String(name));
      else states.set(name, state);
    });
    if (states.size === 0) return [];
    await untilWritten(stores, shard, states.values());
    return inSnapshot(connection, async () => {
      const progress = await progressOf(connection, shard);
      const after = await textsOf(open);
      const late: Name[] = [];
      const still = new Set<Name>();
      open.forEach((name, i) => {
        const state = states.get(name);
        if (!state) return;
        if (before[i] === after[i]) still.add(name);
        if (isWritten(progress, state)) return;
        late.push(name);
        states.delete(name);
      });
      const compared = await sort.compare(connection, shard, states, still);
      differences.push(...compared.differences);
      count += states.size - compared.moved.length;
      return [...late, ...compared.moved];
    });
  }

  for (let i = 0; i < attemptsMax && open.length > 0; i += 1) open = await attempt();
  return { compared: count, skipped: open.length, differences, unreadable };
}

/** A state that was loaded names the time of the newest id, one that was moved since that of the last number. */
function timeToExpect(stated: number, { at, newest_at }: MemberRow): number | null {
  return stated === newest_at ? newest_at : at;
}

const memberSort: Sort<MemberNumber, z.output<typeof memberStateSchema>> = {
  key: keys.member,
  schema: memberStateSchema,
  async compare(tx, _shard, states, still) {
    const rows = new Map((await memberRows(tx, [...states.keys()])).map((row) => [row.number, row]));
    const differences: Difference[] = [];
    const moved: MemberNumber[] = [];
    const counted: CountersOfMember[] = [];
    for (const [member, state] of states) {
      const row = rows.get(member);
      const [epoch, seq] = state;
      const isSameRecord = row?.last_epoch === epoch && row.last_seq === seq;
      if (!isSameRecord && !still.has(member)) {
        moved.push(member);
        continue;
      }
      counted.push({ member, list: state[9], inBooks: row?.counters ?? null });
      const different = differencesOf(
        standingInRedis(member, state),
        row ? standingInBooks({ ...row, at: timeToExpect(state[2], row) }) : new Map(),
      );
      if (different.length === 0) continue;
      const blamed = await blamedOnBooks(tx, member, different);
      differences.push(...different.filter((difference) => !blamed.has(difference)));
    }
    differences.push(...(await compareCounters(tx, counted)));
    return { differences, moved };
  },
};

/** The shard in which an original was undone last. */
function lastUndoneIn(operation: OperationHex, rows: readonly PlacedOperation[]): number | undefined {
  return rows.findLast((row) => (row.request.undone ?? []).some(([origin]) => origin === operation))?.shard;
}

const operationSort: Sort<OperationHex, z.output<typeof operationStateSchema>> = {
  key: keys.operation,
  schema: operationStateSchema,
  async compare(tx, shard, states, still) {
    const found = await operationRows(tx, [...states.keys()]);
    const moved = [...states.keys()].filter((operation) => !still.has(operation));
    const differences = [...states].flatMap(([operation, [, , version, note, parts]]) => {
      if (!still.has(operation)) return [];
      const rows = found.get(operation) ?? [];
      const inBooks = operationStateOf(operation, rows);
      // After a merge an original is undone in the survivor's shard; what its own shard still has is not read any more.
      if (inBooks && version < inBooks.version && lastUndoneIn(operation, rows) !== shard) return [];
      const redis = standingOfOperation(operation, { version, note, parts });
      return differencesOf(redis, inBooks ? standingOfOperation(operation, inBooks) : new Map());
    });
    return { differences, moved };
  },
};

/** Compares members of one shard with the books. Differences that are the books' own fault are left to the other checks. */
export function compareHotMembers(
  stores: HotStores,
  shard: number,
  members: readonly MemberNumber[],
): Promise<HotComparison> {
  return compareHot(stores, shard, members, memberSort);
}

/** Compares states of operations of one shard with the books. */
export async function compareHotOperations(
  stores: HotStores,
  shard: number,
  operations: readonly OperationHex[],
): Promise<HotComparison> {
  const { rows } = await stores.connection.query<{ below: string }>(
    `select replace(archived_below()::text, '-', '') as below`,
  );
  // Nobody can undo an archived operation, so what Redis may still say of it is not read any more.
  const kept = operations.filter((operation) => operation >= rows[0]!.below);
  return compareHot(stores, shard, kept, operationSort);
}
