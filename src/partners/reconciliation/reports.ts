/** Reconciliations that were made, and the lines of theirs and ours that differ. Neither is ever changed. */
import type { Program } from '#src/earning/program.ts';
import { epochMsOf, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import type { Difference, DifferenceCounts } from './comparing.ts';
import { instantText, type Maker, type MovementKind, type MovementStatus, type Period } from './movement.ts';

const idPattern = /^rcn_([0-9a-z]{8,11})$/;

export function reconciliationId(number: number): string {
  return `rcn_${number.toString(36).padStart(8, '0')}`;
}

export function parseReconciliationId(text: string): number | undefined {
  const digits = idPattern.exec(text)?.[1];
  const number = digits === undefined ? Number.NaN : Number.parseInt(digits, 36);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

export interface Draft extends Period {
  readonly program: number;
  readonly partner: number;
  /** The number of the partner's file; of a day that was compared by its tree there is none. */
  readonly sequence: number | undefined;
  readonly digest: string;
  readonly lines: number;
  readonly matched: number;
  readonly differences: DifferenceCounts;
  /** Lines of files before that only one side had then, and that this one has matched. */
  readonly matchedLate: number;
  readonly actor: string;
}

export interface Reconciliation extends Omit<Draft, 'program' | 'partner' | 'actor'> {
  readonly number: number;
  readonly partner: string;
  readonly source: 'file' | 'tree';
  readonly madeAt: EpochMs;
  readonly madeBy: string;
}

export async function insertReconciliation(tx: Queryable, draft: Draft): Promise<number> {
  const { program, partner, sequence, from, until, digest, lines, matched, differences } = draft;
  const { rows } = await tx.query<{ number: number }>(
    `insert into reconciliation (program, partner, source, sequence, period_from, period_until, digest, lines, matched, differences, matched_late, made_by)
     values ($1, $2, $3, $4, to_timestamp($5), to_timestamp($6), $7, $8, $9, $10, $11, $12) returning reconciliation as number`,
    [
      ...[program, partner, sequence === undefined ? 'tree' : 'file', sequence ?? null],
      ...[from, until, digest, lines, matched, JSON.stringify(differences), draft.matchedLate, draft.actor],
    ],
  );
  return rows[0]!.number;
}

interface ReconciliationRow {
  readonly number: number;
  readonly partner: string;
  readonly source: 'file' | 'tree';
  readonly sequence: number | null;
  readonly from_ms: EpochMs;
  readonly until_ms: EpochMs;
  readonly digest: string;
  readonly lines: number;
  readonly matched: number;
  readonly differences: DifferenceCounts;
  readonly matchedLate: number;
  readonly made_at: EpochMs;
  readonly made_by: string;
}

const selected = `
  select r.reconciliation as number, p.name as partner, r.source, r.sequence, ${epochMsOf('r.period_from')} as from_ms,
    ${epochMsOf('r.period_until')} as until_ms, r.digest, r.lines, r.matched, r.differences,
    r.matched_late as "matchedLate", ${epochMsOf('r.made_at')} as made_at, r.made_by
  from reconciliation r join partner p using (partner)`;

function reconciliationOf({ sequence, from_ms, until_ms, made_at, made_by, ...row }: ReconciliationRow) {
  return {
    ...row,
    sequence: sequence ?? undefined,
    from: from_ms / 1_000,
    until: until_ms / 1_000,
    madeAt: made_at,
    madeBy: made_by,
  };
}

export async function reconciliationNumbered(
  db: Queryable,
  program: number,
  number: number,
): Promise<Reconciliation | undefined> {
  const { rows } = await db.query<ReconciliationRow>(
    `${selected} where r.program = $1 and r.reconciliation = $2`,
    [program, number],
  );
  return rows[0] && reconciliationOf(rows[0]);
}

/** Newest first, those before a number. */
export async function reconciliationsOf(
  db: Queryable,
  program: number,
  before: number | undefined,
  limit: number,
): Promise<Reconciliation[]> {
  const { rows } = await db.query<ReconciliationRow>(
    `${selected} where r.program = $1 and ($2::bigint is null or r.reconciliation < $2) order by r.reconciliation desc limit $3`,
    [program, before ?? null, limit],
  );
  return rows.map(reconciliationOf);
}

interface Side {
  readonly points: number;
  readonly currency: string;
  readonly occurredAt: string;
  readonly status: MovementStatus;
}

export interface DifferingLine {
  readonly number: number;
  readonly difference: Difference;
  readonly line: number | null;
  readonly madeBy: Maker;
  readonly kind: MovementKind;
  readonly reference: string;
  readonly theirs: Side | null;
  readonly ours: Side | null;
  /** The reconciliation of a later file that has matched it. */
  readonly matchedBy: number | null;
}

type SideColumns<Name extends string> = {
  readonly [Column in `${Name}_points` | `${Name}_occurred_at`]: number | null;
} & { readonly [Column in `${Name}_currency` | `${Name}_status`]: string | null };

interface LineRow extends SideColumns<'their'>, SideColumns<'our'> {
  readonly number: number;
  readonly difference: Difference;
  readonly line: number | null;
  readonly made_by: Maker;
  readonly kind: MovementKind;
  readonly reference: string;
  readonly matchedBy: number | null;
}

function sideOf(
  points: number | null,
  currency: string | null,
  occurredAt: number | null,
  status: string | null,
): Side | null {
  if (points === null || currency === null || occurredAt === null) return null;
  return { points, currency, occurredAt: instantText(occurredAt), status: status as MovementStatus };
}

/** Lines that differ, in the order of the file, those after a number. */
export async function differingLines(
  db: Queryable,
  reconciliation: number,
  question: { readonly after: number; readonly difference?: Difference | undefined; readonly limit: number },
): Promise<DifferingLine[]> {
  const seconds = (column: string) => `extract(epoch from ${column})::bigint`;
  const { rows } = await db.query<LineRow>(
    `select number, difference, line, made_by, kind, reference, their_points, their_currency,
       ${seconds('their_occurred_at')} as their_occurred_at, their_status,
       our_points, our_currency, ${seconds('our_occurred_at')} as our_occurred_at, our_status, matched_by as "matchedBy"
     from reconciliation_difference left join reconciliation_match using (reconciliation, number) where reconciliation = $1 and number > $2 and ($3::text is null or difference = $3)
     order by number limit $4`,
    [reconciliation, question.after, question.difference ?? null, question.limit],
  );
  return rows.map((row) => ({
    number: row.number,
    difference: row.difference,
    line: row.line,
    madeBy: row.made_by,
    kind: row.kind,
    reference: row.reference,
    theirs: sideOf(row.their_points, row.their_currency, row.their_occurred_at, row.their_status),
    ours: sideOf(row.our_points, row.our_currency, row.our_occurred_at, row.our_status),
    matchedBy: row.matchedBy,
  }));
}

/** What is answered about a line that differs. */
export function lineView({ matchedBy, ...line }: DifferingLine) {
  return { ...line, matchedBy: matchedBy === null ? null : reconciliationId(matchedBy) };
}

/** What is answered about one. */
export function reconciliationView(
  { mode }: Pick<Program, 'mode'>,
  { number, partner, source, sequence, from, until, ...made }: Reconciliation,
) {
  const { digest, lines, matched, matchedLate, differences, madeAt, madeBy } = made;
  return {
    object: 'reconciliation' as const,
    id: reconciliationId(number),
    mode,
    partner,
    source,
    ...(sequence === undefined ? {} : { sequence }),
    from: instantText(from),
    until: instantText(until),
    digest,
    lines,
    matched,
    matchedLate,
    differences,
    madeAt: new Date(madeAt).toISOString(),
    madeBy,
  };
}
