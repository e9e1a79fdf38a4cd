/**
 * Takes the oldest stretch of the ledger out (`detach`) and brings the newest archived one back (`attach`).
 *
 * What stays behind, in the same database transaction: sums over the archived entries (`carried`) and over what their
 * operations counted (`carried_counter`) and gave from budgets (`carried_budget`), which numbers of the
 * journals they were (`archived_numbers`), the last operation and status of every member in them (`archived_member`). Blocks
 * and references stay for ever, so the hash chain still links and a reference stays used. The audit adds the carried sums
 * to those of the entries that are there, so it says the same before and after.
 *
 * Invariant: everything below the largest `archived_month.end_id` is in schema `archive`, everything else in the ledger; the
 * partition `past` is empty as soon as anything is archived, and is there so that no id lacks a partition.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { inTransactionOn } from '#src/platform/postgres.ts';
import { touchesBudgets } from './budget-rows.ts';
import { counts } from './counter-rows.ts';
import { isLockTimeout, type Stretch, stretches } from './partitions.ts';

/** Why a stretch cannot be taken out or brought back, in words for the operator. */
export class ArchiveRefusal extends Error {}

export interface ArchivedMonth {
  readonly month: string;
  readonly firstId: string | null;
  readonly endId: string;
  readonly to: Date;
  readonly operations: number;
  readonly entries: number;
  readonly archivedAt: Date;
}

/** The archived months, oldest first. */
export async function archivedMonths(connection: Pick<pg.ClientBase, 'query'>): Promise<ArchivedMonth[]> {
  const { rows } = await connection.query<ArchivedMonth>(
    `select month, first_id as "firstId", end_id as "endId", to_timestamp(id_ms(end_id) / 1000.0) as "to",
       operations::float8 as operations, entries::float8 as entries, archived_at as "archivedAt" from archived_month order by end_id`,
  );
  return rows;
}

const archiveLock = 7_305_411_202;

function inTransaction<T>(connection: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  return inTransactionOn(connection, async () => {
    await connection.query('select pg_advisory_xact_lock($1)', [archiveLock]);
    return work();
  });
}

const lockAttemptsMax = 120;
const lockPauseMs = 500;

/**
 * Takes both tables alone, which stops the service until the end of the transaction: for the last few milliseconds of it.
 * Whoever asks for that lock holds up everybody who comes later, so it waits half a second at most and comes back.
 */
async function lockLedger(connection: pg.ClientBase): Promise<void> {
  await connection.query(`set local lock_timeout = '500ms'`);
  for (let attempt = 1; ; attempt += 1) {
    await connection.query('savepoint unlocked');
    try {
      await connection.query('lock table operation, entry in access exclusive mode');
      return;
    } catch (error) {
      if (!isLockTimeout(error) || attempt === lockAttemptsMax) throw error;
      await connection.query('rollback to savepoint unlocked');
      await delay(lockPauseMs);
    }
  }
}

/** What still needs the operations below an id. */
const needs: readonly { readonly what: string; readonly query: string }[] = [
  { what: 'open holds', query: `select count(*) from hold where status = 'held' and hold < $1` },
  {
    what: 'transfers in flight',
    query: `select count(*) from transfer where state in ('debited', 'refused') and transfer < $1`,
  },
  {
    what: 'merges in progress',
    query: `select count(*) from member m where m.status = 'merging' and exists (
      select from operation o where o.member = m.number and o.operation < $1 and o.kind = 'status' and (o.request -> 'merge') is not null)`,
  },
  {
    what: 'repeated references that were not taken back',
    query: `select count(*) from operation o where o.conflict_with is not null and o.operation < $1
      and not exists (select from consequence c where c.origin = o.operation)`,
  },
  {
    what: 'open records in quarantine',
    query: `select count(*) from quarantine q join operation o using (shard, epoch, seq) where q.resolution is null and o.operation < $1`,
  },
  {
    what: 'shards of which the diary has not read so far',
    query: `select count(*) from position p left join diary_position d using (shard)
      where (d.shard is null or ((p.epoch, p.seq) > (d.epoch, d.seq) and (d.operation is null or d.operation < $1)))
        and exists (select from operation o where o.shard = p.shard and o.operation < $1)`,
  },
  {
    what: 'members whose balance and books differ',
    query: 'select count(*) from audit_finding where settled_at is null and $1::uuid is not null',
  },
];

async function refuseWhatIsNeeded(connection: pg.ClientBase, endId: string): Promise<void> {
  for (const { what, query } of needs) {
    const { rows } = await connection.query<{ count: number }>(query, [endId]);
    const { count } = rows[0]!;
    if (count > 0) throw new ArchiveRefusal(`${count} ${what}: settle them first`);
  }
}

