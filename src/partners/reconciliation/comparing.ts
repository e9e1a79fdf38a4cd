/**
 * Their movements and ours in two temporary tables, sorted and merged by PostgreSQL: memory stays where it is however many there
 * are. A movement is the same where caller, kind and reference are; of several of theirs the first is compared, and each
 * further one is a duplicate.
 *
 *   missing_here    theirs alone: points moved there, or may have, and our books have no such movement
 *   missing_there   ours alone
 *   status          both have it and say otherwise what became of it
 *   amount          both have it, with other points or another currency
 *   date            both have it, and it happened at another time
 *   duplicate       a second line of the same movement, in this file or in one before
 *
 * A line has one difference, the first of status, amount and date, and both sides' values show all. What failed, or moved no
 * point, matches where the other side does not have it: nothing has moved on either. What theirs has is looked for in all our books,
 * not in the period alone; how the files of a series fit together is in `series.ts`.
 */
import type pg from 'pg';
import { type Copying, copied, copyInto } from '#src/platform/copying.ts';
import { movementsIn, movementsNamed, type Pair } from './books.ts';
import type { Detail } from './format.ts';
import type { Movement, Period } from './movement.ts';

export const differences = [
  'missing_here',
  'missing_there',
  'amount',
  'date',
  'duplicate',
  'status',
] as const;
export type Difference = (typeof differences)[number];
export type DifferenceCounts = Readonly<Record<Difference, number>>;

const columns = 'made_by, kind, reference, points, currency, occurred_at, status';

/** Prepares a connection in a database transaction. Both tables end with it. */
export async function beginComparison(tx: pg.ClientBase): Promise<void> {
  const movement = `made_by text collate "C" not null, kind text collate "C" not null, reference text collate "C" not null,
    points bigint not null, currency text collate "C" not null, occurred_at bigint not null, status text collate "C" not null`;
  await tx.query(`create temporary table theirs (line integer, ${movement}) on commit drop`);
  await tx.query(`create temporary table ours (${movement}) on commit drop`);
}

/** Takes in the partner's movements. */
export function copyTheirs(tx: pg.ClientBase): Promise<Copying> {
  return copyInto(tx, `theirs (line, ${columns})`);
}

/** Of a day that is compared by its tree no movement has a line. */
export function rowsOf(movements: readonly (Movement & Partial<Pick<Detail, 'line'>>)[]): string {
  let rows = '';
  for (const { line, madeBy, kind, reference, points, currency, occurredAt, status } of movements)
    rows += `${line ?? '\\N'}\t${madeBy}\t${kind}\t${copied(reference)}\t${points}\t${currency}\t${occurredAt}\t${status}\n`;
  return rows;
}

/** Takes in ours that were booked in a period. */
export async function readOurs(tx: pg.ClientBase, pair: Pair, period: Period): Promise<void> {
  const { text, values } = movementsIn(pair, period, 'booked');
  await tx.query(`insert into ours (${columns}) select ${columns} from (${text}) m`, [...values]);
}

/** Takes in ours as they were found before. */
export async function copyOurs(tx: pg.ClientBase, movements: readonly Movement[]): Promise<void> {
  const copying = await copyInto(tx, `ours (${columns})`);
  await copying.write(
    movements
      .map(({ madeBy, kind, reference, points, currency, occurredAt, status }) =>
        [madeBy, kind, copied(reference), points, currency, occurredAt, status].join('\t'),
      )
      .map((line) => `${line}\n`)
      .join(''),
  );
  await copying.end();
}

const sideColumns = (side: string) =>
  ['points', 'currency', 'occurred_at', 'status'].map((name) => `${side}_${name}`).join(', ');

const numbered = (table: string, order: string, side: string, more: string) => `
  select ${more} made_by, kind, reference, row_number() over (partition by reference, kind, made_by order by ${order}) as place,
    points as ${side}_points, currency as ${side}_currency, occurred_at as ${side}_occurred_at, status as ${side}_status
  from ${table}`;

/** SQL of what two sides that both have a movement say differently; null where they agree. */
export function differenceOf(their: string, our: string): string {
  return `case
      when ${their}_status <> ${our}_status then 'status'
      when ${their}_points <> ${our}_points or ${their}_currency <> ${our}_currency then 'amount'
      when ${their}_occurred_at <> ${our}_occurred_at then 'date'
    end`;
}

