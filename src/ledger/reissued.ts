/**
 * Operations that a journal holds and the books do not, although it does not continue them: a Redis older than the books
 * acknowledged them on stale balances, under numbers that the books gave to others. They were acknowledged, so they are
 * booked, by the rule of `rebooking.ts`, under new numbers in the epoch that recovery opens. Id, reference, request and
 * what the caller was told stay; the number under which they were answered is kept in `decided_stale`. Before the shard
 * serves again the spending of their members is frozen, by a record of its own.
 *
 * Left out: what the books have (a repeat), what time decides (`expiry`: decided again on the true balances), and steps of
 * the engine whose reference the books know (they are derived from what was booked, and nobody was told their ids).
 */
import { type JournalRecord, parseEffect, wordOfField } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { newOperation } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import type { RecoveryStores } from './fence.ts';
import { readEntry, rebookedFields, type Stale } from './journal-entry.ts';
import { freeze, type MemberInBooks, rebook, walletOf } from './rebooking.ts';

/** A record that the books do not have, and the number under which it was answered. */
export interface UnknownRecord {
  readonly record: JournalRecord;
  readonly answered: Stale['answered'];
}

const recordsPerPage = 1_000;
const pagesMax = 100_000;

async function knownOperations(
  { connection }: RecoveryStores,
  records: readonly JournalRecord[],
): Promise<ReadonlySet<string>> {
  const steps = records.filter((record) => record.client === 0 && record.referenceKey !== '');
  const { rows } = await connection.query<{ name: string }>(
    `select replace(operation::text, '-', '') as name from operation where operation = any($1::uuid[])
     union all select 'step ' || replace(reference_key::text, '-', '') from reference where reference_key = any($2::uuid[])
     -- An archived operation is known by its reference, which stays.
     union all select replace(operation::text, '-', '') from reference where reference_key = any($3::uuid[]) and operation < archived_below()`,
    [
      records.map((record) => record.operation),
      steps.map((record) => record.referenceKey),
      records.flatMap((record) => (record.referenceKey === '' ? [] : [record.referenceKey])),
    ],
  );
  return new Set(rows.map((row) => row.name));
}

/** What a script or recovery itself wrote that is nobody's acknowledged operation. */
function isOwnStep(streamId: string, fields: readonly string[], stale: Stale | undefined): boolean {
  return wordOfField(streamId, fields[0]) === 'rebooked' && stale === undefined;
}

/**
 * Everything in a shard's journal that the books do not have, in its order, each operation once; with what time decided
 * where `withExpiries` says so.
 */
export async function unknownRecords(
  stores: RecoveryStores,
  shard: number,
  withExpiries = false,
): Promise<UnknownRecord[]> {
  const found: UnknownRecord[] = [];
  const seen = new Set<string>();
  let from = '-';
  for (let page = 0; page < pagesMax; page += 1) {
    const entries = await stores.redis.xrange(keys.journal(shard), from, '+', 'COUNT', recordsPerPage);
    const candidates = entries.flatMap(([streamId, fields]): UnknownRecord[] => {
      const { record, stale } = readEntry(streamId, fields);
      if (record.kind === 'opened' || isOwnStep(streamId, fields, stale)) return [];
      if (record.kind === 'expiry' && !withExpiries) return [];
      if (seen.has(record.operation)) return [];
      seen.add(record.operation);
      return [{ record, answered: stale?.answered ?? { epoch: record.epoch, seq: record.seq } }];
    });
    const known = await knownOperations(
      stores,
      candidates.map(({ record }) => record),
    );
    for (const each of candidates) {
      const { operation, referenceKey, client } = each.record;
      const isTaken = client === 0 && known.has(`step ${referenceKey.replaceAll('-', '')}`);
      if (!known.has(operation) && !isTaken) found.push(each);
    }
    stores.alive();
    if (entries.length < recordsPerPage) return found;
    from = `(${entries.at(-1)![0]}`;
  }
  throw new Error(`shard ${shard}: the journal does not end`);
}

interface MemberRow {
  readonly number: MemberNumber;
  readonly status: MemberInBooks['status'];
  readonly frozen: boolean;
  readonly facts_version: number;
  readonly merged_into: number | null;
  readonly lots: readonly (readonly [number, number, number, number, number, number])[] | null;
  readonly debts: readonly (readonly [currency: number, points: number])[] | null;
  readonly holds: readonly (readonly [hold: OperationHex, parts: readonly (readonly number[])[]])[] | null;
}

