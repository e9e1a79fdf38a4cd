/**
 * How the files of a partner follow one another. Their numbers and their periods join without a gap, and a period is of the time at
 * which its side *booked* a movement. So each movement stands in one file, however late it was claimed; and what one side books in a
 * period and the other in the next, because midnight or an outage lies between them, is matched by the file that brings the second side:
 *
 *   theirs now, ours later      our side is noted as named early, and not missing in the file of its own period
 *   theirs now, ours before     the line of then that said `missing_there` is matched
 *   ours now, theirs before     the line of then that said `missing_here` is matched
 *   ours came to nothing        the line of then that said `missing_there` is matched: neither side has moved anything
 *   theirs now and before       a duplicate
 *   theirs now, ours to nothing a status, whenever ours came to nothing: no file has named it before
 *
 * A line that was missing stays as it was written, for reports are never changed; the file that has matched it is written beside it.
 */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { Queryable } from '#src/platform/postgres.ts';
import { firstBooked, movementsNamed, type Pair } from './books.ts';
import { differenceOf } from './comparing.ts';
import { FileFault, type Header } from './format.ts';
import { instantText, type Period } from './movement.ts';
import { reconciliationId } from './reports.ts';

/** What was taken, or written, of a series so far; null before its first file. Times are seconds since 1970. */
export interface Series {
  readonly last: number | null;
  readonly from: number | null;
  readonly until: number | null;
}

const tables = { taken: 'reconciliation', written: 'reconciliation_export' } as const;

/** The series of files that a partner gave us, or that we wrote for it. */
export async function seriesOf(db: Queryable, which: keyof typeof tables, partner: number): Promise<Series> {
  const { rows } = await db.query<Series>(
    `select max(sequence) as last, extract(epoch from min(period_from))::bigint as "from",
       (extract(epoch from max(period_until) filter (where sequence = newest)))::bigint as until
     from (select *, max(sequence) over () as newest from ${tables[which]} where partner = $1 and sequence is not null) s`,
    [partner],
  );
  return rows[0]!;
}

/** Waits for whoever books a file of the partner. */
export async function lockSeries(tx: pg.ClientBase, partner: number): Promise<void> {
  await tx.query('insert into reconciliation_series (partner) values ($1) on conflict do nothing', [partner]);
  await tx.query('select 1 from reconciliation_series where partner = $1 for update', [partner]);
}

function outOfSequence(reason: string, detail: string, fields: Record<string, unknown>): Problem {
  return new Problem('file_out_of_sequence', detail, { reason, ...fields });
}

async function sameNumber(db: Queryable, partner: number, sequence: number): Promise<object> {
  const { rows } = await db.query<{ reconciliation: number }>(
    'select reconciliation from reconciliation where partner = $1 and sequence = $2',
    [partner, sequence],
  );
  return rows[0] ? { reconciliation: reconciliationId(rows[0].reconciliation) } : {};
}

/** What the next file of a series has to be, but for its lines. */
export type NextFile = Pick<Header, 'sequence' | 'from'>;

/** Throws where a period does not begin where the one before has ended. */
export function checkJoins({ until }: Series, { sequence, from }: NextFile): void {
  if (until === null || from === until) return;
  const fields = { sequence, from: instantText(from), expectedFrom: instantText(until) };
  const detail = `The period before ended at ${fields.expectedFrom}, and this one begins at ${fields.from}.`;
  throw outOfSequence(from > until ? 'period_gap' : 'period_repeat', detail, fields);
}

/**
 * Throws where movements with the partner were booked before the first period. Who names the number of the first file has agreed on it,
 * and on leaving out what was before.
 */
export async function checkFirst(
  db: Queryable,
  pair: Pair,
  { sequence, from }: NextFile,
  first: number | undefined,
): Promise<void> {
  const earliest = first === undefined ? await firstBooked(db, pair) : null;
  if (earliest === null || from <= earliest) return;
  const fields = { sequence, from: instantText(from), expectedFrom: instantText(earliest) };
  const detail = `The first movement with the partner was booked at ${fields.expectedFrom}, before the first period begins. Name the number of the first file where what was before is not to be compared.`;
  throw outOfSequence('period_gap', detail, fields);
}

/** Throws where a file of the partner is not the next of its series; the first has number 1 where no other is agreed. */
export async function checkNext(
  db: Queryable,
  pair: Pair,
  header: Pick<Header, 'sequence' | 'from' | 'until'>,
  first: number | undefined,
): Promise<Series> {
  const series = await seriesOf(db, 'taken', pair.partner);
  const { sequence, until } = header;
  if (until * 1_000 > Date.now())
    throw new FileFault(1, 'period_not_over', `the period ends at ${instantText(until)}`);
  if (first !== undefined && series.last !== null)
    throw outOfSequence('begun', `The series has begun; its last file was ${series.last}.`, { sequence });
  const expected = series.last === null ? (first ?? 1) : series.last + 1;
  if (sequence !== expected) {
    const isRepeat = sequence < expected;
    throw outOfSequence(
      isRepeat ? 'repeat' : 'gap',
      isRepeat
        ? `The file ${sequence} of this partner was taken before; the next is ${expected}.`
        : `The file ${expected} of this partner is missing before ${sequence}.`,
      { sequence, expected, ...(await sameNumber(db, pair.partner, sequence)) },
    );
  }
  checkJoins(series, header);
  if (series.last === null) await checkFirst(db, pair, header, first);
  return series;
}

const same = '(o.reference, o.kind, o.made_by) = (d.reference, d.kind, d.made_by)';
/** Longer than any program takes late claims. */
const missingDaysMax = 1_100;

