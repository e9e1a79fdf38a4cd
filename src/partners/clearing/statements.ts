/**
 * Statements of a partner by month: the draft, which follows from the entries, and what is issued of it.
 *
 * Issuing holds the partner's closing, so that no entry is added meanwhile, closes the month and writes the statement with the next
 * number of the program, all in one database transaction: numbers have no gaps, and a process that dies leaves nothing or all. A
 * closed month is closed for ever, which the database sees to; what is read later is in the first month that is open, and so is
 * whatever a dispute has changed.
 */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { writeEvents } from '#src/ledger/events.ts';
import type { Contract, Partner } from '#src/partners/contracts/types.ts';
import { inTransaction, type Queryable } from '#src/platform/postgres.ts';
import { pricingContract } from './entries.ts';
import { type Adjustment, type Draft, draftsOf, type Group, type Line } from './lines.ts';
import { endOfMonth } from './months.ts';
import { settlementId } from './settlements.ts';

interface GroupRow extends Omit<Group, 'points' | 'prepaid'> {
  readonly points: string;
  readonly prepaid: string;
}

/** Where sums come from: those that are kept as entries are written, or the entries themselves. */
export type SumsOf = 'kept' | 'entries';

const sums: Readonly<Record<SumsOf, string>> = {
  kept: 'sum(entries)::bigint as entries, sum(points)::text as points, sum(prepaid)::text as prepaid from clearing_sum',
  entries:
    'count(*) as entries, sum(points)::text as points, sum(prepaid)::text as prepaid from clearing_entry',
};

/** What the entries of a month come to, by what has one price. */
export async function groupsOf(
  db: Queryable,
  partner: number,
  period: string,
  from: SumsOf,
): Promise<Group[]> {
  const { rows } = await db.query<GroupRow>(
    `select kind, price, contract, currency, rule, share, of_period::text as "ofPeriod", ${sums[from]}
     where partner = $1 and period = $2::date
     group by kind, price, contract, currency, rule, share, of_period`,
    [partner, period],
  );
  return rows.map((row) => ({ ...row, points: BigInt(row.points), prepaid: BigInt(row.prepaid) }));
}

interface AdjustmentRow {
  readonly kind: 'carried' | 'credit';
  readonly currency: string;
  readonly ofPeriod: string;
  readonly amount: number;
  readonly tax: number;
  readonly taxBasisPoints: number;
}

export async function adjustmentsOf(
  db: Queryable,
  partner: number,
  period: string,
): Promise<(Adjustment & { readonly currency: string })[]> {
  const { rows } = await db.query<AdjustmentRow>(
    `select a.kind, a.currency, s.period::text as "ofPeriod", a.amount, a.tax, a.tax_basis_points as "taxBasisPoints"
     from settlement_adjustment a join settlement s on s.settlement = a.of_settlement
     where a.partner = $1 and a.period = $2::date order by a.adjustment`,
    [partner, period],
  );
  return rows.map((row) => ({ ...row, amount: BigInt(row.amount), tax: BigInt(row.tax) }));
}

/** What a month comes to, as the entries and adjustments of it are now. */
export async function draftOf(
  db: Queryable,
  partner: Pick<Partner, 'number' | 'contracts'>,
  period: string,
  from: SumsOf = 'kept',
): Promise<Draft[]> {
  const groups = await groupsOf(db, partner.number, period, from);
  return draftsOf(groups, await adjustmentsOf(db, partner.number, period), partner.contracts);
}

/** Months of a partner that have something in them and are not closed. */
export async function openMonths(db: Queryable, partner: number): Promise<string[]> {
  const { rows } = await db.query<{ period: string }>(
    `select distinct period::text from (
       select period from clearing_sum where partner = $1
       union all select period from settlement_adjustment where partner = $1) m
     where period > coalesce((select through from clearing_closed where partner = $1), '-infinity') order by period`,
    [partner],
  );
  return rows.map(({ period }) => period);
}

/** Whether clearing has read everything that was booked before a time; of a clock that was moved, everything. */
async function hasReadThrough(db: Queryable, program: Program, end: number): Promise<boolean> {
  const { rows } = await db.query(
    `select 1 from position p left join clearing_position c using (shard)
     where (c.shard is null or (p.epoch, p.seq) > (c.epoch, c.seq))
       and ($2 or coalesce(c.read_through_at, '-infinity') < $1::timestamptz) limit 1`,
    [new Date(end).toISOString(), program.clockOffsetMs > 0],
  );
  return rows.length === 0;
}

async function checkMayClose(
  tx: pg.PoolClient,
  program: Program,
  partner: Partner,
  period: string,
): Promise<void> {
  const month = period.slice(0, 7);
  const end = endOfMonth(period, program.timeZone);
  if (programNow(program) < end)
    throw new Problem('settlement_open', `${month} ends at ${new Date(end).toISOString()}.`);
  const earlier = (await openMonths(tx, partner.number)).find((open) => open < period);
  if (earlier)
    throw new Problem('settlement_open', `${earlier.slice(0, 7)} is open: settle it before ${month}.`);
  if (!(await hasReadThrough(tx, program, end)))
    throw new Problem('settlement_open', `Clearing has not read the books through the end of ${month} yet.`);
}

/** Minor units as the database and JSON have them. */
export function minorUnits(value: bigint): number {
  const units = Number(value);
  if (!Number.isSafeInteger(units)) throw new RangeError(`${value} is more than can be counted`);
  return units;
}