const membersQuery = `
  select m.number, m.status, m.frozen, m.facts_version, m.merged_into,
    (select json_agg(json_build_array(currency, lot, points, expires_at, available_at, party)) from lot l where l.member = m.number) as lots,
    (select json_agg(json_build_array(currency, points)) from debt d where d.member = m.number) as debts,
    (select json_agg(json_build_array(replace(hold::text, '-', ''), lots)) from hold h where h.member = m.number and h.status = 'held') as holds
  from member m where m.number = any($1::bigint[])`;

function memberOf(row: MemberRow | undefined): MemberInBooks {
  const member: MemberInBooks = {
    status: row?.status ?? 'active',
    frozen: row?.frozen ? 1 : 0,
    facts: row?.facts_version ?? 0,
    into: row?.merged_into ?? 0,
    wallets: new Map(),
    holds: new Map(),
  };
  for (const [currency, lot, points, expiresAt, availableAt, party] of row?.lots ?? []) {
    const wallet = walletOf(member, currency);
    wallet.lots.push({ lot, points, expiresAt, availableAt, party });
    wallet.nextLot = Math.max(wallet.nextLot, lot + 1);
  }
  for (const [currency, points] of row?.debts ?? []) walletOf(member, currency).debt = points;
  for (const [hold, parts] of row?.holds ?? []) {
    const inBooks = parts.map(([currency, lot, points, expiresAt, availableAt, party]) => ({
      currency: currency!,
      lot: lot!,
      points: points!,
      expiresAt: expiresAt!,
      availableAt: availableAt!,
      party: party!,
    }));
    member.holds.set(hold, inBooks);
  }
  return member;
}

/** Members as the books have them, with every lot that they ever had. */
export async function membersInBooks(
  { connection }: Pick<RecoveryStores, 'connection'>,
  members: readonly MemberNumber[],
): Promise<Map<MemberNumber, MemberInBooks>> {
  const { rows } = await connection.query<MemberRow>(membersQuery, [members]);
  const byNumber = new Map(rows.map((row) => [row.number, row]));
  return new Map(members.map((member) => [member, memberOf(byNumber.get(member))]));
}

/** The fields of a record as it is booked; one whose effect cannot be read goes as it is, into quarantine. */
function rebookedEntry(member: MemberInBooks, { record, answered }: UnknownRecord): string[] {
  try {
    const { effect, shortfall } = rebook(member, record, parseEffect(record.effectText));
    return rebookedFields({ ...record, effectText: JSON.stringify(effect) }, { answered, shortfall });
  } catch {
    return rebookedFields(record, { answered, shortfall: [] });
  }
}

function frozenEntry(shard: number, member: MemberInBooks, last: JournalRecord, now: number): string[] {
  return rebookedFields({
    kind: 'status',
    program: last.program,
    client: 0,
    member: last.member,
    operation: newOperation(shard, now),
    origins: [],
    order: '',
    referenceKey: '',
    fingerprint: '',
    at: last.at,
    occurredAt: last.at,
    isAwaited: false,
    request: JSON.stringify({ body: { action: 'freeze', reason: 'decided_stale' } }),
    effectText: JSON.stringify(freeze(member)),
  });
}

/** The entries under which unknown records are booked in the epoch that is being opened, and the freeze of their members. */
export async function rebookedEntries(
  stores: Pick<RecoveryStores, 'connection'>,
  shard: number,
  unknown: readonly UnknownRecord[],
): Promise<string[][]> {
  const members = new Map<MemberNumber, MemberInBooks>();
  const lastOf = new Map<MemberNumber, JournalRecord>();
  const entries: string[][] = [];
  for (let i = 0; i < unknown.length; i += recordsPerPage) {
    const page = unknown.slice(i, i + recordsPerPage);
    const missing = [...new Set(page.map(({ record }) => record.member))].filter((one) => !members.has(one));
    for (const [number, member] of await membersInBooks(stores, missing)) members.set(number, member);
    for (const each of page) {
      lastOf.set(each.record.member, each.record);
      entries.push(rebookedEntry(members.get(each.record.member)!, each));
    }
  }
  for (const [number, last] of lastOf)
    entries.push(frozenEntry(shard, members.get(number)!, last, Date.now()));
  return entries;
}
