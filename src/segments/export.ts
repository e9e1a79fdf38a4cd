/** Members with their facts and segments as a CSV file, read and written a page at a time. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type pg from 'pg';
import { type SegmentFact, type Segments, segmentFacts } from '#src/earning/file/segment-schema.ts';
import { memberId } from '#src/values.ts';
import { nextFacts } from './facts-table.ts';
import { roundedFacts } from './reading.ts';
import type { Run } from './runs.ts';
import { factsOf, segmentsOf } from './scores.ts';

const membersPerPage = 5_000;
const names = Object.keys(segmentFacts) as SegmentFact[];

/** Writes one line a member, in the order of their numbers; answers how many. Nothing in it needs quotes: names are bare words. */
export async function exportMembers(
  pool: pg.Pool,
  run: Run,
  segments: Segments,
  path: string,
): Promise<number> {
  const file = createWriteStream(path, { encoding: 'utf8' });
  const ended = finished(file);
  // Whoever waits for the file to drain below is told of its end by this as well.
  ended.catch(() => {});
  let written = 0;
  try {
    file.write(`member,segments,${names.join(',')}\n`);
    let page = await nextFacts(pool, run.run, 0, membersPerPage);
    while (page.length > 0) {
      const lines = page.map((measured) => {
        const facts = factsOf(measured, run.cuts!, segments, run.throughDay);
        const shown = roundedFacts(facts);
        const cells = names.map((name) => shown[name] ?? '');
        return `${memberId(measured.member)},${segmentsOf(segments.named, facts).join(' ')},${cells.join(',')}\n`;
      });
      written += lines.length;
      if (!file.write(lines.join(''))) await Promise.race([once(file, 'drain'), ended]);
      page = await nextFacts(pool, run.run, page.at(-1)!.member, membersPerPage);
    }
  } finally {
    file.end();
  }
  await ended;
  return written;
}