const carry = (entries: string, sign: '' | '-') => `
  insert into carried (shard, program, currency, account, party, member, lot, hold, points)
  select shard, program, currency, account, party, member, lot, hold, ${sign}sum(points) as points from ${entries}
  group by 1, 2, 3, 4, 5, 6, 7, 8 having sum(points) <> 0
  on conflict (member, shard, program, currency, account, party, lot, hold) do update set points = carried.points + excluded.points`;

const carryCounters = (operations: string, sign: '' | '-') => `
  insert into carried_counter (member, counter, period, value)
  select o.member, (r ->> 0)::int, (r ->> 1)::bigint, ${sign}sum((r ->> 2)::numeric)
  from (select member, effect from ${operations} where ${counts('effect')} offset 0) o
  cross join json_array_elements(o.effect -> 'counters') r group by 1, 2, 3
  on conflict (member, counter, period) do update set value = carried_counter.value + excluded.value`;

const carryBudgets = (operations: string, sign: '' | '-') => `
  insert into carried_budget (program, budget, shard, consumed, given_back)
  select o.program, (r ->> 0)::int, o.shard, ${sign}sum(greatest((r ->> 2)::numeric, 0)), ${sign}sum(greatest(-(r ->> 2)::numeric, 0))
  from (select program, shard, effect from ${operations} where ${touchesBudgets('effect')} offset 0) o
  cross join json_array_elements(o.effect -> 'budgets') r group by 1, 2, 3
  on conflict (program, budget, shard) do update set consumed = carried_budget.consumed + excluded.consumed,
    given_back = carried_budget.given_back + excluded.given_back`;

async function carryOver(
  connection: pg.ClientBase,
  schema: string,
  name: string,
  sign: '' | '-',
): Promise<void> {
  await connection.query(carry(`${schema}entry_${name}`, sign));
  await connection.query('delete from carried where points = 0');
  await connection.query(carryCounters(`${schema}operation_${name}`, sign));
  await connection.query('delete from carried_counter where value = 0');
  await connection.query(carryBudgets(`${schema}operation_${name}`, sign));
}

const numbers = (operations: string) => `
  insert into archived_numbers (month, shard, epoch, first_seq, last_seq)
  select $1, shard, epoch, min(seq), max(seq) from (
    select shard, epoch, seq, seq - row_number() over (partition by shard, epoch order by seq) as island from ${operations}) numbered
  group by shard, epoch, island`;

const lastOfMembers = (operations: string) => `
  insert into archived_member as a (member, shard, epoch, seq, at, status_epoch, status_seq, status)
  select l.member, l.shard, l.epoch, l.seq, l.at, s.epoch, s.seq, s.effect
  from (select distinct on (member) member, shard, epoch, seq, at from ${operations} order by member, epoch desc, seq desc) l
  left join (select distinct on (member) member, epoch, seq, effect from ${operations}
    where kind in ('status', 'tier') and effect ->> 'status' is not null order by member, epoch desc, seq desc) s using (member)
  on conflict (member) do update set shard = excluded.shard, epoch = excluded.epoch, seq = excluded.seq, at = excluded.at,
    status_epoch = coalesce(excluded.status_epoch, a.status_epoch), status_seq = coalesce(excluded.status_seq, a.status_seq),
    status = coalesce(excluded.status, a.status)`;

async function countsOf(
  connection: pg.ClientBase,
  name: string,
): Promise<{ operations: number; entries: number }> {
  const { rows } = await connection.query<{ operations: number; entries: number }>(
    `select (select count(*) from operation_${name}) as operations, (select count(*) from entry_${name}) as entries`,
  );
  return rows[0]!;
}

function literal(id: string | null): string {
  return id === null ? 'minvalue' : `'${id}'`;
}

async function detachTables(connection: pg.ClientBase, name: string): Promise<void> {
  await connection.query(`alter table operation detach partition operation_${name}`);
  await connection.query(`alter table entry detach partition entry_${name}`);
}

async function attachTables(
  connection: pg.ClientBase,
  name: string,
  from: string,
  to: string,
): Promise<void> {
  await connection.query('select attach_stretch($1, $2, $3)', [name, from, to]);
}

async function eachTable(connection: pg.ClientBase, sql: (table: string) => string): Promise<void> {
  for (const table of ['operation', 'entry']) await connection.query(sql(table));
}

/** Renames the tables of a stretch with their indexes, whose names would be in the way of another stretch of the old name. */
async function renameTables(connection: pg.ClientBase, from: string, to: string): Promise<void> {
  const { rows } = await connection.query<{ name: string }>(
    `select relname as name from pg_class where oid in (
       select indexrelid from pg_index where indrelid in ($1::regclass, $2::regclass))`,
    [`operation_${from}`, `entry_${from}`],
  );
  for (const { name } of rows)
    await connection.query(`alter index ${name} rename to ${name.replace(`_${from}_`, `_${to}_`)}`);
  await eachTable(connection, (table) => `alter table ${table}_${from} rename to ${table}_${to}`);
}

