/**
 * Records in quarantine: journal records that could not be booked as they are. Each stands in the books under its number,
 * with what was readable of its legs and the difference in `suspense`, and freezes the spending of its member until a
 * person has said what becomes of it.
 */
import type pg from 'pg';
import type { Effect, JournalRecord } from '#src/journal.ts';
import { inColumns } from '#src/platform/command.ts';
import { type EpochMs, type MemberNumber, memberId, operationId } from '#src/values.ts';
import type { LotRow, MemberStanding } from './correction.ts';

export type Resolution = 'retried' | 'voided';

/** `3-1-17`: shard, epoch and number of a record. */
export interface QuarantineId {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface QuarantinedRow extends QuarantineId {
  readonly member: MemberNumber;
  readonly program: number;
  readonly frozen: boolean;
  readonly reason: string;
  readonly found_at: EpochMs;
  readonly record: JournalRecord;
  readonly booked: Effect;
  readonly resolution: Resolution | null;
  readonly resolved_by: string | null;
  readonly correction: string | null;
}

export function quarantineId({ shard, epoch, seq }: QuarantineId): string {
  return `${shard}-${epoch}-${seq}`;
}

/** Undefined where the text is no id. */
export function parseQuarantineId(text: string): QuarantineId | undefined {
  const match = /^(\d{1,4})-(\d{1,9})-(\d{1,15})$/.exec(text);
  return match ? { shard: Number(match[1]), epoch: Number(match[2]), seq: Number(match[3]) } : undefined;
}

const rowsQuery = `
  select q.shard, q.epoch, q.seq, q.member, m.program, m.frozen, q.reason, (extract(epoch from q.found_at) * 1000)::bigint as found_at,
    q.record, o.effect as booked, q.resolution, q.resolved_by, replace(q.correction::text, '-', '') as correction
  from quarantine q join operation o using (shard, epoch, seq) left join member m on m.number = q.member`;

const listedMax = 1_000;

/** What is in quarantine, oldest first; what was settled too where asked. */
export async function listQuarantine(pool: pg.Pool, settledToo: boolean): Promise<QuarantinedRow[]> {
  const { rows } = await pool.query<QuarantinedRow>(
    `${rowsQuery} where $1 or q.resolution is null order by q.found_at, q.shard, q.epoch, q.seq limit $2`,
    [settledToo, listedMax],
  );
  return rows;
}

export async function readQuarantined(
  pool: pg.Pool,
  { shard, epoch, seq }: QuarantineId,
): Promise<QuarantinedRow | undefined> {
  const { rows } = await pool.query<QuarantinedRow>(
    `${rowsQuery} where q.shard = $1 and q.epoch = $2 and q.seq = $3`,
    [shard, epoch, seq],
  );
  return rows[0];
}

/** Notes who settled a record, and the note of the program's audit with it. The first one stays. */
export async function noteResolution(
  pool: pg.Pool,
  row: QuarantinedRow,
  resolution: Resolution,
  by: string,
  correction: string,
): Promise<void> {
  await pool.query(
    `with resolved as (
       update quarantine set resolution = $4, resolved_by = $5, correction = $6, resolved_at = now()
       where shard = $1 and epoch = $2 and seq = $3 and resolution is null returning 1)
     insert into audit_log (program, actor, action, subject) select $7, $5, $8, $9 from resolved`,
    [
      row.shard,
      row.epoch,
      row.seq,
      resolution,
      by,
      correction,
      row.program,
      `quarantine.${resolution} cor_${correction}`,
      memberId(row.member),
    ],
  );
}

/** A member's lots, debts and open holds in one snapshot. */
export async function memberStanding(pool: pg.Pool, member: MemberNumber): Promise<MemberStanding> {
  const { rows } = await pool.query<{
    lots: LotRow[] | null;
    debts: MemberStanding['debts'] | null;
    holds: MemberStanding['holds'] | null;
  }>(
    `select
       (select json_agg(json_build_object('currency', currency, 'lot', lot, 'points', points, 'party', party,
          'expires_at', expires_at, 'available_at', available_at) order by currency, lot) from lot where member = $1) as lots,
       (select json_agg(json_build_array(currency, points)) from debt where member = $1 and points > 0) as debts,
       (select json_agg(json_build_array(replace(hold::text, '-', ''), lots)) from hold where member = $1 and status = 'held') as holds`,
    [member],
  );
  const row = rows[0];
  return { lots: row?.lots ?? [], debts: row?.debts ?? [], holds: row?.holds ?? [] };
}

function stateOf(row: QuarantinedRow): string {
  if (row.resolution) return `${row.resolution} by ${row.resolved_by ?? 'nobody'}`;
  return row.frozen ? 'open, spending frozen' : 'open';
}

/** A row as a program reads it. */
export function quarantineView(row: QuarantinedRow): Record<string, unknown> {
  const { record } = row;
  return {
    object: 'quarantined_record',
    id: quarantineId(row),
    operation: operationId(record.kind, record.operation),
    kind: record.kind,
    member: memberId(row.member),
    program: row.program,
    at: new Date(record.at).toISOString(),
    foundAt: new Date(row.found_at).toISOString(),
    reason: row.reason,
    state: row.resolution ?? 'open',
    spendingFrozen: row.frozen,
    ...(row.resolved_by === null ? {} : { resolvedBy: row.resolved_by }),
    ...(row.correction === null ? {} : { correction: `cor_${row.correction}` }),
  };
}

/** The list as a table. */
export function renderList(rows: readonly QuarantinedRow[]): string {
  if (rows.length === 0) return 'nothing is in quarantine';
  const cells = rows.map((row) => [
    quarantineId(row),
    new Date(row.found_at).toISOString().slice(0, 19),
    row.record.kind,
    memberId(row.member),
    stateOf(row),
    row.reason,
  ]);
  return inColumns([['id', 'found (UTC)', 'kind', 'member', 'state', 'reason'], ...cells]);
}

/** One record with what is booked of it. */
export function renderOne(row: QuarantinedRow): string {
  const lines = Object.entries(quarantineView(row)).map(
    ([name, value]) => `${name.padEnd(15)} ${String(value)}`,
  );
  const legs = row.booked.legs.map((leg) => `  ${leg[0]} ${leg[2]} of currency ${leg[1]}`);
  return [
    ...lines,
    '',
    legs.length === 0 ? 'booked: nothing but its number' : 'booked:',
    ...legs,
    '',
    'in the journal:',
    `  request ${row.record.request}`,
    `  effect  ${row.record.effectText}`,
  ].join('\n');
}
