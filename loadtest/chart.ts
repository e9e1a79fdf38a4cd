/**
 * PURE. The figures as a chart for a page: one bar a contestant, solid up to its slowest round, pale up to its fastest, a
 * stroke at the median. Its colours are readable on white and on black alike, because a picture in a page is not told which
 * of the two it stands on; its letters are whatever sans-serif the reader has.
 */
import type { Machine } from './machine.ts';
import { type Entry, spread } from './marks.ts';

export const colours = { text: '#6e7781', service: '#1f83d6', other: '#8c959f' } as const;

const width = 860;
const labelWidth = 190;
const figureWidth = 190;
const barsWidth = width - labelWidth - figureWidth;
const headHeight = 52;
const rowHeight = 26;
const barHeight = 14;

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => escapes[character]!);
}

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
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" font-size="12">`,
    `<text x="0" y="16" font-size="14" font-weight="600" fill="${colours.text}">${escaped(title)}</text>`,
    `<text x="0" y="34" fill="${colours.text}">${escaped(place)}</text>`,
    ...entries.map((entry, index) => row(entry, index, largest)),
    '</svg>',
    '',
  ].join('\n');
}
