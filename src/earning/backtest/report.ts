/** PURE. What a backtest found: as JSON has it, and as a table for people. */
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { memberId, operationId } from '#src/values.ts';
import { moneyText } from '../rules/money.ts';
import type { BudgetBurn } from './budgets.ts';
import { moneyCurrencyOf } from './costs.ts';
import type { Draft } from './draft.ts';
import type { Replay } from './replay.ts';
import type {
  DayFigures,
  Figures,
  FunderFigures,
  MemberFigures,
  RuleFigures,
  SegmentFigures,
  Side,
} from './tally.ts';

/** Draft and ledger beside each other. */
type Both<Value> = Readonly<Record<Side, Value>>;

export interface MemberDifference extends Both<number> {
  readonly member: string;
  readonly difference: number;
}

export interface Report {
  readonly program: string;
  readonly title: string | undefined;
  readonly from: string | null;
  readonly to: string | null;
  readonly receipts: number;
  /** Receipts that the draft would have given anything else for: points, dates or funder of any award. */
  readonly receiptsOtherwise: number;
  readonly receiptsOtherwiseFirst: readonly string[];
  readonly refused: readonly { readonly reason: string; readonly receipts: number }[];
  readonly failed: readonly { readonly rule: string; readonly receipts: number }[];
  /** The currency of the file's first place; members and days are counted in it. */
  readonly currency: string;
  readonly points: Both<number>;
  /** What money and liability are in; null where the file does not say. */
  readonly moneyCurrency: string | null;
  readonly money: Both<number | null>;
  readonly liability: Both<number | null>;
  readonly rules: readonly RuleFigures[];
  /** By the segments that receipts were judged by; empty where the program has measured none. */
  readonly segments: readonly SegmentFigures[];
  readonly funders: readonly FunderFigures[];
  readonly budgets: readonly BudgetBurn[];
  readonly days: readonly DayFigures[];
  readonly members: { readonly more: number; readonly less: number; readonly same: number };
  readonly winners: readonly MemberDifference[];
  readonly losers: readonly MemberDifference[];
  /** Operations that were booked so late that counters may have been taken in another order. */
  readonly lateRows: number;
}

const membersNamedMax = 10;

/** The members with the greatest differences, kept while all are looked at. */
function extremes(members: Iterable<MemberFigures>): Pick<Report, 'members' | 'winners' | 'losers'> {
  const counts = { more: 0, less: 0, same: 0 };
  type Found = { readonly member: MemberNumber; readonly draft: number; readonly actual: number };
  const [winners, losers]: [Found[], Found[]] = [[], []];
  const differenceOf = ({ draft, actual }: Found) => draft - actual;
  const keep = (list: Found[], found: Found, sign: 1 | -1) => {
    const least = list.at(-1);
    if (list.length === membersNamedMax && least && sign * (differenceOf(found) - differenceOf(least)) <= 0)
      return;
    list.push(found);
    list.sort((a, b) => sign * (differenceOf(b) - differenceOf(a)) || a.member - b.member);
    list.length = Math.min(list.length, membersNamedMax);
  };
  for (const found of members) {
    const difference = differenceOf(found);
    if (difference === 0) counts.same += 1;
    else if (difference > 0) {
      counts.more += 1;
      keep(winners, found, 1);
    } else {
      counts.less += 1;
      keep(losers, found, -1);
    }
  }
  const view = (found: Found): MemberDifference => ({
    member: memberId(found.member),
    draft: found.draft,
    actual: found.actual,
    difference: differenceOf(found),
  });
  return { members: counts, winners: winners.map(view), losers: losers.map(view) };
}

function sumOf(rules: readonly RuleFigures[], side: Side, name: 'money' | 'liability'): number | null {
  let sum = 0;
  for (const row of rules) {
    const value = row[side][name];
    if (value === null) continue;
    sum += value;
  }
  return rules.some((row) => row[side][name] !== null) ? sum : null;
}

const pointsOfBoth = ({ draft, actual }: Both<Figures>) => draft.points + actual.points;

/** Those with the most points first; members of none last. */
function segmentsOf({ tally }: Replay): SegmentFigures[] {
  return tally
    .segments()
    .sort(
      (a, b) =>
        Number(a.segment === null) - Number(b.segment === null) ||
        pointsOfBoth(b) - pointsOfBoth(a) ||
        (`${a.segment} ${a.currency}` < `${b.segment} ${b.currency}` ? -1 : 1),
    );
}

export function reportOf(
  draft: Draft,
  replay: Replay,
  { from, to, lateRows }: { from?: EpochMs | undefined; to?: EpochMs | undefined; lateRows: number },
): Report {
  const { program, version } = draft;
  const currency = program.mainCurrency.code;
  const rules = replay.tally
    .rules()
    .sort((a, b) => pointsOfBoth(b) - pointsOfBoth(a) || (a.rule < b.rule ? -1 : 1));
  const pointsOf = (side: Side) =>
    rules.filter((row) => row.currency === currency).reduce((sum, row) => sum + row[side].points, 0);
  const both = (name: 'money' | 'liability') => ({
    draft: sumOf(rules, 'draft', name),
    actual: sumOf(rules, 'actual', name),
  });
  return {
    program: program.name,
    title: version.definition.title,
    from: from === undefined ? null : new Date(from).toISOString(),
    to: to === undefined ? null : new Date(to).toISOString(),
    receipts: replay.receipts,
    receiptsOtherwise: replay.otherwise,
    receiptsOtherwiseFirst: replay.otherwiseFirst.map((operation) => operationId('accrual', operation)),
    refused: replay.refused.map(({ name, count }) => ({ reason: name, receipts: count })),
    failed: replay.failed.map(({ name, count }) => ({ rule: name, receipts: count })),
    currency,
    points: { draft: pointsOf('draft'), actual: pointsOf('actual') },
    moneyCurrency: moneyCurrencyOf(version.definition) ?? null,
    money: both('money'),
    liability: both('liability'),
    rules,
    segments: segmentsOf(replay),
    funders: replay.tally.funders(),
    budgets: replay.budgets.burns(),
    days: replay.tally.days(),
    ...extremes(replay.members()),
    lateRows,
  };
}

