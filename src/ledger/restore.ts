/**
 * Goes on with a PostgreSQL that came back older than the journal reaches, after a person has accepted that. Between the
 * books' end and the journal's begin is a gap: what was booked there exists nowhere any more, but its sum does, as long as
 * Redis has the members.
 *
 * - A member that is hot: what Redis has less what the books have and what the kept records still add is booked as one
 *   `recovery` against the account `recovered`. A hold that was opened in the gap is opened again under its own id. Then
 *   the kept records follow as they were decided. Books = what Redis has.
 * - A member that is not hot: nobody knows what happened to it in the gap. Its kept records are booked like those decided
 *   on stale balances (`rebooking.ts`), and it is listed.
 * - A member that the books do not know (it was enrolled in the gap) gets its number back without identifiers, so that
 *   nobody else is enrolled under it; it is listed.
 *
 * Everything goes into the epoch that recovery opens, behind its opening record and together with it, so that a crash in
 * between leaves nothing half.
 */
import { readFileSync } from 'node:fs';
import { type CounterRow, type Effect, type JournalRecord, type Leg, parseEffect } from '#src/journal.ts';
import { type MemberNumber, newOperation, type OperationHex } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { memberStateSchema } from './audit-standing.ts';
import { type CountersByPlace, countersInBooks } from './counter-rows.ts';
import type { RecoveryStores } from './fence.ts';
import { rebookedFields } from './journal-entry.ts';
import type { MemberInBooks } from './rebooking.ts';
import { membersInBooks, rebookedEntries, type UnknownRecord, unknownRecords } from './reissued.ts';
import { type HotMember, missingCounters, missingOf } from './restoring.ts';
import type { ShardProgress } from './writer.ts';

/** What a restore could and could not explain; kept in the table of the same name. */
export interface Restoration {
  /** Where the books ended. */
  readonly booksEndedAt: string;
  /** The first record that the journal still had behind them. */
  readonly keptFrom: string | undefined;
  readonly keptRecords: number;
  /** Members whose difference was booked against `recovered`, and how many points moved on their side. */
  readonly recoveredMembers: number;
  readonly recoveredPoints: number;
  /** Members with kept records of whom Redis has no state: nobody knows what the gap did to them. */
  readonly unexplainedMembers: readonly number[];
  /** Members that the books did not know; they exist again, without identifiers. */
  readonly membersWithoutIdentity: readonly number[];
  /** Members in Redis that could not be booked because nobody knows their program. */
  readonly membersWithoutProgram: readonly number[];
  /** References that were used in the gap and that Redis still knows; a repeat of one is told that its outcome is unknown. */
  readonly referencesInGap: number;
  /** Acknowledged numbers of each epoch that are not in the books under these numbers. */
  readonly lostRanges: readonly { readonly epoch: number; readonly from: number; readonly to: number }[];
  readonly lostTo: number | undefined;
}

const inspect = readFileSync(new URL('../wallet/scripts/inspect.lua', import.meta.url), 'utf8');
const scanCount = 1_000;
const membersPerRead = 200;
const listedMax = 1_000;

/** Members that Redis has and that may be trusted, because they belong to the epochs that were served last. */
async function hotMembers({ redis }: RecoveryStores, shard: number): Promise<Map<MemberNumber, HotMember>> {
  const coldBelow = Number((await redis.hget(keys.opened(shard), 'coldBelow')) ?? Number.POSITIVE_INFINITY);
  const pattern = keys.memberPattern(shard);
  const names = new Set<number>();
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount);
    cursor = next;
    for (const key of found) names.add(Number(key.slice(pattern.length - 1)));
  } while (cursor !== '0');
  const members = new Map<MemberNumber, HotMember>();
  const all = [...names] as MemberNumber[];
  for (let i = 0; i < all.length; i += membersPerRead) {
    const page = all.slice(i, i + membersPerRead);
    const keysOfPage = page.map((member) => keys.member(shard, member));
    const texts = (await redis.eval_ro(inspect, page.length, ...keysOfPage)) as (string | null)[];
    page.forEach((member, at) => {
      const text = texts[at];
      const read = text && text !== 'unreadable' ? memberStateSchema.safeParse(JSON.parse(text)) : undefined;
      if (read?.success && read.data[0] >= coldBelow) members.set(member, read.data);
    });
  }
  return members;
}

/** Operation (32), fingerprint (16) and position of an idempotency entry, as `run.lua` writes it. */
const entryPattern = /^([0-9a-f]{32})([0-9a-f]{16})\d+-\d+$/;

