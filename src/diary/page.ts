/**
 * What a turn's operations mean for the diary: deeds, returns and merges, in the order in which they were booked.
 *
 *   accrual            a deed: a purchase, a flight, points; also a gift and what partners grant
 *   reversal, return   takes back from deeds, on the day of each
 *   status: merged     the member's days become the survivor's
 *   correction         books a record of the quarantine late: then it means what the record would have
 *
 * Left out: a repeated reference and what takes it back (it should never have been), and records in quarantine until a
 * person had them booked. What was decided on stale balances stands in the books like everything else.
 */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { type Effect, effectSchema, type JournalRecord } from '#src/journal.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { type Back, type BookedAccrual, type Deed, deedOf } from './deeds.ts';
import type { Merge } from './merges.ts';
import type { ProgramFor } from './programs.ts';
import type { Return } from './returns.ts';
import type { BookedRow, Page } from './unread.ts';

export interface Contents {
  readonly deeds: readonly Deed[];
  /** Of them, those that were in quarantine before: a return of one counts only from here on. */
  readonly lateDeeds: readonly Deed[];
  readonly returns: readonly Return[];
  /** Accruals that are or were in quarantine. */
  readonly quarantined: ReadonlySet<string>;
  readonly merges: readonly Merge[];
  /** Operations that could not be counted: money without a rate, a return whose accrual the books do not have. */
  readonly uncounted: number;
}

interface Meaning {
  readonly row: Pick<BookedRow, 'operation' | 'kind' | 'program' | 'member' | 'occurred_at'>;
  readonly request: unknown;
  readonly effect: Effect | undefined;
  readonly isLate: boolean;
}

type RequestOfAccrual = BookedAccrual['request'];
type UndoneRow = readonly [accrual: string, note: string, parts: Back['parts']];

/** What one operation takes back of one accrual, and whose operation it is. */
interface Undone extends Back {
  readonly accrual: string;
  readonly by: MemberNumber;
}

/** Numbers of the pages' records that went into quarantine. */
async function quarantinedIn(tx: pg.ClientBase, pages: readonly Page[]): Promise<ReadonlySet<string>> {
  const filled = pages.filter(({ rows }) => rows.length > 0);
  if (filled.length === 0) return new Set();
  const { rows } = await tx.query<{ shard: number; epoch: number; seq: number }>({
    name: 'diary-quarantine',
    text: `select q.shard, q.epoch, q.seq from quarantine q
      join unnest($1::smallint[], $2::int[], $3::bigint[], $4::int[], $5::bigint[]) r (shard, from_epoch, from_seq, epoch, seq)
        on q.shard = r.shard and (q.epoch, q.seq) >= (r.from_epoch, r.from_seq) and (q.epoch, q.seq) <= (r.epoch, r.seq)`,
    values: [
      filled.map(({ shard }) => shard),
      filled.map((page) => page.rows[0]!.epoch),
      filled.map((page) => page.rows[0]!.seq),
      filled.map((page) => page.rows.at(-1)!.epoch),
      filled.map((page) => page.rows.at(-1)!.seq),
    ],
  });
  return new Set(rows.map(({ shard, epoch, seq }) => `${shard}-${epoch}-${seq}`));
}

function numberOf({ shard, epoch, seq }: BookedRow): string {
  return `${shard}-${epoch}-${seq}`;
}

/** The numbers of records that corrections book late, by the correction. */
function retriedBy(rows: readonly BookedRow[]): Map<BookedRow, string> {
  const retried = new Map<BookedRow, string>();
  for (const row of rows) {
    if (row.kind !== 'correction' || row.request === null) continue;
    const { body } = JSON.parse(row.request) as { body?: { action?: string; quarantine?: string } };
    if (body?.action === 'retried' && body.quarantine !== undefined) retried.set(row, body.quarantine);
  }
  return retried;
}

async function recordsInQuarantine(
  tx: pg.ClientBase,
  numbers: readonly string[],
): Promise<Map<string, JournalRecord>> {
  if (numbers.length === 0) return new Map();
  const { rows } = await tx.query<{ number: string; record: JournalRecord }>(
    `select shard || '-' || epoch || '-' || seq as number, record from quarantine
     where (shard, epoch, seq) in (select split_part(n, '-', 1)::smallint, split_part(n, '-', 2)::int, split_part(n, '-', 3)::bigint from unnest($1::text[]) n)`,
    [numbers],
  );
  return new Map(rows.map(({ number, record }) => [number, record]));
}

/** What a record in quarantine would have meant; nothing where it cannot be read. */
function lateMeaning(record: JournalRecord): Meaning | undefined {
  try {
    const row = { ...record, occurred_at: record.occurredAt };
    const effect = effectSchema.parse(JSON.parse(record.effectText));
    return { row, request: JSON.parse(record.request), effect, isLate: true };
  } catch {
    return undefined;
  }
}

const counting: ReadonlySet<string> = new Set(['accrual', 'reversal', 'return', 'status']);

function meaningOf(row: BookedRow): Meaning {
  // The writer has checked every effect before it booked it.
  const effect = row.effect === null ? undefined : (JSON.parse(row.effect) as Effect);
  return { row, request: row.request === null ? undefined : JSON.parse(row.request), effect, isLate: false };
}

