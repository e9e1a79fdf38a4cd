/** PURE. What an audit found: one row a check, and for each finding where it is and what is wrong. */
import type { MemberNumber } from '#src/values.ts';
import { memberId } from '#src/values.ts';

/** Every check, in the order in which they are printed, and what it compares. */
export const checks = {
  density: 'numbers of each shard and epoch, 1 to the end without a gap',
  blocks: 'blocks of the hash chain, recomputed from the operations',
  entries: 'entries, recomputed from each operation',
  legs: 'operations whose legs must sum to zero in each currency',
  ended: 'points that returns took from breakage, and the lots in which they say that these had ended',
  lots: 'lots, recomputed from entries',
  'lot terms': 'lots whose expiry, availability and funder must be those of their legs',
  debts: 'debts, recomputed from entries',
  holds: 'parts of holds, recomputed from entries',
  accounts: 'account balances, recomputed from entries',
  counters: 'counters of members, recomputed from operations',
  budgets: 'what budgets gave and got back, recomputed from operations, and their leases',
  'zero sum': 'sums over all accounts of a shard, program and currency',
  transfers: 'points on their way between members',
  references: 'references and their operations',
  statuses: 'member statuses, recomputed from operations',
  'hot members': 'members in Redis, against the books at the same sequence',
  'hot operations': 'states of operations in Redis, against the books at the same sequence',
} as const;
export type CheckName = keyof typeof checks;

/** Findings that are listed one by one; beyond that they are counted. */
export const listedMax = 50;

/** Where a finding is; only what applies is present. */
export interface Where {
  readonly shard?: number | undefined;
  readonly epoch?: number | undefined;
  readonly seq?: number | undefined;
  /** `first-last` of a block. */
  readonly block?: string | undefined;
  readonly program?: number | undefined;
  readonly member?: MemberNumber | undefined;
  readonly operation?: string | undefined;
  readonly line?: number | undefined;
  readonly account?: string | undefined;
  readonly party?: number | undefined;
  readonly currency?: number | undefined;
  readonly lot?: number | undefined;
  readonly hold?: string | undefined;
  readonly counter?: number | undefined;
  readonly period?: number | undefined;
  readonly budget?: number | undefined;
  readonly lease?: number | undefined;
  readonly transfer?: string | undefined;
  readonly reference?: string | undefined;
}

export interface Finding {
  readonly check: CheckName;
  readonly where: Where;
  readonly detail: string;
  /** By how many points the two sides differ; 0 where it is not a matter of points. */
  readonly points: number;
}

export interface CheckRow {
  readonly check: CheckName;
  readonly compared: number;
  /** What moved faster than it could be read, or was not in the books in time. */
  readonly skipped: number;
  readonly findings: number;
  readonly drift: number;
}

export interface AuditReport {
  readonly checks: readonly CheckRow[];
  readonly findings: readonly Finding[];
  /** What is stated elsewhere and no fault of the books: lost ranges, quarantined records. */
  readonly notes: readonly string[];
  /**
   * Points by which balances differ. One damage is seen by several checks (a changed entry also by its lot and account),
   * so this is the largest sum of any one check, not the sum over checks.
   */
  readonly driftPoints: number;
  readonly clean: boolean;
}

/** Collects what the checks find. */
export interface Collector {
  compared(check: CheckName, count: number): void;
  skipped(check: CheckName, count: number): void;
  found(finding: Finding): void;
  /** Findings that were counted elsewhere and are not listed. */
  foundMore(check: CheckName, count: number, points: number): void;
  note(text: string): void;
  report(): AuditReport;
}

export function createCollector(): Collector {
  const rows = new Map<CheckName, { compared: number; skipped: number; findings: number; drift: number }>();
  const listed = new Map<CheckName, Finding[]>();
  const notes: string[] = [];
  function rowOf(check: CheckName) {
    const row = rows.get(check) ?? { compared: 0, skipped: 0, findings: 0, drift: 0 };
    rows.set(check, row);
    return row;
  }
  function foundMore(check: CheckName, count: number, points: number): void {
    const row = rowOf(check);
    row.findings += count;
    row.drift += points;
  }
  return {
    compared(check, count) {
      rowOf(check).compared += count;
    },
    skipped(check, count) {
      rowOf(check).skipped += count;
    },
    found(finding) {
      foundMore(finding.check, 1, finding.points);
      const list = listed.get(finding.check) ?? [];
      listed.set(finding.check, list);
      if (list.length < listedMax) list.push(finding);
    },
    foundMore,
    note: (text) => void notes.push(text),
    report() {
      const names = Object.keys(checks) as CheckName[];
      const ordered = names.flatMap((check) => {
        const row = rows.get(check);
        return row ? [{ check, ...row }] : [];
      });
      return {
        checks: ordered,
        findings: names.flatMap((check) => listed.get(check) ?? []),
        notes,
        driftPoints: ordered.reduce((most, row) => Math.max(most, row.drift), 0),
        clean: ordered.every((row) => row.findings === 0),
      };
    },
  };
}

/** `shard 3, epoch 1, number 17, member mem_0000000a, lot 2`. */
export function whereText(where: Where): string {
  const words: string[] = [];
  const say = (word: string, value: string | number | undefined) => {
    if (value !== undefined) words.push(`${word} ${value}`);
  };
  say('shard', where.shard);
  say('epoch', where.epoch);
  say('number', where.seq);
  say('block', where.block);
  say('program', where.program);
  say('member', where.member === undefined ? undefined : memberId(where.member));
  say('operation', where.operation);
  say('line', where.line);
  say('account', where.account);
  say('party', where.party);
  say('currency', where.currency);
  say('lot', where.lot);
  say('hold', where.hold);
  say('counter', where.counter);
  say('period', where.period);
  say('transfer', where.transfer);
  say('reference', where.reference);
  return words.join(', ');
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** The report as a table and a list of findings; the last line says the drift. */
export function renderReport(report: AuditReport): string {
  const heads = ['check', 'compared', 'findings'] as const;
  const rows = report.checks.map((row) => [
    row.check,
    grouped(row.compared),
    grouped(row.findings),
    row.skipped > 0
      ? `${grouped(row.skipped)} skipped: always moving, or not in the books in time`
      : checks[row.check],
  ]);
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[], comment: string) =>
    `${cells[0]!.padEnd(widths[0]!)}  ${cells[1]!.padStart(widths[1]!)}  ${cells[2]!.padStart(widths[2]!)}  ${comment}`.trimEnd();
  const lines = [line(heads, ''), ...rows.map((row) => line(row, row[3]!))];
  if (report.notes.length > 0) lines.push('', ...report.notes);
  for (const { check, findings } of report.checks) {
    if (findings === 0) continue;
    lines.push('');
    for (const finding of report.findings) {
      if (finding.check === check) lines.push(`${check}: ${whereText(finding.where)}: ${finding.detail}`);
    }
    if (findings > listedMax) lines.push(`${check}: … and ${grouped(findings - listedMax)} more`);
  }
  const total = report.checks.reduce((sum, row) => sum + row.findings, 0);
  lines.push(
    '',
    `${total === 0 ? 'no findings' : `${grouped(total)} finding${total === 1 ? '' : 's'}`}, drift ${grouped(report.driftPoints)} points`,
  );
  return lines.join('\n');
}