/**
 * Keeps what Redis still knows of references that were used in the gap, for the rest of their window. Their effect is in
 * the recovered entries, so a repeat must not be carried out; the entry is moved into the new epoch, where it is trusted,
 * and the caller is told that the outcome is unknown. Answers how many there are.
 */
async function keepReferences(
  { redis, connection, alive }: RecoveryStores,
  shard: number,
  epoch: number,
  kept: ReadonlySet<string>,
): Promise<number> {
  let [cursor, found] = ['0', 0];
  do {
    const [next, names] = await redis.scan(cursor, 'MATCH', keys.idempotency(shard, '*'), 'COUNT', scanCount);
    cursor = next;
    alive();
    if (names.length === 0) continue;
    const values = await redis.mget(...names);
    const entries = names.flatMap((name, i) => {
      const match = entryPattern.exec(values[i] ?? '');
      return match ? [{ name, operation: match[1]!, value: `${match[1]}${match[2]}${epoch}-0` }] : [];
    });
    const { rows } = await connection.query<{ operation: string }>(
      `select replace(operation::text, '-', '') as operation from operation where operation = any($1::uuid[])`,
      [entries.map(({ operation }) => operation)],
    );
    const known = new Set(rows.map((row) => row.operation));
    const pipeline = redis.pipeline();
    for (const { name, operation, value } of entries) {
      if (known.has(operation) || kept.has(operation)) continue;
      found += 1;
      pipeline.set(name, value, 'KEEPTTL', 'XX');
    }
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
  } while (cursor !== '0');
  return found;
}

interface Whereabouts {
  readonly programs: ReadonlyMap<MemberNumber, number>;
  readonly withoutIdentity: MemberNumber[];
  readonly withoutProgram: MemberNumber[];
}

/** The program of every member; gives those that the books do not know their number back. */
async function settleMembers(
  { connection }: RecoveryStores,
  members: readonly MemberNumber[],
  unknown: readonly UnknownRecord[],
): Promise<Whereabouts> {
  const known = await connection.query<{ number: MemberNumber; program: number }>(
    'select number, program from member where number = any($1::bigint[])',
    [members],
  );
  const all = await connection.query<{ number: number }>('select number from program limit 2');
  const only = all.rows.length === 1 ? all.rows[0]!.number : undefined;
  const programs = new Map(known.rows.map((row) => [row.number, row.program]));
  const byRecord = new Map(unknown.map(({ record }) => [record.member, record.program]));
  const [withoutIdentity, withoutProgram]: [MemberNumber[], MemberNumber[]] = [[], []];
  for (const member of members.filter((each) => !programs.has(each))) {
    const program = byRecord.get(member) ?? only;
    if (program === undefined) {
      withoutProgram.push(member);
      continue;
    }
    withoutIdentity.push(member);
    programs.set(member, program);
    await connection.query(
      'insert into member (number, program, joined_at) values ($1, $2, now()) on conflict do nothing',
      [member, program],
    );
  }
  // Whoever is enrolled next must not get a number that was given out before.
  await connection.query(
    `select setval(pg_get_serial_sequence('member', 'number'), greatest((select max(number) from member),
       (select last_value from member_number_seq), $1::bigint))`,
    [Math.max(1, ...members)],
  );
  return { programs, withoutIdentity, withoutProgram };
}

function entryOf(
  kind: JournalRecord['kind'],
  shard: number,
  member: MemberNumber,
  program: number,
  effect: Effect,
  operation: OperationHex = newOperation(shard, Date.now()),
): string[] {
  const now = Date.now();
  return rebookedFields({
    kind,
    program,
    client: 0,
    member,
    operation,
    origins: [],
    order: '',
    referenceKey: '',
    fingerprint: '',
    at: now,
    occurredAt: now,
    isAwaited: false,
    request: JSON.stringify({ body: { action: 'restore' } }),
    effectText: JSON.stringify(effect),
  });
}

function decided(record: JournalRecord): { legs: readonly Leg[]; counters: readonly CounterRow[] } {
  try {
    const { legs, counters = [] } = parseEffect(record.effectText);
    return { legs, counters };
  } catch {
    return { legs: [], counters: [] };
  }
}

