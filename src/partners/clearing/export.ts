/** PURE. Statements and their entries as CSV: amounts in minor units, a field quoted where it has to be. */
import type { Posting } from './money.ts';
import type { StoredEntry } from './store.ts';
import type { lineView } from './views.ts';

type Cell = string | number | null;

/** A line of CSV (RFC 4180). */
export function csvLine(cells: readonly Cell[]): string {
  const texts = cells.map((cell) => {
    const text = cell === null ? '' : String(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${texts.join(',')}\r\n`;
}

const lineColumns = [
  'line',
  'kind',
  'price',
  'contract',
  'currency',
  'rule',
  'shareBasisPoints',
  'period',
  'entries',
  'points',
  'prepaid',
  'exact',
  'amount',
  'taxBasisPoints',
  'tax',
] as const satisfies readonly (keyof ReturnType<typeof lineView>)[];

interface Stated {
  readonly id?: string;
  readonly number?: number | null;
  readonly status?: string;
  readonly partner: string;
  readonly period: string;
  readonly currency: string;
  readonly amount: number;
  readonly tax: number;
  readonly total: number;
  readonly lines: readonly ReturnType<typeof lineView>[];
}

const statementColumns = ['statement', 'number', 'status', 'partner', 'month', 'moneyCurrency'];

/** Statements or drafts: a row a line, and a row `total` behind the lines of each. */
export function statementsCsv(statements: readonly Stated[]): string {
  const rows = statements.flatMap((each) => {
    const { id = '', number = null, status = 'draft', partner, period, currency } = each;
    const head: Cell[] = [id, number, status, partner, period, currency];
    const total: Cell[] = lineColumns.map((column) =>
      column === 'kind' ? 'total' : column === 'amount' || column === 'tax' ? each[column] : null,
    );
    return [
      ...each.lines.map((line) => [...head, ...lineColumns.map((column) => line[column])]),
      [...head, ...total],
    ];
  });
  return [[...statementColumns, ...lineColumns], ...rows].map(csvLine).join('');
}

const entryColumns = [
  'operation',
  'line',
  'kind',
  'price',
  'contract',
  'reference',
  'originalReference',
  'currency',
  'points',
  'prepaid',
  'share',
  'rule',
  'ofPeriod',
] as const satisfies readonly (keyof StoredEntry)[];

export const entriesCsvHead = csvLine([...entryColumns, 'occurredAt', 'at']);

export function entryCsv(entry: StoredEntry): string {
  const times = [entry.occurredAt, entry.at].map((at) => new Date(at).toISOString());
  return csvLine([...entryColumns.map((column) => entry[column]), ...times]);
}

/** The postings of a statement, a row each; `amount` is a debit, or negative a credit. */
export function postingsCsv(postings: readonly Posting[]): string {
  const rows = postings.map(({ at, cause, line, account, amount }) => [
    ...[new Date(at).toISOString(), cause, line, account, amount],
  ]);
  return [['at', 'cause', 'line', 'account', 'amount'], ...rows].map(csvLine).join('');
}
