/** PURE. Ladders as a picture: how many stand on each tier, and how many went up and down in each month. */
import { box, colours, legend, pictureOf, text } from '#src/platform/svg.ts';
import { type LadderReport, upAndDown } from './report.ts';

const width = 860;
const labelWidth = 120;
const barsWidth = 560;
const headHeight = 60;
const rowHeight = 24;
const barHeight = 14;
/** Of the bars of months, up and down together. */
const fieldHeight = 180;
const captionHeight = 24;
const gap = 30;

function share(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}

function standing({ ladder, tiers }: LadderReport, top: number): string[] {
  const all = tiers.reduce((sum, { members }) => sum + members, 0);
  const lines = [text(0, top, `${ladder}: members by tier`, ' font-weight="600"')];
  for (const [i, { tier, members }] of tiers.toReversed().entries()) {
    const y = top + 12 + i * rowHeight;
    const length = share(members, all) * barsWidth;
    const figures = `${members.toLocaleString('en')} · ${(100 * share(members, all)).toFixed(1)} %`;
    lines.push(
      text(labelWidth - 8, y + 11, tier, ' text-anchor="end"'),
      box([labelWidth, y], [length, barHeight], colours.first),
      text(Math.round(labelWidth + length + 8), y + 11, figures),
    );
  }
  return lines;
}

/** Above the line who came up, below it who went down, on one scale. */
function movements(report: LadderReport, top: number): string[] {
  const months = upAndDown(report);
  const lines = [text(0, top, `${report.ladder}: members who moved, by month`, ' font-weight="600"')];
  const [mostUp, mostDown] = [
    Math.max(0, ...months.map(({ up }) => up)),
    Math.max(0, ...months.map(({ down }) => down)),
  ];
  const scale = share(fieldHeight, mostUp + mostDown);
  const column = (width - labelWidth) / Math.max(1, months.length);
  const line = top + captionHeight + mostUp * scale;
  for (const [i, { month, up, down }] of months.entries()) {
    const x = Number((labelWidth + i * column).toFixed(1));
    const middle = Math.round(x + column / 2 - 2);
    const small = ' text-anchor="middle" font-size="10"';
    if (up > 0)
      lines.push(
        box([x, Number((line - up * scale).toFixed(1))], [column - 4, up * scale], colours.first),
        text(middle, Math.round(line - up * scale - 4), String(up), small),
      );
    if (down > 0)
      lines.push(
        box([x, Number(line.toFixed(1))], [column - 4, down * scale], colours.second),
        text(middle, Math.round(line + down * scale + 12), String(down), small),
      );
    if (month.endsWith('-01') || i === 0)
      lines.push(text(Math.round(x), Math.round(top + captionHeight + fieldHeight + 30), month));
  }
  return lines;
}

/** Draws where members stand and how they moved. */
export function tierChart(reports: readonly LadderReport[], title: string): string {
  const lines = legend('members; came up', 'went down', 150);
  let y = headHeight + 8;
  for (const report of reports) {
    lines.push(...standing(report, y));
    y += 12 + report.tiers.length * rowHeight + gap;
    if (report.movements.length === 0) continue;
    lines.push(...movements(report, y));
    y += captionHeight + fieldHeight + 30 + gap;
  }
  return pictureOf(title, width, y, lines);
}
