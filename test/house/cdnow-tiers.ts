/**
 * Who stands where at the CDNOW shop by a ladder over half a year's spend, from the file's rows alone: sums are made anew for
 * everybody and every month, days are those of luxon. It knows receipts that come in before their month ends, and shares nothing
 * with `src/tiers`.
 */
import { DateTime } from 'luxon';
import type { CdnowRow } from './cdnow.ts';
import type { FileLadder } from './tiers.ts';

/** From the lowest up, in cents of the last six months: what brings a tier, and what keeps it. */
const steps = [
  { name: 'silver', reach: 10_000, keep: 5_000 },
  { name: 'gold', reach: 30_000, keep: 15_000 },
  { name: 'platinum', reach: 100_000, keep: 60_000 },
];
export const cdnowTiers = ['member', ...steps.map(({ name }) => name)];
const countedMonths = 6;
const validMonths = 3;

const spend = (atLeast: number) => ({ all: [{ measure: 'spend' as const, atLeast }] });
export const cdnowLadder: FileLadder = {
  name: 'status',
  tiers: [
    { name: 'member' },
    ...steps.map(({ name, reach, keep }) => ({ name, reach: spend(reach), keep: spend(keep) })),
  ],
  period: { kind: 'rolling_months', months: countedMonths },
  validity: { kind: 'months', months: validMonths, through: 'month_end' },
  down: 'one_step',
};

export interface NaiveStanding {
  readonly level: number;
  /** The last day, such as `2027-06-30`. */
  readonly until: string | undefined;
}

/** How many moved, by `from to`. */
export type Moves = Readonly<Record<string, number>>;

export interface NaiveTiers {
  readonly standings: ReadonlyMap<number, NaiveStanding>;
  /** The receipts through the last day of a month are there. */
  bought(lastDay: string): Moves;
  /** The night after that day. */
  ended(lastDay: string): Moves;
}

const iso = (day: number) => new Date(day * 86_400_000).toISOString().slice(0, 10);
const highest = (sum: number, by: 'reach' | 'keep') =>
  steps.reduce((found, step, i) => (sum >= step[by] ? i + 1 : found), 0);
const endAfter = (day: string) =>
  DateTime.fromISO(day).plus({ months: validMonths }).endOf('month').toISODate()!;

/** `rows` with their days as the shop has them. */
export function naiveTiers(rows: readonly CdnowRow[]): NaiveTiers {
  const receipts = rows.map(({ customer, day, cents }) => ({ customer, cents, date: iso(day) }));
  const standings = new Map<number, NaiveStanding>();
  for (const { customer } of receipts) standings.set(customer, { level: 0, until: undefined });

  function halfYear(lastDay: string): Map<number, number> {
    const before = DateTime.fromISO(lastDay).minus({ months: countedMonths }).toISODate()!;
    const sums = new Map<number, number>();
    for (const { customer, cents, date } of receipts)
      if (date > before && date <= lastDay) sums.set(customer, (sums.get(customer) ?? 0) + cents);
    return sums;
  }

  function move(next: (standing: NaiveStanding, sum: number) => NaiveStanding, lastDay: string): Moves {
    const sums = halfYear(lastDay);
    const moves: Record<string, number> = {};
    for (const [customer, standing] of standings) {
      const after = next(standing, sums.get(customer) ?? 0);
      standings.set(customer, after);
      if (after.level === standing.level) continue;
      const key = `${cdnowTiers[standing.level]} ${cdnowTiers[after.level]}`;
      moves[key] = (moves[key] ?? 0) + 1;
    }
    return moves;
  }

  return {
    standings,
    bought: (lastDay) =>
      move((standing, sum) => {
        const level = highest(sum, 'reach');
        return level > standing.level ? { level, until: endAfter(lastDay) } : standing;
      }, lastDay),
    ended: (lastDay) =>
      move((standing, sum) => {
        if (standing.until !== lastDay) return standing;
        const kept = Math.min(highest(sum, 'keep'), standing.level);
        const level = Math.max(kept, standing.level - 1);
        return { level, until: level === 0 ? undefined : endAfter(lastDay) };
      }, lastDay),
  };
}
