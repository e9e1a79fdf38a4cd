/**
 * What the real stores hold, in the words of the model, so that the two can be compared after every step: operation n is
 * an accrual of 2^n points, hence a balance in points is the set of operations in it.
 */
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { openingOf, readEntry } from '#src/ledger/journal-entry.ts';
import { replicationIdOf } from '#src/platform/redis.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import type { ShardEpoch } from '#src/wallet/scripts.ts';
import { fence, freeze, opened, type State } from './state.ts';

export const shard = 0;

const marks: Readonly<Record<number, string>> = { [fence]: 'fence', [opened]: 'opened', [freeze]: 'frozen' };

export interface Seen {
  readonly journal: readonly string[];
  readonly members: readonly string[];
  readonly evicted: string;
  readonly scripts: readonly number[];
  readonly position: string;
  readonly rows: readonly string[];
  readonly epochs: readonly string[];
}

/** What the model says. */
export function seenIn({ memory, scripts, books }: State): Seen {
  const entry = (e: { epoch: number; seq: number; operation: number }) =>
    `${e.epoch}-${e.seq} ${marks[e.operation] ?? e.operation}`;
  return {
    journal: memory.journal?.map(entry) ?? [],
    members: memory.members.map((hot) => (hot ? `${hot.epoch}-${hot.seq}: ${hot.operations}` : 'cold')),
    evicted: memory.evictedEpoch === 0 ? '' : `${memory.evictedEpoch}-${memory.evictedSeq}`,
    scripts: books.epochs
      .map((row) => row.epoch)
      .filter((epoch) => ((scripts >> epoch) & 1) === 1)
      .toSorted((a, b) => a - b),
    position: `${books.epoch}-${books.seq}`,
    rows: books.rows.map(entry),
    epochs: books.epochs
      .map(
        (row) =>
          `${row.epoch} after ${row.previous}-${row.previousLastSeq}, cold below ${row.coldBelow}, lost ${row.lostFrom}-${row.lostTo}`,
      )
      .toSorted(),
  };
}

export interface Names {
  readonly members: readonly MemberNumber[];
  readonly operations: readonly OperationHex[];
  scriptsOf(shardEpoch: ShardEpoch): { readonly accrue: { readonly sha: string } };
}

async function memberSeen(redis: Redis, member: MemberNumber): Promise<string> {
  const key = keys.member(shard, member);
  const script = `local packed = redis.call('GET', KEYS[1])
    if not packed then return false end
    local epoch, seq, _, _, _, _, _, wallets = cmsgpack.unpack(packed)
    local points = 0
    for _, w in ipairs(wallets) do for _, lot in ipairs(w[4]) do points = points + lot[2] end end
    return epoch .. '-' .. seq .. ': ' .. points`;
  return String((await redis.eval(script, 1, key)) ?? 'cold');
}

/** What the stores hold. */
export async function seenInStores(redis: Redis, pool: pg.Pool, names: Names): Promise<Seen> {
  const numberOf = ({ operation, kind }: { operation: OperationHex; kind: string }) =>
    kind === 'status' ? marks[freeze] : names.operations.indexOf(operation);
  const entries = await redis.xrange(keys.journal(shard), '-', '+');
  const position = await pool.query<{ at: string }>(
    "select epoch || '-' || seq as at from position where shard = 0",
  );
  const rows = await pool.query<{ at: string; operation: OperationHex; kind: string }>(
    "select epoch || '-' || seq as at, replace(operation::text, '-', '') as operation, kind from operation order by epoch, seq",
  );
  const epochs = await pool.query<{
    epoch: number;
    coldBelow: number;
    identity: string | null;
    text: string;
  }>(
    `select epoch, cold_below as "coldBelow", redis_identity as identity, epoch || ' after ' || previous_epoch || '-' || previous_last_seq || ', cold below ' || cold_below
       || ', lost ' || coalesce(lost_from, 0) || '-' || coalesce(lost_to, 0) as text from epoch order by epoch`,
  );
  const shas = epochs.rows.map(
    ({ epoch, coldBelow, identity }) =>
      names.scriptsOf({ shard, epoch, coldBelow, replicationId: replicationIdOf(identity ?? '') }).accrue.sha,
  );
  const exist = (await redis.script('EXISTS', ...shas)) as number[];
  return {
    journal: entries.map(([id, fields]) => {
      const { record } = readEntry(id, fields);
      if (record.kind !== 'opened') return `${id} ${numberOf(record)}`;
      return `${id} ${marks[openingOf(id, fields)?.isFence ? fence : opened]}`;
    }),
    members: await Promise.all(names.members.map((member) => memberSeen(redis, member))),
    evicted: (await redis.get(keys.evictedThrough(shard))) ?? '',
    scripts: epochs.rows.map((row) => row.epoch).filter((_, i) => exist[i] === 1),
    position: position.rows[0]!.at,
    rows: rows.rows.map((row) => `${row.at} ${numberOf(row)}`),
    epochs: epochs.rows.map((row) => row.text).toSorted(),
  };
}
