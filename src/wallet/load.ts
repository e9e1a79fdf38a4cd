/**
 * Cold load: brings members and operations from the books into Redis. The books are read in one statement, which is one
 * snapshot, together with the shard's written position; the script installs only where nothing is there and refuses a
 * snapshot older than an eviction. Everybody who asks for the same member waits for one load, and the members asked for
 * in one turn of the event loop are read with one query.
 */
import type pg from 'pg';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { shardOfMember } from '#src/values.ts';
import { type CounterInBooks, countersQuery, loadedCounters, type PlaceValue } from './counter-state.ts';
import type { Epochs } from './epochs.ts';
import { type GatheringBounds, gathering } from './gathering.ts';
import { keys } from './keys.ts';
import { requestQuery } from './limits.ts';
import { type OperationInBooks, operationStateOf } from './operation-state.ts';
import type { LotOf } from './outcome.ts';
import { type LotsRead, pastRecordsMax, readPast } from './past.ts';

export type Loaded = 'loaded' | 'not_found' | 'fenced';
/** What a counter counts in, as `counters.lua` has it. */
export type Place = readonly [counter: number, period: number];

/** What places stand at in the books as they are written through a number of the shard's journal. */
export interface CountersRead {
  readonly epoch: number;
  readonly seq: number;
  readonly values: readonly PlaceValue[];
}

export interface Loader {
  member(member: MemberNumber): Promise<Loaded>;
  /** Into `shard`: that of the member whose movement undoes the operation, which differs from its own after a merge. */
  operation(operation: OperationHex, shard: number): Promise<Loaded>;
  /** Counters that left Redis while their member stayed; whoever names them to a script names the number too. */
  counters(member: MemberNumber, places: readonly Place[]): Promise<CountersRead>;
  /** Lots that operations gave to one member, for a movement of `member`, who may be its survivor by now. */
  lots(member: MemberNumber, given: readonly LotOf[]): Promise<LotsRead | 'not_found'>;
}

interface MemberRow {
  number: MemberNumber;
  epoch: number;
  seq: number;
  status: string;
  frozen: boolean;
  facts_version: number;
  merged_into: number | null;
  at: number | null;
  lots:
    | [currency: number, lot: number, points: number, expiresAt: number, availableAt: number, party: number][]
    | null;
  next_lots: [currency: number, next: number][] | null;
  debts: [currency: number, points: number][] | null;
  holds: [hold: string, expiresAt: number, parts: number[][]][] | null;
  counters: CounterInBooks[] | null;
}

/**
 * The time of a member's newest operation, by id: ledger partitions are in the order of ids, so none is read beyond the one
 * that has it. Of two movements within the same moment the one with the lower id may have been decided last, at the same
 * time or a few milliseconds later; the audit knows (`audit-hot-books.ts`), and a member's next movement is later than both.
 */
export const newestAtQuery = (member: string) => `
  coalesce(
    (select (extract(epoch from o.at) * 1000)::bigint from operation o where o.member = ${member} order by o.operation desc limit 1),
    (select (extract(epoch from a.at) * 1000)::bigint from archived_member a where a.member = ${member}))`;

const memberQuery = `
  select m.number, p.epoch, p.seq, m.status, m.frozen, m.facts_version, m.merged_into,
    ${newestAtQuery('m.number')} as at,
    (select json_agg(json_build_array(currency, lot, points, expires_at, available_at, party)) from lot l where l.member = m.number and l.points > 0) as lots,
    (select json_agg(json_build_array(currency, next)) from (select currency, max(lot) + 1 as next from lot l where l.member = m.number group by currency) n) as next_lots,
    (select json_agg(json_build_array(currency, points)) from debt d where d.member = m.number and d.points > 0) as debts,
    (select json_agg(json_build_array(replace(hold::text, '-', ''), expires_at, lots)) from hold h where h.member = m.number and h.status = 'held') as holds,
    ${countersQuery('m.number')} as counters
  from member m join position p on p.shard = m.number % $2::int
  where m.number = any($1::bigint[])`;

const placesQuery = `
  select w.member, w.counter, w.period, coalesce(c.value, 0) as value, p.epoch, p.seq
  from unnest($1::bigint[], $2::int[], $3::bigint[]) as w(member, counter, period) join position p on p.shard = w.member % $4::int
  left join counter c on c.member = w.member and c.counter = w.counter and c.period = w.period`;

interface PlaceRow {
  readonly member: MemberNumber;
  readonly counter: number;
  readonly period: number;
  readonly value: number;
  readonly epoch: number;
  readonly seq: number;
}

const operationQuery = `
  select p.epoch, p.seq, json_agg(json_build_object('operation', replace(o.operation::text, '-', ''), 'kind', o.kind, 'member', o.member, 'effect', o.effect, 'request', o.request)
    order by o.at, o.epoch, o.seq) as operations
  from position p, (select $1::uuid as operation union all select c.operation from consequence c where c.origin = $1) w
    -- \`offset 0\`: each id is looked up in its own month. An array of them would be looked for in every month.
    cross join lateral (select * from operation o where o.operation = w.operation offset 0) o
  where p.shard = $2
  group by p.epoch, p.seq`;

/** A cold page holds up nobody else's load: only the pool's connections bound how many queries are under way. */
const loadBounds: GatheringBounds = { queriesMax: Infinity, questionsPerQueryMax: 200 };
const attemptsMax = 5;
const neverExpires = 9e15;

