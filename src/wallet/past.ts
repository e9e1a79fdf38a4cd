/** Reads what became of lots: everything that happened to a member since it got their points, as far as that can be read at once. */
import type pg from 'pg';
import { hexOf, inTransaction } from '#src/platform/postgres.ts';
import type { MemberNumber } from '#src/values.ts';
import { timeOfOperation } from '#src/values.ts';
import { type Past, type PastRecord, pastOf } from './ended-lots.ts';
import { requestQuery } from './limits.ts';
import type { LotOf } from './outcome.ts';

/** What became of lots as the books have it through a number of the shard's journal; `member` is the one who got them. */
export interface LotsRead extends Past {
  readonly epoch: number;
  readonly seq: number;
  readonly member: MemberNumber;
}

/** A member that was merged is somebody's who may be merged too. */
const mergesMax = 20;
/**
 * Of members with more movements since nothing is read, and what their lots gave counts as spent. Of a part of their records
 * the newest would lack, which say what returns have taken already.
 */
export const pastRecordsMax = 50_000;
/** An operation's id is made before its script runs: of two, the one that was decided first may have the later id. */
const idsApartMs = 60_000;
/** Shorter than the caller waits, so that no connection of the pool is left with a statement that nobody waits for. */
const readingMsMax = requestQuery.query_timeout - 1_000;

/**
 * Everything that happened to the member of an operation since about then, and to those it was merged into; nothing where that
 * is too much. Months that are archived are older than any operation that can still be undone.
 */
const pastQuery = `
  with recursive line (member, step) as (
    select o.member, 0 from (select member from operation where operation = $1::uuid offset 0) o
    union all
    select m.merged_into, l.step + 1 from line l join member m on m.number = l.member
      where m.merged_into is not null and l.step < ${mergesMax}),
  found (records) as (select count(*) from (
    select from line l join operation o on o.member = l.member and o.operation >= $2::uuid limit $4::bigint + 1) o)
  select p.epoch, p.seq, (select member from line where step = 0) as member, (select records from found) <= $4 as is_whole,
    case when (select records from found) <= $4 then (
    select json_agg(json_build_object('operation', ${hexOf('o.operation')}, 'kind', o.kind, 'member', o.member,
      'origin', ${hexOf('o.origin')}, 'legs', o.effect -> 'legs', 'expired', o.effect -> 'expired', 'undone', o.request -> 'undone')
      order by o.step, o.at, o.epoch, o.seq)
    from (select o.*, l.step from line l join operation o on o.member = l.member and o.operation >= $2::uuid
      order by l.step, o.at, o.epoch, o.seq) o) end as records
  from position p where p.shard = $3`;

interface PastRow {
  readonly epoch: number;
  readonly seq: number;
  readonly member: MemberNumber | null;
  readonly is_whole: boolean;
  readonly records: PastRecord[] | null;
}

/** What became of lots that operations gave to one member, with the place of `shard` at which it was read. */
export async function readPast(
  pool: pg.Pool,
  shard: number,
  given: readonly LotOf[],
  recordsMax: number,
): Promise<LotsRead | 'not_found'> {
  const [oldest] = given.map(([operation]) => operation).sort();
  const since = (timeOfOperation(oldest!) - idsApartMs).toString(16).padStart(12, '0').padEnd(32, '0');
  const { rows } = await inTransaction(pool, async (tx) => {
    await tx.query(`set local statement_timeout = ${readingMsMax}`);
    const values = [oldest, since, shard, recordsMax];
    return tx.query<PastRow>({ ...requestQuery, name: 'load-lots', text: pastQuery, values });
  });
  const row = rows[0];
  if (!row || row.member === null) return 'not_found';
  const { epoch, seq, member } = row;
  if (!row.is_whole)
    return { epoch, seq, member, rows: given.map(([, currency, lot]) => [currency, lot, []]), lots: [] };
  const asked = given.map(([, currency, lot]) => [currency, lot] as const);
  return { epoch, seq, member, ...pastOf(row.records ?? [], member, asked) };
}
