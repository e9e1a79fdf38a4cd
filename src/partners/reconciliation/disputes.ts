/**
 * The queue of lines that the two sides have to agree on. A dispute is opened about a line that differs, answered when the other
 * side has said what it knows, and settled when it is clear whose books stand. Each step names who and why and stays for ever;
 * nothing is moved by it: what follows, such as a reversal, is a movement like any other.
 *
 * It is due as many days after it was opened as the contract gives for disputes, in the program's zone.
 */
import { DateTime } from 'luxon';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { contractAt } from '#src/partners/contracts/arithmetic.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { epochMsOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import {
  type DifferingLine,
  differingLines,
  lineView,
  reconciliationId,
  reconciliationNumbered,
} from './reports.ts';

export const disputeStatuses = ['open', 'answered', 'settled'] as const;
export type DisputeStatus = (typeof disputeStatuses)[number];
/** Whose books stand. */
export const disputeOutcomes = ['ours', 'theirs', 'neither'] as const;
export type DisputeOutcome = (typeof disputeOutcomes)[number];

const idPattern = /^dsp_([0-9a-z]{8,11})$/;

export function disputeId(number: number): string {
  return `dsp_${number.toString(36).padStart(8, '0')}`;
}

export function parseDisputeId(text: string): number | undefined {
  const digits = idPattern.exec(text)?.[1];
  const number = digits === undefined ? Number.NaN : Number.parseInt(digits, 36);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** Who does something, and why. */
export interface Reasoned {
  readonly program: Program;
  readonly actor: string;
  readonly reason: string;
}

interface Step {
  readonly status: DisputeStatus;
  readonly actor: string;
  readonly reason: string;
  readonly at: string;
}

export interface Dispute {
  readonly number: number;
  readonly partner: string;
  readonly reconciliation: number;
  readonly status: DisputeStatus;
  readonly outcome: DisputeOutcome | null;
  /** ISO. */
  readonly dueOn: string;
  readonly line: DifferingLine;
  readonly history: readonly Step[];
}

function today(program: Program): DateTime {
  return DateTime.fromMillis(programNow(program), { zone: program.timeZone });
}

async function writeStep(
  tx: Queryable,
  dispute: number,
  status: DisputeStatus,
  { actor, reason }: Reasoned,
): Promise<void> {
  await tx.query(
    `insert into dispute_step (dispute, step, status, actor, reason)
     select $1, 1 + count(*), $2, $3, $4 from dispute_step where dispute = $1`,
    [dispute, status, actor, reason],
  );
}

async function lineOf(db: Queryable, reconciliation: number, number: number): Promise<DifferingLine> {
  const [line] = await differingLines(db, reconciliation, { after: number - 1, limit: 1 });
  if (line?.number !== number)
    throw new Problem('not_found', 'The reconciliation has no such line that differs.');
  return line;
}

/** Opens a dispute about a line. Throws `dispute_not_open` where the line has one. */
export async function openDispute(
  pool: pg.Pool,
  { reconciliation, line }: { readonly reconciliation: number; readonly line: number },
  by: Reasoned,
): Promise<Dispute> {
  const { program } = by;
  const found = await reconciliationNumbered(pool, program.number, reconciliation);
  if (!found) throw new Problem('not_found', 'There is no such reconciliation.');
  const { matchedBy } = await lineOf(pool, reconciliation, line);
  if (matchedBy !== null)
    throw new Problem('dispute_not_open', `The line was matched by ${reconciliationId(matchedBy)} since.`);
  const partner = (await partnerNamed(pool, program.number, found.partner))!;
  // Of a partner whose contract is over the last one counts.
  const contract = contractAt(partner, programNow(program)) ?? partner.contracts.at(-1);
  const dueOn = today(program)
    .plus({ days: contract?.disputeDays ?? 0 })
    .toISODate();
  const dispute = await inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<{ dispute: number }>(
      `insert into dispute (program, partner, reconciliation, number, status, due_on) values ($1, $2, $3, $4, 'open', $5)
       on conflict (reconciliation, number) do nothing returning dispute`,
      [program.number, partner.number, reconciliation, line, dueOn],
    );
    if (!rows[0]) throw new Problem('dispute_not_open', 'The line is disputed already.');
    await writeStep(tx, rows[0].dispute, 'open', by);
    return rows[0].dispute;
  });
  return (await disputeNumbered(pool, program.number, dispute))!;
}

