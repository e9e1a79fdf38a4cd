/**
 * PURE. The figures as a chart for a page: one bar a contestant, solid up to its slowest round, pale up to its fastest, a
 * stroke at the median.
 */
import { escaped, pictureOf, colours as svg, text } from '#src/platform/svg.ts';
import type { Machine } from './machine.ts';
import { type Entry, spread } from './marks.ts';

export const colours = { text: svg.text, service: svg.first, other: svg.second } as const;

const width = 860;
const labelWidth = 190;
const figureWidth = 190;
const barsWidth = width - labelWidth - figureWidth;
const headHeight = 52;
const rowHeight = 26;
const barHeight = 14;

function length(value: number, largest: number): string {
  return ((value / largest) * barsWidth).toFixed(1);
}

function row({ contestant, rounds }: Entry, index: number, largestOfAll: number): string {
  const { median, smallest, largest } = spread(rounds.map(({ perSecond }) => perSecond));
  const y = headHeight + index * rowHeight;
  const colour = contestant.name.startsWith('service') ? colours.service : colours.other;
  const bar = (to: number, rest: string) =>
    `<rect x="${labelWidth}" y="${y}" width="${length(to, largestOfAll)}" height="${barHeight}" fill="${colour}"${rest}/>`;
  const at = (labelWidth + Number(length(median, largestOfAll))).toFixed(1);
  const figure = `${Math.round(median).toLocaleString('en')} ${contestant.counted.name}/s`;
  const label = `y="${y + barHeight - 2}" fill="${colours.text}"`;
  return [
    `<g><title>${escaped(`${contestant.title}: ${Math.round(smallest)} to ${Math.round(largest)} ${contestant.counted.name}/s`)}</title>`,
    `<text x="${labelWidth - 8}" ${label} text-anchor="end">${escaped(contestant.name)}</text>`,
    bar(largest, ' fill-opacity="0.4"'),
    bar(smallest, ''),
    `<path d="M${at} ${y - 3}V${y + barHeight + 3}" stroke="${colours.text}" stroke-width="2"/>`,
    `<text x="${(labelWidth + Number(length(largest, largestOfAll)) + 8).toFixed(1)}" ${label}>${escaped(figure)}</text></g>`,
  ].join('');
}

/** Draws the contestants in the order in which they ran. */
export function chartOf({ date, node, cores }: Machine, entries: readonly Entry[]): string {
  const largest = Math.max(1, ...entries.flatMap(({ rounds }) => rounds.map(({ perSecond }) => perSecond)));
  const height = headHeight + entries.length * rowHeight;
  const title = 'What was served a second, median and spread of the rounds';
  const place = `${date.slice(0, 10)}, Node ${node}, ${cores} cores with the load generator beside`;
  const rows = entries.map((entry, index) => row(entry, index, largest));
  return pictureOf(title, width, height, [text(0, 34, place), ...rows]);
}