/** The oldest stretch that has anything to take out: what stood there before there were months, else the first month. */
async function oldest(connection: pg.ClientBase): Promise<{ stretch: Stretch; isPast: boolean }> {
  const [past, first] = await stretches(connection);
  if (past?.name !== 'past' || !first) throw new ArchiveRefusal('this database has no partitions');
  const { rows } = await connection.query('select from operation_past limit 1');
  return rows.length > 0 ? { stretch: past, isPast: true } : { stretch: first, isPast: false };
}

/** The name under which the oldest stretch can be taken out. */
function archiveName(stretch: Stretch): string {
  if (stretch.name !== 'past') return stretch.name;
  return `until_${stretch.to!.toISOString().slice(0, 7).replace('-', '_')}`;
}

/** Takes a month out of the ledger; it must be the oldest one and have ended before `endedBefore`. */
export async function detachMonth(
  connection: pg.ClientBase,
  month: string,
  endedBefore: Date,
): Promise<ArchivedMonth> {
  await inTransaction(connection, async () => {
    const { stretch, isPast } = await oldest(connection);
    const { name, endId, to } = stretch;
    const archived = archiveName(stretch);
    if (month !== archived)
      throw new ArchiveRefusal(`the oldest in the ledger is ${archived}: it goes first`);
    if (endId === null || to === null || to > endedBefore)
      throw new ArchiveRefusal(`${month} did not end before ${endedBefore.toISOString()}`);
    await connection.query(`lock table operation_${name}, entry_${name} in share row exclusive mode`);
    await refuseWhatIsNeeded(connection, endId);
    const { operations, entries } = await countsOf(connection, name);
    await connection.query(
      'insert into archived_month (month, first_id, end_id, operations, entries) values ($1, $2, $3, $4, $5)',
      [month, stretch.firstId, endId, operations, entries],
    );
    await carryOver(connection, '', name, '');
    await connection.query(numbers(`operation_${name}`), [month]);
    await connection.query(lastOfMembers(`operation_${name}`));
    await lockLedger(connection);
    await detachTables(connection, name);
    if (isPast) {
      await renameTables(connection, 'past', month);
    } else {
      await detachTables(connection, 'past');
    }
    await eachTable(connection, (table) => `alter table ${table}_${month} set schema archive`);
    if (isPast) await connection.query(`select create_stretch('past')`);
    await attachTables(connection, 'past', 'minvalue', literal(endId));
  });
  return (await archivedMonths(connection)).at(-1)!;
}

/** What an archived table must say before it may be part of the ledger again; checked while the ledger goes on. */
async function bound(connection: pg.ClientBase, { month, firstId, endId }: ArchivedMonth): Promise<void> {
  const low = firstId === null ? '' : `and operation >= '${firstId}'`;
  await eachTable(
    connection,
    (table) =>
      `alter table archive.${table}_${month} add constraint in_stretch check (operation is not null ${low} and operation < '${endId}')`,
  );
}

/** Brings an archived month back; it must be the newest one, and whole. */
export async function attachMonth(connection: pg.ClientBase, month: string): Promise<void> {
  await inTransaction(connection, async () => {
    const archived = (await archivedMonths(connection)).at(-1);
    if (archived?.month !== month)
      throw new ArchiveRefusal(
        archived
          ? `the newest in the archive is ${archived.month}: it comes back first`
          : 'nothing is archived',
      );
    const found = await connection.query<{ there: boolean }>(
      'select to_regclass($1) is not null and to_regclass($2) is not null as there',
      [`archive.operation_${month}`, `archive.entry_${month}`],
    );
    if (!found.rows[0]!.there)
      throw new ArchiveRefusal(
        `archive.operation_${month} and archive.entry_${month} are not there: restore them first`,
      );
    await bound(connection, archived);
    await carryOver(connection, 'archive.', month, '-');
    await connection.query('delete from archived_month where month = $1', [month]);
    await eachTable(connection, (table) => `alter table archive.${table}_${month} set schema public`);
    const { operations, entries } = await countsOf(connection, month);
    if (operations !== archived.operations || entries !== archived.entries)
      throw new ArchiveRefusal(
        `${month} had ${archived.operations} operations and ${archived.entries} entries, and has ${operations} and ${entries} now`,
      );
    await lockLedger(connection);
    await detachTables(connection, 'past');
    // What was booked since under an id of the month: nothing, unless a clock was years behind.
    await connection.query(`select move_rows('past', $1, $2, $3)`, [
      month,
      archived.firstId ?? '00000000-0000-0000-0000-000000000000',
      archived.endId,
    ]);
    if (archived.firstId === null) {
      await eachTable(connection, (table) => `drop table ${table}_past`);
      await renameTables(connection, month, 'past');
    } else {
      await attachTables(connection, 'past', 'minvalue', literal(archived.firstId));
    }
    const name = archived.firstId === null ? 'past' : month;
    await attachTables(connection, name, literal(archived.firstId), literal(archived.endId));
    await eachTable(connection, (table) => `alter table ${table}_${name} drop constraint in_stretch`);
  });
}