async function insertLines(tx: pg.PoolClient, settlement: number, lines: readonly Line[]): Promise<void> {
  const of = <T>(value: (line: Line) => T) => lines.map(value);
  await tx.query(
    `insert into settlement_line (settlement, line, kind, price, contract, points_currency, rule, share, of_period, entries, points,
       prepaid, numerator, denominator, amount, tax_basis_points, tax)
     select $1, l.* from unnest($2::smallint[], $3::text[], $4::text[], $5::int[], $6::smallint[], $7::text[], $8::smallint[], $9::date[],
       $10::bigint[], $11::bigint[], $12::bigint[], $13::numeric[], $14::numeric[], $15::bigint[], $16::int[], $17::bigint[]) l`,
    [
      settlement,
      lines.map((_, i) => i + 1),
      of(({ kind }) => kind),
      of(({ price }) => price),
      of(({ contract }) => contract),
      of(({ pointsCurrency }) => pointsCurrency),
      of(({ rule }) => rule),
      of(({ share }) => share),
      of(({ ofPeriod }) => ofPeriod),
      of(({ entries }) => entries),
      of(({ points }) => `${points}`),
      of(({ prepaid }) => `${prepaid}`),
      of(({ numerator }) => `${numerator}`),
      of(({ denominator }) => `${denominator}`),
      of(({ amount }) => `${amount}`),
      of(({ taxBasisPoints }) => taxBasisPoints),
      of(({ tax }) => `${tax}`),
    ],
  );
}

async function nextNumber(tx: pg.PoolClient, program: number): Promise<number> {
  const { rows } = await tx.query<{ last: number }>(
    `insert into settlement_number (program, last) values ($1, 1)
     on conflict (program) do update set last = settlement_number.last + 1 returning last`,
    [program],
  );
  return rows[0]!.last;
}

export interface Issuing {
  readonly program: Program;
  readonly partner: Partner;
  /** First day of the month. */
  readonly period: string;
  readonly actor: string;
}

async function store(
  tx: pg.PoolClient,
  { program, partner, period, actor }: Issuing,
  draft: Draft,
  contract: Contract | undefined,
): Promise<void> {
  const { currency, lines, amount, tax, total } = draft;
  const minimum = BigInt(contract?.invoiceMinimum ?? 0);
  const isCarried = (total < 0n ? -total : total) < minimum;
  const number = isCarried ? null : await nextNumber(tx, program.number);
  const at = programNow(program);
  const { rows } = await tx.query<{ settlement: number }>(
    `insert into settlement (program, partner, period, currency, number, status, amount, tax, contract, netting_group, issued_at, issued_by, dispute_until)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $11::timestamptz + make_interval(days => $13)) returning settlement`,
    [
      ...[program.number, partner.number, period, currency, number, isCarried ? 'carried' : 'issued'],
      ...[minorUnits(amount), minorUnits(tax), contract?.version ?? null, contract?.nettingGroup ?? null],
      ...[new Date(at).toISOString(), actor, contract?.disputeDays ?? 0],
    ],
  );
  const { settlement } = rows[0]!;
  await insertLines(tx, settlement, lines);
  await tx.query('insert into settlement_step (settlement, action, actor, amount) values ($1, $2, $3, $4)', [
    ...[settlement, isCarried ? 'carried' : 'issued', actor, minorUnits(total)],
  ]);
  if (isCarried && amount === 0n && tax === 0n) return;
  if (isCarried) {
    await tx.query(
      `insert into settlement_adjustment (partner, period, currency, kind, amount, tax, tax_basis_points, of_settlement, reason, made_by)
       values ($1, ($2::date + interval '1 month')::date, $3, 'carried', $4, $5, 0, $6, 'below the least amount of a statement', $7)`,
      [partner.number, period, currency, minorUnits(amount), minorUnits(tax), settlement, actor],
    );
    return;
  }
  const id = settlementId(settlement);
  const said = { settlement: id, number, partner: partner.name, period: period.slice(0, 7), currency };
  await writeEvents(tx, program, 'settlement.issued', [
    { member: null, key: id, at, content: { ...said, total: minorUnits(total) } },
  ]);
}

/**
 * Closes a month of a partner and issues its statements, one for each currency of money; answers whether it was open. Throws
 * `settlement_open` where it cannot be closed yet.
 */
export function issue(pool: pg.Pool, issuing: Issuing): Promise<{ readonly isNew: boolean }> {
  const { program, partner, period } = issuing;
  return inTransaction(pool, async (tx) => {
    await tx.query('insert into clearing_closed (partner) values ($1) on conflict do nothing', [
      partner.number,
    ]);
    const { rows } = await tx.query<{ is_closed: boolean }>(
      'select through >= $2::date as is_closed from clearing_closed where partner = $1 for update',
      [partner.number, period],
    );
    if (rows[0]!.is_closed) return { isNew: false };
    await checkMayClose(tx, program, partner, period);
    const drafts = await draftOf(tx, partner, period);
    await tx.query('update clearing_closed set through = $2 where partner = $1', [partner.number, period]);
    const contract = pricingContract(partner, endOfMonth(period, program.timeZone) - 1);
    for (const draft of drafts) await store(tx, issuing, draft, contract);
    return { isNew: true };
  });
}