/** The entries that make a member in the books what it is in Redis, before its kept records follow. */
function entriesFor(
  shard: number,
  member: MemberNumber,
  program: number,
  hot: HotMember,
  books: { readonly wallets: MemberInBooks; readonly counters: CountersByPlace | undefined },
  kept: readonly JournalRecord[],
): { entries: string[][]; points: number } {
  const following = kept.map(decided);
  const missing = missingOf(
    hot,
    books.wallets,
    following.flatMap(({ legs }) => legs),
  );
  const counters = missingCounters(
    hot,
    books.counters,
    following.flatMap((each) => each.counters),
  );
  const entries: string[][] = [];
  const hasStatus = kept.some(({ kind }) => kind === 'status' || kind === 'tier');
  if (missing.status && !hasStatus)
    entries.push(entryOf('status', shard, member, program, { legs: [], balances: [], ...missing.status }));
  for (const { hold, expiresAt, legs } of missing.holds)
    entries.push(entryOf('hold', shard, member, program, { legs, balances: [], expiresAt }, hold));
  if (missing.legs.length + counters.length > 0) {
    const effect = { legs: [...missing.legs], balances: [], holds: [...missing.ended], counters };
    entries.push(entryOf('recovery', shard, member, program, effect));
  }
  return { entries, points: missing.points };
}

async function lostRanges(
  { connection }: RecoveryStores,
  { shard, epoch, seq }: ShardProgress,
  firstKept: UnknownRecord | undefined,
): Promise<{ epoch: number; from: number; to: number }[]> {
  const { rows } = await connection.query<{ epoch: number; to: number }>(
    'select epoch, max(seq)::bigint as "to" from acknowledged where shard = $1 and epoch >= $2 group by epoch order by epoch',
    [shard, epoch],
  );
  const through = new Map(rows.map((row) => [row.epoch, row.to]));
  if (firstKept) through.set(firstKept.record.epoch, firstKept.record.seq - 1);
  return [...through]
    .map(([of, to]) => ({ epoch: of, from: of === epoch ? seq + 1 : 1, to }))
    .filter(({ from, to }) => to >= from)
    .sort((a, b) => a.epoch - b.epoch);
}

/** What goes into the new epoch so that the books are what Redis has, and what stays unexplained. */
export async function restore(
  stores: RecoveryStores,
  progress: ShardProgress,
  epoch: number,
): Promise<{ entries: string[][]; restoration: Restoration }> {
  const { shard } = progress;
  const unknown = await unknownRecords(stores, shard, true);
  const hot = await hotMembers(stores, shard);
  const everybody = [...new Set([...hot.keys(), ...unknown.map(({ record }) => record.member)])];
  const { programs, withoutIdentity, withoutProgram } = await settleMembers(stores, everybody, unknown);
  const entries: string[][] = [];
  let [recoveredMembers, recoveredPoints] = [0, 0];
  const keptOf = Map.groupBy(unknown, ({ record }) => record.member);
  const inBooks = await membersInBooks(stores, [...hot.keys()]);
  const counted = await countersInBooks(stores.connection, [...hot.keys()]);
  for (const [member, state] of hot) {
    const program = programs.get(member);
    if (program === undefined) continue;
    const kept = (keptOf.get(member) ?? []).map(({ record }) => record);
    const books = { wallets: inBooks.get(member)!, counters: counted.get(member) };
    const made = entriesFor(shard, member, program, state, books, kept);
    entries.push(...made.entries);
    if (made.entries.length > 0) recoveredMembers += 1;
    recoveredPoints += made.points;
  }
  const isExplained = ({ record }: UnknownRecord) => hot.has(record.member);
  for (const { record } of unknown.filter(isExplained)) entries.push(rebookedFields(record));
  const unexplained = unknown.filter((each) => !isExplained(each) && each.record.kind !== 'expiry');
  entries.push(...(await rebookedEntries(stores, shard, unexplained)));
  const operations = new Set<string>(unknown.map(({ record }) => record.operation));
  const referencesInGap = await keepReferences(stores, shard, epoch, operations);
  const firstKept = unknown[0];
  const ranges = await lostRanges(stores, progress, firstKept);
  const restoration: Restoration = {
    booksEndedAt: `${progress.epoch}-${progress.seq}`,
    keptFrom: firstKept && `${firstKept.record.epoch}-${firstKept.record.seq}`,
    keptRecords: unknown.length,
    recoveredMembers,
    recoveredPoints,
    unexplainedMembers: [...new Set(unexplained.map(({ record }) => record.member))].slice(0, listedMax),
    membersWithoutIdentity: withoutIdentity.slice(0, listedMax),
    membersWithoutProgram: withoutProgram.slice(0, listedMax),
    referencesInGap,
    lostRanges: ranges,
    lostTo: ranges.find(({ epoch }) => epoch === progress.epoch)?.to,
  };
  return { entries, restoration };
}
