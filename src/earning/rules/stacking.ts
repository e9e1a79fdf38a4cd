/**
 * PURE. What the promotions of a group give together. Promotions come by priority, then by name, so that their place in the
 * file means nothing; a group's rule says which of them count and how their factors go together.
 *
 * A multiplier of 3 means that the promotion gives 2 of 3 points: the first is the rule's. `additive`: factors add, x2 and x3
 * give x4. `multiplicative`: each multiplies what the ones before it have made, x2 and x3 give x6.
 */
import type { Points } from '#src/values.ts';
import type { Fraction } from '../file/basics-schema.ts';
import { added, isMore, mulDiv, product } from './amounts.ts';
import type { CompiledGroup, CompiledPromotion } from './compile.ts';

/** A promotion that fits. A multiplier's base are the points that it multiplies. */
export interface Candidate {
  readonly promotion: CompiledPromotion;
  readonly base: number;
  /** Of a promotion that earns by itself. */
  readonly points: Points;
}

export interface Stacked {
  readonly candidate: Candidate;
  readonly points: Points;
  /** Why it gives less than alone, in words. */
  readonly detail?: string;
}

const one: Fraction = [1, 1];

/** (to − from) × base, rounded once. */
function between(base: number, from: Fraction, to: Fraction, promotion: CompiledPromotion): Points {
  const difference = to[0] * from[1] - from[0] * to[1];
  return mulDiv(base, Math.max(0, difference), to[1] * from[1], promotion.rounding);
}

/** What a promotion gives where no other is. */
export function aloneOf({ promotion, base, points }: Candidate): Points {
  return promotion.multiply ? between(base, one, promotion.multiply.by, promotion) : points;
}

function excluded(candidate: Candidate, winner: Candidate, why: string): Stacked {
  return { candidate, points: 0, detail: `${winner.promotion.name} ${why}` };
}

function onlyOne(candidates: readonly Candidate[], winner: Candidate, why: string): Stacked[] {
  return candidates.map((candidate) =>
    candidate === winner ? { candidate, points: aloneOf(candidate) } : excluded(candidate, winner, why),
  );
}

/** Factors one after the other up to the group's maximum; each promotion gives what its step adds. */
function together({ combine, factorMax }: CompiledGroup, candidates: readonly Candidate[]): Stacked[] {
  let factor = one;
  return candidates.map((candidate) => {
    const { promotion, base, points } = candidate;
    if (!promotion.multiply) return { candidate, points };
    const { by } = promotion.multiply;
    const wanted = combine === 'multiplicative' ? product(factor, by) : added(factor, by);
    const isOver = factorMax !== undefined && isMore(wanted, factorMax);
    const reached = isOver ? factorMax : wanted;
    const given = between(base, factor, reached, promotion);
    factor = reached;
    return isOver
      ? { candidate, points: given, detail: 'the factor of its group is at its maximum' }
      : { candidate, points: given };
  });
}

/** Trims from the end where all together are more than `pointsMax`. */
export function trimmed(
  all: readonly Stacked[],
  pointsMax: number | undefined,
  detail: string,
): readonly Stacked[] {
  if (pointsMax === undefined) return all;
  let left = pointsMax;
  return all.map((each) => {
    const points = Math.min(each.points, left);
    left -= points;
    return points === each.points ? each : { ...each, points, detail };
  });
}

function combined(group: CompiledGroup, candidates: readonly Candidate[]): Stacked[] {
  const [first] = candidates;
  if (!first) return [];
  switch (group.combine) {
    case 'exclusive':
      return onlyOne(candidates, first, 'goes first in its group');
    case 'best': {
      const best = candidates.reduce((a, b) => (aloneOf(b) > aloneOf(a) ? b : a));
      return onlyOne(candidates, best, 'gives more, and the best of its group counts');
    }
    case 'additive':
    case 'multiplicative':
      return together(group, candidates);
    default:
      return group.combine satisfies never;
  }
}

/** What each candidate of a group gives; the candidates stand in the group's order. */
export function stack(group: CompiledGroup, candidates: readonly Candidate[]): readonly Stacked[] {
  return trimmed(combined(group, candidates), group.pointsMax, 'its group is at its maximum of points');
}
