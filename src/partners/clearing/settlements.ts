/** Statements as they are stored: reading them, and what may become of one after it was issued. */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { epochMsOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { Line } from './lines.ts';
import { openMonth } from './months.ts';

export const statuses = ['issued', 'disputed', 'paid', 'carried'] as const;
export type Status = (typeof statuses)[number];

export interface Settlement {
  readonly settlement: number;
  readonly program: number;
  readonly partner: number;
  readonly partnerName: string;
  /** First day of the month. */
  readonly period: string;
  readonly currency: string;
  readonly number: number | null;
  readonly status: Status;
  readonly amount: number;
  readonly tax: number;
  readonly total: number;
  readonly settled: number;
  readonly contract: number | null;
  readonly nettingGroup: string | null;
  readonly issuedAt: EpochMs;
  readonly issuedBy: string;
  readonly disputeUntil: EpochMs;
  readonly disputed: readonly number[];
}

export interface StoredLine extends Omit<Line, 'points' | 'prepaid' | 'amount' | 'tax'> {
  readonly line: number;
  readonly points: number;
  readonly prepaid: number;
  readonly amount: number;
  readonly tax: number;
}

export interface SettlementStep {
  readonly at: EpochMs;
  readonly action: string;
  readonly actor: string;
  readonly reason: string | null;
  readonly lines: readonly number[];
  readonly amount: number | null;
  /** Before the days were over in which it could be disputed, by agreement. */
  readonly early: boolean;
}

/** `stm_` and the statement's number in the database in base 36. */
export function settlementId(settlement: number): string {
  return `stm_${settlement.toString(36).padStart(8, '0')}`;
}

export function parseSettlementId(text: string): number | undefined {
  const match = /^stm_([0-9a-z]{8,11})$/.exec(text);
  const settlement = match ? Number.parseInt(match[1]!, 36) : Number.NaN;
  return Number.isSafeInteger(settlement) && settlement > 0 ? settlement : undefined;
}

const columns = `s.settlement, s.program, s.partner, p.name as "partnerName", s.period::text, s.currency, s.number, s.status, s.amount,
  s.tax, s.amount + s.tax as total, s.settled, s.contract, s.netting_group as "nettingGroup", ${epochMsOf('s.issued_at')} as "issuedAt",
  s.issued_by as "issuedBy", ${epochMsOf('s.dispute_until')} as "disputeUntil", s.disputed`;

export interface SettlementsAsk {
  readonly program: number;
  readonly partner?: number | undefined;
  /** First day of the month. */
  readonly period?: string | undefined;
  readonly status?: Status | undefined;
  /** After this one. */
  readonly after?: number | undefined;
  readonly limit: number;
}

/** Statements of a program in the order in which they were issued. */
export async function settlementsOf(db: Queryable, ask: SettlementsAsk): Promise<Settlement[]> {
  const { program, partner, period, status, after = 0, limit } = ask;
  const { rows } = await db.query<Settlement>(
    `select ${columns} from settlement s join partner p using (partner)
     where s.program = $1 and s.settlement > $2 and ($3::int is null or s.partner = $3) and ($4::date is null or s.period = $4)
       and ($5::text is null or s.status = $5) order by s.settlement limit $6`,
    [program, after, partner ?? null, period ?? null, status ?? null, limit],
  );
  return rows;
}

/** A statement; with `isHeld` nobody else changes it until the database transaction ends. */
export async function settlementOf(
  db: Queryable,
  program: number,
  settlement: number,
  isHeld = false,
): Promise<Settlement | undefined> {
  const { rows } = await db.query<Settlement>(
    `select ${columns} from settlement s join partner p using (partner)
     where s.program = $1 and s.settlement = $2 ${isHeld ? 'for update of s' : ''}`,
    [program, settlement],
  );
  return rows[0];
}

interface LineRow extends Omit<StoredLine, 'numerator' | 'denominator'> {
  readonly numerator: string;
  readonly denominator: string;
}

export async function linesOf(db: Queryable, settlement: number): Promise<StoredLine[]> {
  const { rows } = await db.query<LineRow>(
    `select line, kind, price, contract, points_currency as "pointsCurrency", rule, share, of_period::text as "ofPeriod", entries,
       points, prepaid, numerator::text, denominator::text, amount, tax_basis_points as "taxBasisPoints", tax
     from settlement_line where settlement = $1 order by line`,
    [settlement],
  );
  return rows.map((row) => ({
    ...row,
    numerator: BigInt(row.numerator),
    denominator: BigInt(row.denominator),
  }));
}

export async function stepsOf(db: Queryable, settlement: number): Promise<SettlementStep[]> {
  const { rows } = await db.query<SettlementStep>(
    `select ${epochMsOf('at')} as at, action, actor, reason, lines, amount, early from settlement_step where settlement = $1 order by step`,
    [settlement],
  );
  return rows;
}

/** What can be paid now: all that is not settled and not in dispute. */
export function payable(
  { total, settled, disputed }: Pick<Settlement, 'total' | 'settled' | 'disputed'>,
  lines: readonly Pick<StoredLine, 'line' | 'amount' | 'tax'>[],
): number {
  const inDispute = lines
    .filter(({ line }) => disputed.includes(line))
    .reduce((sum, { amount, tax }) => sum + amount + tax, 0);
  const left = total - settled;
  const open = left - inDispute;
  // Lines of both signs: nothing is paid the other way while a part is in dispute, and never more than is left.
  if (Math.sign(open) !== Math.sign(left)) return 0;
  return Math.abs(open) > Math.abs(left) ? left : open;
}

export interface Deed {
  readonly program: Program;
  readonly settlement: number;
  readonly actor: string;
  readonly reason: string;
}

export async function noteStep(
  tx: pg.PoolClient,
  deed: Pick<Deed, 'settlement' | 'actor' | 'reason'>,
  action: string,
  {
    lines = [],
    amount = null,
    early = false,
  }: Partial<Pick<SettlementStep, 'lines' | 'amount' | 'early'>> = {},
): Promise<void> {
  await tx.query(
    'insert into settlement_step (settlement, action, actor, reason, lines, amount, early) values ($1, $2, $3, $4, $5, $6, $7)',
    [deed.settlement, action, deed.actor, deed.reason, lines, amount, early],
  );
}

/** Changes a statement that is there, alone; answers it as it is then. */
async function change(
  pool: pg.Pool,
  { program, settlement }: Deed,
  work: (tx: pg.PoolClient, found: Settlement) => Promise<void>,
): Promise<Settlement> {
  return inTransaction(pool, async (tx) => {
    const found = await settlementOf(tx, program.number, settlement, true);
    if (!found) throw new Problem('not_found', 'The program has no such statement.');
    await work(tx, found);
    return (await settlementOf(tx, program.number, settlement))!;
  });
}

function wrongStatus(found: Settlement, wanted: string): Problem {
  return new Problem('settlement_status', `It is ${found.status}, and has to be ${wanted}.`, {
    status_now: found.status,
  });
}

/** Puts lines of a statement in dispute; without lines all of them. */
export function dispute(
  pool: pg.Pool,
  deed: Deed,
  wanted: readonly number[] | undefined,
): Promise<Settlement> {
  return change(pool, deed, async (tx, found) => {
    if (found.status !== 'issued') throw wrongStatus(found, 'issued');
    if (programNow(deed.program) >= found.disputeUntil)
      throw new Problem(
        'settlement_status',
        `It could be disputed until ${new Date(found.disputeUntil).toISOString()}.`,
      );
    const all = (await linesOf(tx, found.settlement)).map(({ line }) => line);
    const lines = [...new Set(wanted ?? all)].sort((a, b) => a - b);
    const unknown = lines.find((line) => !all.includes(line));
    if (unknown !== undefined || lines.length === 0)
      throw new Problem('validation_failed', `The statement has no line ${unknown ?? 'at all'}.`, {
        errors: [{ pointer: '/lines', detail: 'has to name lines of the statement' }],
      });
    await tx.query(`update settlement set status = 'disputed', disputed = $2 where settlement = $1`, [
      found.settlement,
      lines,
    ]);
    await noteStep(tx, deed, 'disputed', { lines });
  });
}

/**
 * Ends a dispute. `upheld`: the statement stands. `credited`: it stands too, for it is closed, and the first open month takes the
 * disputed lines back.
 */
export function endDispute(pool: pg.Pool, deed: Deed, outcome: 'upheld' | 'credited'): Promise<Settlement> {
  return change(pool, deed, async (tx, found) => {
    if (found.status !== 'disputed') throw wrongStatus(found, 'disputed');
    if (outcome === 'credited') await credit(tx, deed, found);
    await tx.query(`update settlement set status = 'issued', disputed = '{}' where settlement = $1`, [
      found.settlement,
    ]);
    await noteStep(tx, deed, outcome, { lines: found.disputed });
  });
}

async function credit(tx: pg.PoolClient, deed: Deed, found: Settlement): Promise<void> {
  const { rows } = await tx.query<{ through: string }>(
    'select through::text from clearing_closed where partner = $1 for share',
    [found.partner],
  );
  await tx.query(
    `insert into settlement_adjustment (partner, period, currency, kind, amount, tax, tax_basis_points, of_settlement, of_line, reason, made_by)
     select $2, $3, $4, 'credit', -l.amount, -l.tax, l.tax_basis_points, l.settlement, l.line, $5, $6
     from settlement_line l where l.settlement = $1 and l.line = any($7) on conflict do nothing`,
    [
      ...[found.settlement, found.partner, openMonth(found.period, rows[0]!.through), found.currency],
      ...[deed.reason, deed.actor, found.disputed],
    ],
  );
}

/**
 * Whether a statement can still be disputed, which what is paid or netted cannot any more: then it is settled early. Throws where nobody
 * says that the partner has agreed to that (`mayBeEarly`).
 */
export function checkDisputeDays(
  program: Program,
  { settlement, disputeUntil }: Pick<Settlement, 'settlement' | 'disputeUntil'>,
  mayBeEarly: boolean,
): boolean {
  if (programNow(program) >= disputeUntil) return false;
  if (mayBeEarly) return true;
  throw new Problem(
    'settlement_status',
    `${settlementId(settlement)} can be disputed until ${new Date(disputeUntil).toISOString()}; say so where it is to be settled early.`,
  );
}

/** Settles a part of a statement; what is whole is paid. */
export async function settle(tx: pg.PoolClient, found: Settlement, amount: number): Promise<void> {
  const settled = found.settled + amount;
  const isPaid = settled === found.total && found.disputed.length === 0;
  await tx.query('update settlement set settled = $2, status = $3 where settlement = $1', [
    found.settlement,
    settled,
    isPaid ? 'paid' : found.status,
  ]);
}

/** Notes that everything was paid that is not in dispute. */
export function pay(pool: pg.Pool, deed: Deed, mayBeEarly: boolean): Promise<Settlement> {
  return change(pool, deed, async (tx, found) => {
    if (found.status !== 'issued' && found.status !== 'disputed') throw wrongStatus(found, 'issued');
    const early = checkDisputeDays(deed.program, found, mayBeEarly);
    const amount = payable(found, await linesOf(tx, found.settlement));
    if (amount === 0 && found.status === 'disputed')
      throw new Problem('settlement_status', 'All that is not paid of it is in dispute.');
    await settle(tx, found, amount);
    await noteStep(tx, deed, 'paid', { amount, early });
  });
}
