/**
 * PURE. The five ways to earn: what is counted of a case and the points for it. Formulas of flights follow the published
 * tables of EVA Air, China Airlines and United (test/earning-published.pure.test.ts).
 */
import type { Points } from '#src/values.ts';
import type { Rounding } from '../file/basics-schema.ts';
import type { Earn } from '../file/earning-schema.ts';
import { type CountedLine, millionthsPerUnit, mulDiv, paidBy, shareOf } from './amounts.ts';
import type { LineIndex } from './line-index.ts';
import { amountOf, type Case, compilePicker, quantityOf } from './selection.ts';
import { byTierOf } from './types.ts';

export interface Earned {
  /** Minor units, millionths of a unit or miles; 1 for what is earned as such. */
  readonly base: number;
  readonly points: Points;
}

export type Earner = (each: Case) => Earned;

const nothing: Earned = { base: 0, points: 0 };

/** A rule that cannot judge what it was given: it gives nothing, says why, and hinders no other rule. */
export class RuleFailure extends Error {
  override readonly name = 'RuleFailure';
}

type By<Kind extends Earn['by']> = Extract<Earn, { by: Kind }>;

function earnByAmount(earn: By<'amount'>, rounding: Rounding, index: LineIndex): Earner {
  const pick = compilePicker(earn.lines, index);
  const means = earn.paidBy && new Set(earn.paidBy);
  const { points, perMinorUnits } = earn;
  const pointsFor = (base: number): Points =>
    earn.steps === 'whole'
      ? mulDiv(Math.floor(base / perMinorUnits), points, 1, 'floor')
      : mulDiv(base, points, perMinorUnits, rounding);
  return (each) => {
    const lines = pick(each);
    if (lines.length === 0) return nothing;
    const { counted } = each;
    const paid = means ? paidBy(counted, means) : counted.paid;
    if (earn.each === 'receipt') {
      const base = amountOf(each, lines, paid);
      return { base, points: pointsFor(base) };
    }
    let base = 0;
    let sum = 0;
    for (const line of lines) {
      const share = shareOf(line.remainingAmount, paid, counted.total);
      base += share;
      sum += pointsFor(share);
    }
    return { base, points: sum };
  };
}

/** Of pieces too only those count that points and gift cards did not pay. What costs nothing was paid by nobody, and counts. */
function paidQuantityOf({ counted: { paid, total } }: Case, lines: readonly CountedLine[]): number {
  if (paid === total) return quantityOf(lines);
  const free = quantityOf(lines.filter(({ amount }) => amount === 0));
  return free + shareOf(quantityOf(lines) - free, paid, total);
}

function earnByQuantity(earn: By<'quantity'>, rounding: Rounding, index: LineIndex): Earner {
  const pick = compilePicker(earn.lines, index);
  return (each) => {
    const base = paidQuantityOf(each, pick(each));
    return { base, points: mulDiv(base, earn.points, millionthsPerUnit, rounding) };
  };
}

function earnByDistance(earn: By<'distance'>, rounding: Rounding): Earner {
  const classes = new Map(earn.classes.flatMap((row) => row.codes.map((code) => [code, row] as const)));
  return ({ subject: { flight } }) => {
    if (!flight) return nothing;
    const row = classes.get(flight.bookingClass.slice(0, 1));
    // A class that earns nothing has no minimum either.
    if (!row || row.percent === 0) return nothing;
    if (flight.distanceMiles === undefined) throw new RuleFailure('the flight has no distanceMiles');
    const minimum = row.minimumMiles ?? 0;
    const isBefore = earn.minimum === 'before';
    const base = isBefore ? Math.max(flight.distanceMiles, minimum) : flight.distanceMiles;
    const points = mulDiv(base, row.percent, 100, rounding);
    return { base, points: isBefore ? points : Math.max(points, minimum) };
  };
}

function earnByFare(earn: By<'fare'>, rounding: Rounding): Earner {
  const byTier = new Map(Object.entries(earn.tiers ?? {}));
  return ({ subject: { flight }, member }) => {
    if (!flight) return nothing;
    if (!flight.fare) throw new RuleFailure('the flight has no fare');
    const base = flight.fare.amount;
    const points = byTierOf(byTier, member) ?? earn.points;
    return { base, points: mulDiv(base, points, earn.perMinorUnits, rounding) };
  };
}

/** How a rule earns; throws `RuleFailure` for a case that it cannot judge. */
export function compileEarn(earn: Earn, rounding: Rounding, index: LineIndex): Earner {
  switch (earn.by) {
    case 'amount':
      return earnByAmount(earn, rounding, index);
    case 'quantity':
      return earnByQuantity(earn, rounding, index);
    case 'fixed':
      // A receipt that points and gift cards paid wholly earns nothing, also not as such.
      return ({ counted: { paid, total } }) =>
        paid === 0 && total > 0 ? nothing : { base: 1, points: earn.points };
    case 'distance':
      return earnByDistance(earn, rounding);
    case 'fare':
      return earnByFare(earn, rounding);
    default:
      return earn satisfies never;
  }
}