async function meaningsOf(tx: pg.ClientBase, pages: readonly Page[]): Promise<Meaning[]> {
  const rows = pages.flatMap((page) => page.rows);
  const quarantined = await quarantinedIn(tx, pages);
  const retried = retriedBy(rows);
  const records = await recordsInQuarantine(tx, [...retried.values()]);
  return rows.flatMap((row) => {
    const record = records.get(retried.get(row) ?? '');
    if (record) return lateMeaning(record) ?? [];
    if (!counting.has(row.kind) || quarantined.has(numberOf(row))) return [];
    // A return under a repeated reference is not taken back: it stands, and takes no more than there is.
    if (row.kind === 'accrual' && row.is_conflict) return [];
    return meaningOf(row);
  });
}

function accrualOf({ row, request, effect }: Meaning, program: Program): BookedAccrual {
  return {
    operation: row.operation.replaceAll('-', ''),
    program,
    member: row.member,
    occurredAt: row.occurred_at,
    request: (request ?? {}) as RequestOfAccrual,
    effect: { legs: effect?.legs ?? [] },
  };
}

interface OriginalRow {
  operation: string;
  kind: string;
  program: number;
  member: MemberNumber;
  occurred_at: EpochMs;
  is_conflict: boolean;
  is_quarantined: boolean;
  request: RequestOfAccrual;
  effect: Effect;
  /** As it stands in quarantine, where it does. */
  record: JournalRecord | null;
}

const originalsQuery = `
  select replace(o.operation::text, '-', '') as operation, o.kind, o.program, o.member, o.conflict_with is not null as is_conflict,
    (extract(epoch from o.occurred_at) * 1000)::float8 as occurred_at, o.request, o.effect, q.shard is not null as is_quarantined, q.record
  from operation o left join quarantine q on q.shard = o.shard and q.epoch = o.epoch and q.seq = o.seq
  where o.operation = any($1::uuid[])`;

interface Originals {
  readonly deeds: ReadonlyMap<string, Deed>;
  readonly quarantined: ReadonlySet<string>;
  /** That are there and count nothing: redemptions, repeated references. */
  readonly others: ReadonlySet<string>;
}

async function originalsOf(
  tx: pg.ClientBase,
  programFor: ProgramFor,
  operations: readonly string[],
): Promise<Originals> {
  const deeds = new Map<string, Deed>();
  const quarantined = new Set<string>();
  const others = new Set<string>();
  if (operations.length === 0) return { deeds, quarantined, others };
  const { rows } = await tx.query<OriginalRow>({
    name: 'diary-originals',
    text: originalsQuery,
    values: [operations],
  });
  for (const row of rows) {
    const meaning = row.record
      ? lateMeaning(row.record)
      : { row, request: row.request, effect: row.effect, isLate: false };
    if (row.is_quarantined) quarantined.add(row.operation);
    if (row.kind !== 'accrual' || row.is_conflict || !meaning) {
      others.add(row.operation);
      continue;
    }
    const version = (meaning.request as RequestOfAccrual).programVersion;
    deeds.set(row.operation, deedOf(accrualOf(meaning, await programFor(row.program, version))));
  }
  return { deeds, quarantined, others };
}

function undoneBy(by: MemberNumber, request: unknown): Undone[] {
  const { undone = [] } = (request ?? {}) as { readonly undone?: readonly UndoneRow[] };
  return undone.map(([accrual, note, parts]) => ({ accrual, by, note, parts }));
}

/** Reads what the pages mean. */
export async function contentsOf(
  tx: pg.ClientBase,
  programFor: ProgramFor,
  pages: readonly Page[],
): Promise<Contents> {
  const deeds = new Map<string, Deed>();
  const lateDeeds: Deed[] = [];
  let undone: Undone[] = [];
  const merges: Merge[] = [];
  for (const meaning of await meaningsOf(tx, pages)) {
    const { row, request, effect, isLate } = meaning;
    if (row.kind === 'accrual') {
      const version = (request as RequestOfAccrual | undefined)?.programVersion;
      const deed = deedOf(accrualOf(meaning, await programFor(row.program, version)));
      const { operation } = deed.accrual;
      deeds.set(operation, deed);
      if (!isLate) continue;
      lateDeeds.push(deed);
      // What came back before it was booked is not taken off, whichever turn read it.
      undone = undone.filter(({ accrual }) => accrual !== operation);
    } else if (row.kind === 'status') {
      if (effect?.status === 'merged' && effect.into)
        merges.push({ source: row.member, into: effect.into as MemberNumber });
    } else undone.push(...undoneBy(row.member, request));
  }
  const elsewhere = [...new Set(undone.map(({ accrual }) => accrual))].filter((each) => !deeds.has(each));
  const originals = await originalsOf(tx, programFor, elsewhere);
  const returns: Return[] = [];
  let uncounted = [...deeds.values()].filter(({ isUncounted }) => isUncounted).length;
  for (const { accrual, by, note, parts } of undone) {
    const deed = deeds.get(accrual) ?? originals.deeds.get(accrual);
    if (deed) returns.push({ deed, by, back: { note, parts } });
    else if (!originals.others.has(accrual)) uncounted += 1;
  }
  const late = lateDeeds.map(({ accrual }) => accrual.operation);
  const quarantined = new Set([...originals.quarantined, ...late]);
  return { deeds: [...deeds.values()], lateDeeds, returns, quarantined, merges, uncounted };
}
