/**
 * PURE. A run as a picture: bars for each group, members beside what they spent, and recency against frequency as a field.
 */
import { box, legend, pictureOf, colours as svg, text } from '#src/platform/svg.ts';
import { allOf, type Group, groups, percentText, rowsOf, type Tally } from './tally.ts';

const colours = { members: svg.first, spend: svg.second } as const;
const width = 860;
const labelWidth = 190;
const figureWidth = 170;
const barsWidth = width - labelWidth - figureWidth;
const headHeight = 60;
const rowHeight = 28;
const barHeight = 9;
const rowsMax = 25;
const gap = 34;
const cellWidth = 76;
const cellHeight = 30;
const scores = ['5', '4', '3', '2', '1'] as const;

function bar(y: number, share: number, colour: string): string {
  return box([labelWidth, y], [share * barsWidth, barHeight], colour);
}

function shareOf(part: number, whole: number): number {
  return whole > 0 ? Math.max(0, part / whole) : 0;
}

function rowText(name: string, group: Group, all: Group, y: number): string {
  const shares = [shareOf(group.members, all.members), shareOf(group.spend, all.spend)] as const;
  const figures = `${group.members.toLocaleString('en')} · ${percentText(group.members, all.members)} / ${percentText(group.spend, all.spend)}`;
  return [
    text(labelWidth - 8, y + barHeight + 4, name, ' text-anchor="end"'),
    bar(y, shares[0], colours.members),
    bar(y + barHeight + 1, shares[1], colours.spend),
    text(Math.round(labelWidth + Math.max(...shares) * barsWidth + 8), y + barHeight + 4, figures),
  ].join('');
}

/** Recency down, frequency across: the darker, the more members. */
function field(tally: Tally, all: Group, top: number): string[] {
  const cells = tally.cell ?? {};
  const of = (recency: string, frequency: string) => cells[`${recency}.${frequency}`]?.members ?? 0;
  const largest = Math.max(
    1,
    ...scores.flatMap((recency) => scores.map((frequency) => of(recency, frequency))),
  );
  const lines = [text(0, top - 12, 'recency score (down) and frequency score (across), members')];
  for (const [row, recency] of scores.entries()) {
    const y = top + row * cellHeight;
    lines.push(text(labelWidth - 8, y + 19, recency, ' text-anchor="end"'));
    for (const [column, frequency] of scores.entries()) {
      const members = of(recency, frequency);
      const x = labelWidth + column * cellWidth;
      const opacity = (0.08 + 0.72 * (members / largest)).toFixed(2);
      lines.push(
        `<rect x="${x}" y="${y}" width="${cellWidth - 2}" height="${cellHeight - 2}" fill="${colours.members}" fill-opacity="${opacity}"/>`,
        text(x + cellWidth / 2, y + 19, percentText(members, all.members), ' text-anchor="middle"'),
      );
    }
  }
  const bottom = top + scores.length * cellHeight + 14;
  for (const [column, frequency] of scores.entries())
    lines.push(
      text(labelWidth + column * cellWidth + cellWidth / 2, bottom, frequency, ' text-anchor="middle"'),
    );
  return lines;
}

/** Draws what a run found. */
export function chartOf(tally: Tally, title: string): string {
  const all = allOf(tally);
  const lines: string[] = [];
  let y = headHeight;
  for (const group of groups) {
    if (group.fact.endsWith('_score')) continue;
    const rows = rowsOf(tally, group).slice(0, rowsMax);
    if (rows.length === 0) continue;
    lines.push(text(0, y + 4, group.title, ' font-weight="600"'));
    y += 16;
    for (const [name, row] of rows) {
      lines.push(rowText(name, row, all, y));
      y += rowHeight;
    }
    y += gap - rowHeight / 2;
  }
  const fieldTop = y + 12;
  const height = fieldTop + scores.length * cellHeight + 30;
  const meaning = legend('of the members', 'of what was spent', 130);
  return pictureOf(title, width, height, [...meaning, ...lines, ...field(tally, all, fieldTop)]);
}