type Lot = [lot: number, points: number, expiresAt: number, availableAt: number, party: number];

/** The state that `member.lua` unpacks; epoch and sequence are set by the script. */
function memberState(row: MemberRow): unknown[] {
  const wallets = new Map<number, [currency: number, debt: number, nextLot: number, lots: Lot[]]>();
  for (const [currency, next] of row.next_lots ?? []) wallets.set(currency, [currency, 0, next, []]);
  for (const [currency, lot, points, expiresAt, availableAt, party] of row.lots ?? []) {
    wallets.get(currency)?.[3].push([lot, points, expiresAt, availableAt, party]);
  }
  for (const [currency, points] of row.debts ?? []) {
    const wallet = wallets.get(currency) ?? [currency, 0, 1, []];
    wallet[1] = points;
    wallets.set(currency, wallet);
  }
  for (const wallet of wallets.values()) {
    wallet[3].sort((a, b) => (a[2] || neverExpires) - (b[2] || neverExpires) || a[0] - b[0]);
  }
  return [
    0,
    0,
    row.at ?? 0,
    row.status,
    row.facts_version,
    row.frozen ? 1 : 0,
    row.merged_into ?? 0,
    [...wallets.values()],
    row.holds ?? [],
    [],
    loadedCounters(row.counters, row),
  ];
}

export function createLoader(
  nodes: RedisNodes,
  pool: pg.Pool,
  epochs: Epochs,
  shardCount: number,
  onLoaded: () => void,
): Loader {
  const memberLoads = new Map<MemberNumber, Promise<Loaded>>();
  const operationLoads = new Map<string, Promise<Loaded>>();

  async function install(
    shard: number,
    key: string,
    epoch: number,
    seq: number,
    state: unknown,
  ): Promise<string> {
    const known = epochs.of(shard);
    if (!known) return 'fenced';
    return (await nodes
      .of(shard)
      .evalsha(
        known.scripts.load.sha,
        1,
        keys.journal(shard),
        key,
        epoch,
        seq,
        JSON.stringify(state),
      )) as string;
  }

  async function installMember(row: MemberRow): Promise<string> {
    const shard = shardOfMember(row.number, shardCount);
    const answer = await install(shard, `m:${row.number}`, row.epoch, row.seq, memberState(row));
    if (answer === 'installed') onLoaded();
    return answer;
  }

  const inBooks = gathering<MemberNumber, MemberRow | undefined>(async (members) => {
    const result = await pool.query<MemberRow>({
      ...requestQuery,
      name: 'load-members',
      text: memberQuery,
      values: [members, shardCount],
    });
    const rows = new Map(result.rows.map((row) => [row.number, row]));
    return members.map((member) => rows.get(member));
  }, loadBounds);

  const placesInBooks = gathering<{ member: MemberNumber; places: readonly Place[] }, CountersRead>(
    async (questions) => {
      const wanted = questions.flatMap(({ member, places }) =>
        places.map(([counter, period]) => ({ member, counter, period })),
      );
      const { rows } = await pool.query<PlaceRow>({
        ...requestQuery,
        name: 'load-counters',
        text: placesQuery,
        values: [
          wanted.map(({ member }) => member),
          wanted.map(({ counter }) => counter),
          wanted.map(({ period }) => period),
          shardCount,
        ],
      });
      const byMember = Map.groupBy(rows, (row) => row.member);
      return questions.map(({ member }) => {
        const own = byMember.get(member) ?? [];
        const values = own.map(({ counter, period, value }) => [counter, period, value] as const);
        return { epoch: own[0]?.epoch ?? 0, seq: own[0]?.seq ?? 0, values };
      });
    },
    loadBounds,
  );

  async function loadMember(member: MemberNumber): Promise<Loaded> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const row = await inBooks(member);
      if (!row) return 'not_found';
      const answer = await installMember(row);
      if (answer !== 'outdated') return answer === 'fenced' ? 'fenced' : 'loaded';
    }
    return 'fenced';
  }

  function singleFlight<K>(
    running: Map<K, Promise<Loaded>>,
    key: K,
    start: () => Promise<Loaded>,
  ): Promise<Loaded> {
    const present = running.get(key);
    if (present) return present;
    const load = start().finally(() => running.delete(key));
    running.set(key, load);
    return load;
  }

  async function loadOperation(operation: OperationHex, shard: number): Promise<Loaded> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const result = await pool.query<{
        epoch: number;
        seq: number;
        operations: OperationInBooks[];
      }>({ ...requestQuery, name: 'load-operation', text: operationQuery, values: [operation, shard] });
      const row = result.rows[0];
      if (!row) return 'not_found';
      const state = operationStateOf(operation, row.operations);
      if (!state) return 'not_found';
      const answer = await install(shard, `o:${operation}`, row.epoch, row.seq, [
        0,
        0,
        state.version,
        state.note,
        state.parts,
      ]);
      if (answer !== 'outdated') return answer === 'fenced' ? 'fenced' : 'loaded';
    }
    return 'fenced';
  }

  return {
    lots: (member, given) => readPast(pool, shardOfMember(member, shardCount), given, pastRecordsMax),
    member: (member) => singleFlight(memberLoads, member, () => loadMember(member)),
    operation: (operation, shard) =>
      singleFlight(operationLoads, `${shard}.${operation}`, () => loadOperation(operation, shard)),
    counters: (member, places) => placesInBooks({ member, places }),
  };
}
