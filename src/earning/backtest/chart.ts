/**
 * PURE. A backtest as a picture: points by rule, by segment and by day, the draft's beside the ledger's.
 */
import { box, legend, pictureOf, colours as svg, text } from '#src/platform/svg.ts';
import { noSegment, type Report } from './report.ts';
import type { DayFigures, RuleFigures, Side } from './tally.ts';

const colours = { draft: svg.first, actual: svg.second } as const;
const width = 860;
const labelWidth = 190;
const figureWidth = 190;
const barsWidth = width - labelWidth - figureWidth;
const headHeight = 62;
const rowHeight = 30;
const barHeight = 9;
const rowsShownMax = 25;
const daysHeight = 160;
const gap = 46;

function bar(y: number, points: number, largest: number, colour: string): string {
  return box([labelWidth, y], [(Math.max(0, points) / largest) * barsWidth, barHeight], colour);
}

/** Points of a rule or a segment. */
interface Row extends Pick<RuleFigures, 'currency' | Side> {
  readonly label: string;
}

function pointsRow({ label, currency, draft, actual }: Row, y: number, largest: number): string {
  const figures = `${draft.points.toLocaleString('en')} / ${actual.points.toLocaleString('en')}`;
  const end = labelWidth + (Math.max(draft.points, actual.points, 0) / largest) * barsWidth + 8;
  return [
    text(labelWidth - 8, y + barHeight + 4, label, ' text-anchor="end"'),
    bar(y, draft.points, largest, colours.draft),
    bar(y + barHeight + 1, actual.points, largest, colours.actual),
    text(Math.round(end), y + barHeight + 4, `${figures} ${currency}`),
  ].join('');
}

/** One line through the days; a day without receipts is not drawn as zero but passed over. */
function line(days: readonly DayFigures[], side: 'draft' | 'actual', top: number, largest: number): string {
  const step = days.length > 1 ? (width - 20) / (days.length - 1) : 0;
  const points = days.map((day, i) => {
    const y = top + daysHeight - (Math.max(0, day[side]) / largest) * daysHeight;
    return `${(10 + i * step).toFixed(1)},${y.toFixed(1)}`;
  });
  const stroke = side === 'draft' ? '2' : '4';
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${colours[side]}" stroke-width="${stroke}" stroke-opacity="0.8"/>`;
}

function daysPanel({ days, currency }: Report, top: number): string[] {
  const [first, last] = [days[0], days.at(-1)];
  if (!first || !last || days.length < 2) return [];
  const largest = Math.max(1, ...days.map(({ draft, actual }) => Math.max(draft, actual)));
  const bottom = top + daysHeight + 16;
  return [
    text(0, top - 14, `${currency} by day, at most ${largest.toLocaleString('en')}`),
    line(days, 'actual', top, largest),
    line(days, 'draft', top, largest),
    text(10, bottom, first.date),
    text(width - 10, bottom, last.date, ' text-anchor="end"'),
  ];
}

/** Rows below each other from `top` on. */
function rowsPanel(rows: readonly Row[], top: number): string[] {
  const largest = Math.max(1, ...rows.flatMap(({ draft, actual }) => [draft.points, actual.points]));
  return rows.map((row, index) => pointsRow(row, top + index * rowHeight, largest));
}

/** Draws a report. */
export function chartOf(report: Report): string {
  const rules = report.rules.slice(0, rowsShownMax).map((row) => ({ ...row, label: row.rule }));
  const segments = report.segments
    .slice(0, rowsShownMax)
    .map((row) => ({ ...row, label: row.segment ?? noSegment }));
  const segmentsTop = headHeight + rules.length * rowHeight + gap;
  const daysTop = segments.length === 0 ? segmentsTop : segmentsTop + segments.length * rowHeight + gap;
  const height = daysTop + (report.days.length > 1 ? daysHeight + 30 : -gap);
  const title = `${report.receipts.toLocaleString('en')} receipts of ${report.program}: what a draft would have given`;
  return pictureOf(title, width, height, [
    ...legend('by the draft', 'in the ledger', 110),
    ...rowsPanel(rules, headHeight),
    ...(segments.length === 0 ? [] : [text(0, segmentsTop - 14, 'by segment at the time of the receipt')]),
    ...rowsPanel(segments, segmentsTop),
    ...daysPanel(report, daysTop),
  ]);
}