const merge = `
  create temporary table differing on commit drop as
  select line, made_by, kind, reference, their_status is not null as is_theirs, ${sideColumns('their')}, ${sideColumns('our')},
    null::timestamptz as our_booked_at, null::bigint as earlier, null::integer as earlier_number,
    case
      when their_status is null then 'missing_there'
      when our_status is null and place > 1 then 'duplicate'
      when our_status is null then 'missing_here'
      else ${differenceOf('their', 'our')}
    end as difference
  from (${numbered('theirs', 'line', 'their', 'line,')}) t
  full join (${numbered('ours', 'occurred_at', 'our', '')}) o using (reference, kind, made_by, place)
  where (their_status, their_points, their_currency, their_occurred_at) is distinct from (our_status, our_points, our_currency, our_occurred_at)
    and not (our_status is null and (their_status = 'failed' or their_points = 0))
    and not (their_status is null and (our_status = 'failed' or our_points = 0))`;

/** What theirs alone has may stand in our books at another time. Where both say the same of it the difference is null. */
async function findElsewhere(tx: pg.ClientBase, pair: Pair): Promise<void> {
  const { text, values } = movementsNamed(
    pair,
    `select reference from differing where difference = 'missing_here'`,
  );
  await tx.query(
    `update differing d set difference = ${differenceOf('d.their', 'm.our')}, our_points = m.our_points, our_currency = m.our_currency,
       our_occurred_at = m.our_occurred_at, our_status = m.our_status, our_booked_at = m.booked_at
     from (select made_by, kind, reference, points as our_points, currency as our_currency, occurred_at as our_occurred_at,
       status as our_status, booked_at from (${text}) f) m
     where d.difference = 'missing_here' and (m.reference, m.kind, m.made_by) = (d.reference, d.kind, d.made_by)`,
    [...values],
  );
}

export interface Compared {
  readonly counts: DifferenceCounts;
  /** Lines of theirs among them. */
  readonly theirs: number;
}

/**
 * Compares what was taken in; answers how many of each difference. `relate` may say more about lines before they are counted, and where
 * it leaves a line without a difference that line matches. `storeDifferences` keeps the others.
 */
export async function compare(
  tx: pg.ClientBase,
  pair: Pair,
  relate: () => Promise<void> = () => Promise.resolve(),
): Promise<Compared> {
  await tx.query('analyze theirs');
  await tx.query('analyze ours');
  // Sorts go to disk beyond it.
  await tx.query(`set local work_mem = '32MB'`);
  await tx.query('set local enable_hashjoin = off');
  await tx.query(merge);
  await tx.query('set local enable_hashjoin = on');
  await tx.query('analyze differing');
  await findElsewhere(tx, pair);
  await relate();
  const { rows } = await tx.query<{ difference: Difference; count: number; theirs: number }>(
    `select difference, count(*)::int as count, (count(*) filter (where is_theirs))::int as theirs from differing
     where difference is not null group by difference`,
  );
  const found = new Map(rows.map(({ difference, count }) => [difference, count]));
  const counts = Object.fromEntries(
    differences.map((difference) => [difference, found.get(difference) ?? 0]),
  ) as DifferenceCounts;
  return { counts, theirs: rows.reduce((sum, { theirs }) => sum + theirs, 0) };
}

/** Keeps the lines that differ with their reconciliation, in the order of the file. */
export async function storeDifferences(tx: pg.ClientBase, reconciliation: number): Promise<void> {
  const instant = (side: string) => `to_timestamp(${side}_occurred_at)`;
  const values = (side: string) => `${side}_points, ${side}_currency, ${instant(side)}, ${side}_status`;
  await tx.query(
    `insert into reconciliation_difference (reconciliation, number, difference, line, made_by, kind, reference, ${sideColumns('their')}, ${sideColumns('our')})
     select $1::bigint, row_number() over (order by line nulls last, reference, kind, made_by), difference, line, made_by, kind, reference,
       ${values('their')}, ${values('our')} from differing where difference is not null`,
    [reconciliation],
  );
}