/** Lines of earlier files that only one side had, and that nothing has matched since; of several about one movement the first. */
async function readMissing(tx: pg.ClientBase, partner: number, from: number): Promise<number> {
  await tx.query(
    'create temporary table missing (like reconciliation_difference, their_at bigint) on commit drop',
  );
  const { rowCount } = await tx.query(
    `insert into missing
     select distinct on (l.reference, l.kind, l.made_by) l.*, extract(epoch from l.their_occurred_at)::bigint
     from reconciliation_difference l join reconciliation r using (reconciliation)
     where r.partner = $1 and r.source = 'file' and r.period_until > to_timestamp($2::bigint) - interval '${missingDaysMax} days'
       and l.difference in ('missing_here', 'missing_there')
       and not exists (select from reconciliation_match m where (m.reconciliation, m.number) = (l.reconciliation, l.number))
     order by l.reference, l.kind, l.made_by, l.reconciliation`,
    [partner, from],
  );
  await tx.query('analyze missing');
  return rowCount ?? 0;
}

/** Leaves out of ours what a file before has named early; before ours and theirs are compared. */
export async function leaveOutEarly(
  tx: pg.ClientBase,
  { partner }: Pair,
  { from, until }: Period,
): Promise<void> {
  await tx.query(
    `delete from ours d using reconciliation_early o
     where o.partner = $1 and o.booked_at >= to_timestamp($2::bigint) and o.booked_at < to_timestamp($3::bigint) and ${same}`,
    [partner, from, until],
  );
}

/** What was under way when a file missed it, and came to nothing: the sides agree since. */
async function endMissing(tx: pg.ClientBase, pair: Pair): Promise<void> {
  const { text, values } = movementsNamed(
    pair,
    `select reference from missing where difference = 'missing_there'`,
  );
  await tx.query(
    `insert into differing (made_by, kind, reference, is_theirs, earlier, earlier_number)
     select o.made_by, o.kind, o.reference, false, o.reconciliation, o.number
     from missing o join (${text}) d on ${same}
     where o.difference = 'missing_there' and (d.status = 'failed' or d.points = 0)
       and not exists (select from differing d where ${same} and d.earlier is not null)`,
    [...values],
  );
}

/** Lines that were missing, beside what both sides say now. */
async function matchMissing(tx: pg.ClientBase): Promise<void> {
  const earlier = 'earlier = o.reconciliation, earlier_number = o.number';
  await tx.query(
    `update differing d set ${earlier} from missing o
     where d.our_booked_at is not null and d.difference is distinct from 'duplicate' and ${same}`,
  );
  await tx.query(
    `update differing d set difference = 'duplicate' from missing o
     where o.difference = 'missing_here' and d.difference = 'missing_here' and ${same}`,
  );
  const said = differenceOf('o.their', 'd.our').replaceAll('o.their_occurred_at', 'o.their_at');
  await tx.query(
    `update differing d set ${earlier}, their_points = o.their_points, their_currency = o.their_currency, their_occurred_at = o.their_at,
       their_status = o.their_status, difference = ${said}
     from missing o where o.difference = 'missing_here' and d.difference = 'missing_there' and ${same}`,
  );
  // Whoever repeats such a line beside the movement itself has sent it late, not twice.
  await tx.query(
    `insert into differing (made_by, kind, reference, is_theirs, earlier, earlier_number)
     select o.made_by, o.kind, o.reference, false, o.reconciliation, o.number from missing o
     where o.difference = 'missing_here' and exists (select from ours d where ${same})
       and not exists (select from differing d where ${same} and d.earlier is not null)`,
  );
}

/** Says of the lines that differ what files before have said of them; answers how many of those are matched now. */
export async function relateToEarlier(
  tx: pg.ClientBase,
  pair: Pair,
  { from }: Period,
  series: Series,
): Promise<number> {
  const { partner } = pair;
  if ((await readMissing(tx, partner, from)) > 0) {
    await matchMissing(tx);
    await endMissing(tx, pair);
  }
  // Of a period that was compared already: theirs was named then, or it would be among those that were missing. What moved nothing here never is.
  await tx.query(
    `update differing d set difference = 'duplicate' where earlier is null and is_theirs and (
       our_booked_at >= to_timestamp($3::bigint) and our_booked_at < to_timestamp($2::bigint)
         and (our_status <> 'failed' and our_points > 0 or exists (
           select from reconciliation_difference o join reconciliation r using (reconciliation)
           where r.partner = $1 and r.source = 'file' and o.their_status is not null and ${same}))
       or exists (select from reconciliation_early o where o.partner = $1 and not o.may_repeat and ${same}))`,
    [partner, from, series.from],
  );
  const { rows } = await tx.query<{ count: number }>(
    'select count(*)::int as count from differing where earlier is not null',
  );
  return rows[0]!.count;
}

/** Keeps which lines of earlier files are matched now, and what was named early. The reconciliation is there already. */
export async function storeRelations(
  tx: pg.ClientBase,
  { partner }: Pair,
  { until }: Period,
  reconciliation: number,
): Promise<void> {
  await tx.query(
    `insert into reconciliation_match (reconciliation, number, matched_by)
     select earlier, earlier_number, $1::bigint from differing where earlier is not null`,
    [reconciliation],
  );
  // What a file compared by the time at which it happened may be there already.
  await tx.query(
    `insert into reconciliation_early (partner, made_by, kind, reference, booked_at, reconciliation)
     select $1::int, made_by, kind, reference, our_booked_at, $3::bigint from differing
     where our_booked_at >= to_timestamp($2::bigint) and difference is distinct from 'duplicate' on conflict do nothing`,
    [partner, until, reconciliation],
  );
}
