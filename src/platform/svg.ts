/**
 * PURE. What the pictures of a page share. Their colours are readable on white and on black alike, because a picture in a page
 * is not told which of the two it stands on; the letters are whatever sans-serif the reader has.
 */
export const colours = { text: '#6e7781', first: '#1f83d6', second: '#8c959f' } as const;

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** A text as it may stand between tags and in an attribute. */
export function escaped(words: string): string {
  return words.replace(/[&<>"]/g, (character) => escapes[character]!);
}

/** Words whose line begins at a point; `more` are further attributes, with a space before each. */
export function text(x: number, y: number, words: string, more = ''): string {
  return `<text x="${x}" y="${y}" fill="${colours.text}"${more}>${escaped(words)}</text>`;
}

export function box(
  [x, y]: readonly [x: number, y: number],
  [width, height]: readonly [width: number, height: number],
  colour: string,
): string {
  return `<rect x="${x}" y="${y}" width="${Number(width.toFixed(1))}" height="${Number(height.toFixed(1))}" fill="${colour}"/>`;
}

/** What the two colours of a picture stand for, below its title: the second begins at `secondX`. */
export function legend(first: string, second: string, secondX: number): string[] {
  const swatch = (x: number, colour: string) => box([x, 28], [12, 9], colour);
  return [
    swatch(0, colours.first),
    text(18, 37, first),
    swatch(secondX, colours.second),
    text(secondX + 18, 37, second),
  ];
}

/** A whole picture: `lines` under its title, in pixels. */
export function pictureOf(title: string, width: number, height: number, lines: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" font-size="12">`,
    text(0, 16, title, ' font-size="14" font-weight="600"'),
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
