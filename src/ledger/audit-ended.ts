/** PURE. Whether a return says of exactly those points that it took from breakage in which lots they had ended. */
import type { Collector, Where } from './audit-report.ts';
import type { Posting } from './postings.ts';

/**
 * Later returns count a lot's ended points less those that earlier ones say here (`ended-lots.ts`), so a row that lacks gives them
 * twice and one too many never. A correction takes a record's legs back without saying so.
 */
export function checkEnded(place: Where, collector: Collector, { record, effect }: Posting): void {
  if (record.kind === 'correction') return;
  collector.compared('ended', 1);
  const differences = new Map<number, number>();
  const add = (currency: number, points: number) =>
    differences.set(currency, (differences.get(currency) ?? 0) + points);
  for (const [account, currency, points] of effect.legs)
    if (account === 'breakage' && points < 0) add(currency, points);
  for (const [currency, points] of effect.expired ?? []) add(currency, points);
  for (const [currency, points] of differences) {
    if (points === 0) continue;
    const detail =
      points > 0
        ? `${points} points that had ended are named, but were not taken from breakage`
        : `${-points} points were taken from breakage, but not from a lot in which they had ended`;
    const where = { ...place, member: record.member, currency };
    collector.found({ check: 'ended', where, detail, points: Math.abs(points) });
  }
}