function pointsText(points: number): string {
  return points.toLocaleString('en');
}

function signed(points: number): string {
  return points > 0 ? `+${pointsText(points)}` : pointsText(points);
}

/** Rows with their first `textColumns` cells to the left and figures to the right. */
function table(rows: readonly (readonly string[])[], textColumns: number): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i < textColumns ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length > 0 ? ['', title, ...lines.map((line) => `  ${line}`)] : [];
}

const figuresHead = [
  ...['currency', 'draft', 'ledger', 'difference'],
  ...['cost draft', 'ledger', 'liability draft', 'ledger'],
];

/** Points, cost and liability of a row, the draft's beside the ledger's. */
function figuresCells(
  { moneyCurrency }: Report,
  { currency, draft, actual }: Both<Figures> & { readonly currency: string },
): string[] {
  const money = (amount: number | null) =>
    amount === null || moneyCurrency === null ? '-' : moneyText({ amount, currency: moneyCurrency });
  return [
    currency,
    pointsText(draft.points),
    pointsText(actual.points),
    signed(draft.points - actual.points),
    ...[draft.money, actual.awards === 0 && draft.money === null ? null : actual.money].map(money),
    ...[draft.liability, actual.awards === 0 && draft.liability === null ? null : actual.liability].map(
      money,
    ),
  ];
}

function rulesTable(report: Report): string[] {
  const rows = report.rules.map((row) => [row.rule, ...figuresCells(report, row)]);
  return table([['rule', ...figuresHead], ...rows], 2);
}

/** How a report calls members who were in no segment. */
export const noSegment = '(none)';

function segmentsTable(report: Report): string[] {
  if (report.segments.length === 0) return [];
  const rows = report.segments.map((row) => [
    row.segment ?? noSegment,
    ...figuresCells(report, row),
    pointsText(row.receipts),
  ]);
  return table([['segment', ...figuresHead, 'receipts'], ...rows], 2);
}

function membersTable(rows: readonly MemberDifference[]): string[] {
  return table(
    rows.map(({ member, difference, draft, actual }) => [
      member,
      signed(difference),
      `${pointsText(actual)} in the ledger, ${pointsText(draft)} by the draft`,
    ]),
    1,
  );
}

function budgetsTable({ budgets, moneyCurrency }: Report): string[] {
  return budgets.map(({ budget, used, total, money, emptySince }) => {
    const cost =
      money === null || moneyCurrency === null
        ? ''
        : ` (${moneyText({ amount: money, currency: moneyCurrency })})`;
    const short = emptySince === null ? '' : `, short since ${emptySince}`;
    return `${budget}: ${pointsText(used)} of ${pointsText(total)} points${cost}${short}`;
  });
}

function fundersTable({ funders, moneyCurrency }: Report): string[] {
  if (moneyCurrency === null) return [];
  const money = (amount: number) => moneyText({ amount, currency: moneyCurrency });
  return table(
    funders.map(({ funder, draft, actual }) => [
      funder,
      `${money(draft)} by the draft`,
      `${money(actual)} in the ledger`,
    ]),
    1,
  );
}

/** The report for people. */
export function reportText(report: Report): string {
  const { receipts, receiptsOtherwise, points, currency, members } = report;
  const share = receipts === 0 ? 0 : (100 * receiptsOtherwise) / receipts;
  const span = [
    ...(report.from === null ? [] : [`from ${report.from}`]),
    ...(report.to === null ? [] : [`to before ${report.to}`]),
  ];
  return [
    `${pointsText(receipts)} receipts of ${report.program}${span.length > 0 ? ` ${span.join(' ')}` : ''}.`,
    `${pointsText(receiptsOtherwise)} of them (${share.toFixed(1)} %) would have earned otherwise.`,
    `${pointsText(points.draft)} ${currency} by the draft, ${pointsText(points.actual)} in the ledger: ${signed(points.draft - points.actual)}.`,
    `${pointsText(members.more)} members would have more, ${pointsText(members.less)} less, ${pointsText(members.same)} as much.`,
    ...section('By rule, less what was taken back', rulesTable(report)),
    ...section(
      'By segment at the time of the receipt; who was in several counts in each',
      segmentsTable(report),
    ),
    ...section('What it costs whom', fundersTable(report)),
    ...section('Budgets', budgetsTable(report)),
    ...section('Who would win most', membersTable(report.winners)),
    ...section('Who would lose most', membersTable(report.losers)),
    ...section(
      'Receipts that the draft refuses',
      report.refused.map(({ reason, receipts: count }) => `${pointsText(count)}: ${reason}`),
    ),
    ...section(
      'Rules that failed',
      report.failed.map(({ rule, receipts: count }) => `${rule}: ${pointsText(count)} receipts`),
    ),
    ...section(
      'Mind',
      report.lateRows > 0
        ? [
            `${pointsText(report.lateRows)} operations were booked long after they began; caps may differ by their order.`,
          ]
        : [],
    ),
  ].join('\n');
}
