/** Writing clearing entries, and reading them: what the books say of a partner, one row an operation, currency and reason. */
import type pg from 'pg';
import { epochMsOf, hexOf, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { Entry } from './entries.ts';

export interface StoredEntry extends Entry {
  /** Of the points, what blocks bought in advance have paid for. */
  readonly prepaid: number;
  /** First day of the month in whose statement it is. */
  readonly period: string;
}

/** Holds the partners' closings until the database transaction ends; answers through which month each is closed. */
export async function holdClosings(
  tx: Queryable,
  partners: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const sorted = [...new Set(partners)].sort((a, b) => a - b);
  await tx.query(
    'insert into clearing_closed (partner) select * from unnest($1::int[]) on conflict do nothing',
    [sorted],
  );
  const { rows } = await tx.query<{ partner: number; through: string }>(
    'select partner, through::text from clearing_closed where partner = any($1) order by partner for share',
    [sorted],
  );
  return new Map(rows.map(({ partner, through }) => [partner, through]));
}

const uuids = (entries: readonly StoredEntry[]) => entries.map(({ operation }) => operation);
const times = (entries: readonly StoredEntry[], of: (entry: StoredEntry) => EpochMs) =>
  entries.map((entry) => new Date(of(entry)).toISOString());

/** Writes entries; one that is there already stays as it is. Answers how many are new. */
export async function insertEntries(tx: Queryable, entries: readonly StoredEntry[]): Promise<number> {
  if (entries.length === 0) return 0;
  const columns: readonly (readonly [name: string, type: string, values: readonly unknown[]])[] = [
    ['operation', 'uuid', uuids(entries)],
    ['line', 'smallint', entries.map((each) => each.line)],
    ['shard', 'smallint', entries.map((each) => each.shard)],
    ['epoch', 'int', entries.map((each) => each.epoch)],
    ['seq', 'bigint', entries.map((each) => each.seq)],
    ['program', 'int', entries.map((each) => each.program)],
    ['partner', 'int', entries.map((each) => each.partner)],
    ['contract', 'int', entries.map((each) => each.contract)],
    ['kind', 'text', entries.map((each) => each.kind)],
    ['price', 'text', entries.map((each) => each.price)],
    ['account', 'text', entries.map((each) => each.account)],
    ['party', 'int', entries.map((each) => each.party)],
    ['reference', 'text', entries.map((each) => each.reference)],
    ['original_reference', 'text', entries.map((each) => each.originalReference)],
    ['member', 'bigint', entries.map((each) => each.member)],
    ['currency', 'smallint', entries.map((each) => each.currency)],
    ['points', 'bigint', entries.map((each) => each.points)],
    ['prepaid', 'bigint', entries.map((each) => each.prepaid)],
    ['share', 'smallint', entries.map((each) => each.share)],
    ['rule', 'text', entries.map((each) => each.rule)],
    ['at', 'timestamptz', times(entries, ({ at }) => at)],
    ['occurred_at', 'timestamptz', times(entries, ({ occurredAt }) => occurredAt)],
    ['booked_at', 'timestamptz', times(entries, ({ bookedAt }) => bookedAt)],
    ['of_period', 'date', entries.map((each) => each.ofPeriod)],
    ['period', 'date', entries.map((each) => each.period)],
  ];
  const names = columns.map(([name]) => name).join(', ');
  const { rowCount } = await tx.query({
    name: 'clearing-entries',
    text: `insert into clearing_entry (${names})
      select * from unnest(${columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(', ')}) on conflict do nothing`,
    values: columns.map(([, , values]) => values),
  });
  return rowCount ?? 0;
}

/** The columns of `clearing_entry e` as an entry. */
const entryColumns = `${hexOf('e.operation')} as operation, e.line, e.shard, e.epoch, e.seq, e.program, e.partner, e.contract,
  e.kind, e.price, e.account, e.party, e.reference, e.original_reference as "originalReference", e.member, e.currency, e.points,
  e.prepaid, e.share, e.rule, ${epochMsOf('e.at')} as at, ${epochMsOf('e.occurred_at')} as "occurredAt",
  ${epochMsOf('e.booked_at')} as "bookedAt", e.of_period::text as "ofPeriod", e.period::text as period`;

export interface EntriesAsk {
  readonly partner: number;
  /** By what: when it happened by the caller's word, or when it was decided here by the program's clock. */
  readonly by: 'occurredAt' | 'at';
  readonly from: EpochMs;
  /** Not included. */
  readonly until: EpochMs;
}

const chunkRows = 2_000;

/**
 * A partner's entries of a stretch of time, in the order of their operations, a chunk at a time with constant memory. It reads
 * what is committed when each chunk is read; inside one database transaction with a snapshot it is one moment's.
 */
export async function* entriesBetween(db: Queryable, ask: EntriesAsk): AsyncGenerator<StoredEntry[]> {
  const column = ask.by === 'at' ? 'e.at' : 'e.occurred_at';
  let after: readonly [operation: string | null, line: number] = [null, 0];
  for (;;) {
    const { rows }: pg.QueryResult<StoredEntry> = await db.query<StoredEntry>(
      `select ${entryColumns} from clearing_entry e
       where e.partner = $1 and ${column} >= $2::timestamptz and ${column} < $3::timestamptz
         and ($4::uuid is null or (e.operation, e.line) > ($4::uuid, $5::smallint))
       order by e.operation, e.line limit ${chunkRows}`,
      [ask.partner, new Date(ask.from).toISOString(), new Date(ask.until).toISOString(), ...after],
    );
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (!last || rows.length < chunkRows) return;
    after = [last.operation, last.line];
  }
}

/** The entries of a month's statement, in the order of their operations, a chunk at a time. */
export async function* entriesOfPeriod(
  db: Queryable,
  partner: number,
  period: string,
): AsyncGenerator<StoredEntry[]> {
  let after: readonly [operation: string | null, line: number] = [null, 0];
  for (;;) {
    const { rows }: pg.QueryResult<StoredEntry> = await db.query<StoredEntry>(
      `select ${entryColumns} from clearing_entry e where e.partner = $1 and e.period = $2::date
         and ($3::uuid is null or (e.operation, e.line) > ($3::uuid, $4::smallint))
       order by e.operation, e.line limit ${chunkRows}`,
      [partner, period, ...after],
    );
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (!last || rows.length < chunkRows) return;
    after = [last.operation, last.line];
  }
}