/** What may follow what. */
const before: Readonly<Record<'answered' | 'settled', readonly DisputeStatus[]>> = {
  answered: ['open'],
  settled: ['open', 'answered'],
};

async function advance(
  pool: pg.Pool,
  dispute: number,
  to: 'answered' | 'settled',
  outcome: DisputeOutcome | null,
  by: Reasoned,
): Promise<Dispute> {
  const { program } = by;
  await inTransaction(pool, async (tx) => {
    const { rowCount } = await tx.query(
      'update dispute set status = $3, outcome = $4 where program = $1 and dispute = $2 and status = any($5)',
      [program.number, dispute, to, outcome, before[to]],
    );
    if (rowCount === 1) await writeStep(tx, dispute, to, by);
    else {
      const present = await disputeNumbered(tx, program.number, dispute);
      if (!present) throw new Problem('not_found', 'There is no such dispute.');
      throw new Problem('dispute_not_open', `The dispute is ${present.status}.`);
    }
  });
  return (await disputeNumbered(pool, program.number, dispute))!;
}

/** Keeps what the other side has said about it. */
export function answerDispute(pool: pg.Pool, dispute: number, by: Reasoned): Promise<Dispute> {
  return advance(pool, dispute, 'answered', null, by);
}

/** Ends it. */
export function settleDispute(
  pool: pg.Pool,
  dispute: number,
  outcome: DisputeOutcome,
  by: Reasoned,
): Promise<Dispute> {
  return advance(pool, dispute, 'settled', outcome, by);
}

interface DisputeRow {
  readonly number: number;
  readonly partner: string;
  readonly reconciliation: number;
  readonly line: number;
  readonly status: DisputeStatus;
  readonly outcome: DisputeOutcome | null;
  readonly due_on: string;
}

const selected = `select d.dispute as number, p.name as partner, d.reconciliation, d.number as line, d.status, d.outcome, d.due_on::text
  from dispute d join partner p using (partner)`;

async function withHistory(db: Queryable, row: DisputeRow): Promise<Dispute> {
  const { rows } = await db.query<Omit<Step, 'at'> & { at: EpochMs }>(
    `select status, actor, reason, ${epochMsOf('at')} as at from dispute_step where dispute = $1 order by step`,
    [row.number],
  );
  const { due_on: dueOn, line, ...rest } = row;
  return {
    ...rest,
    dueOn,
    line: await lineOf(db, row.reconciliation, line),
    history: rows.map((step) => ({ ...step, at: new Date(step.at).toISOString() })),
  };
}

export async function disputeNumbered(
  db: Queryable,
  program: number,
  dispute: number,
): Promise<Dispute | undefined> {
  const { rows } = await db.query<DisputeRow>(`${selected} where d.program = $1 and d.dispute = $2`, [
    program,
    dispute,
  ]);
  return rows[0] && withHistory(db, rows[0]);
}

/** Those that are not settled, or all of a status, oldest first. */
export async function disputesOf(
  db: Queryable,
  program: number,
  {
    status,
    after,
    limit,
  }: { readonly status?: DisputeStatus | undefined; readonly after: number; readonly limit: number },
): Promise<Dispute[]> {
  const { rows } = await db.query<DisputeRow>(
    `${selected} where d.program = $1 and d.dispute > $2 and (case when $3::text is null then d.status <> 'settled' else d.status = $3 end)
     order by d.dispute limit $4`,
    [program, after, status ?? null, limit],
  );
  const found: Dispute[] = [];
  for (const row of rows) found.push(await withHistory(db, row));
  return found;
}

/** How many of all programs are not settled, and of how many the day has passed. */
export async function measureDisputes(
  db: Queryable,
): Promise<{ readonly open: number; readonly overdue: number }> {
  const { rows } = await db.query<{ open: number; overdue: number }>(
    `select count(*)::int as open,
       (count(*) filter (where d.due_on < ((now() + g.clock_offset_ms * interval '1 millisecond') at time zone g.time_zone)::date))::int as overdue
     from dispute d join program g on g.number = d.program where d.status <> 'settled'`,
  );
  return rows[0]!;
}

export function disputeView({ mode }: Pick<Program, 'mode'>, dispute: Dispute) {
  const { number, partner, reconciliation, status, outcome, dueOn, line, history } = dispute;
  return {
    object: 'dispute' as const,
    id: disputeId(number),
    mode,
    partner,
    reconciliation: reconciliationId(reconciliation),
    status,
    ...(outcome === null ? {} : { outcome }),
    dueOn,
    line: lineView(line),
    history,
  };
}
