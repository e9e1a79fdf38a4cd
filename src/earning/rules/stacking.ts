/**
 * PURE. What the promotions of a group give together. Promotions come by priority, then by name, so that their place in the
 * file means nothing; a group's rule says which of them count and how their factors go together.
 *
 * A multiplier of 3 means that the promotion gives 2 of 3 points: the first is the rule's. `additive`: factors add, x2 and x3
 * give x4. `multiplicative`: each multiplies what the ones before it have made, x2 and x3 give x6. Both are about the same
 * points: promotions of different lines or rules meet only where they mean the same ones (`factors.ts`).
 */
import type { Points } from '#src/values.ts';
import type { Fraction } from '../file/basics-schema.ts';
import { added, type CountedLine, isMore, mulDiv, product } from './amounts.ts';
import type { CompiledGroup, CompiledPromotion } from './compile.ts';
import { createFactors, type Divisible, type Step } from './factors.ts';

/** A promotion that fits. A multiplier's base are the points that it multiplies. */
export interface Candidate {
  readonly promotion: CompiledPromotion;
  readonly base: number;
  /** The lines that a multiplier means; absent: all. Promotions that mean the same have the same list. */
  readonly lines?: readonly CountedLine[] | undefined;
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

/** What a group makes of a factor and the next one, up to its maximum. */
function stepOf({ combine, factorMax }: CompiledGroup, from: Fraction, by: Fraction): Step {
  const wanted = combine === 'multiplicative' ? product(from, by) : added(from, by);
  const isOver = factorMax !== undefined && isMore(wanted, factorMax);
  return { reached: isOver ? factorMax : wanted, isOver };
}

function stepped(candidate: Candidate, points: Points, isOver: boolean): Stacked {
  return isOver
    ? { candidate, points, detail: 'the factor of its group is at its maximum' }
    : { candidate, points };
}

/** Factors one after the other; each promotion gives what its step adds. */
function together(group: CompiledGroup, candidates: readonly Candidate[]): Stacked[] {
  let factor = one;
  return candidates.map((candidate) => {
    const { promotion, base, points } = candidate;
    if (!promotion.multiply) return { candidate, points };
    const { reached, isOver } = stepOf(group, factor, promotion.multiply.by);
    const given = between(base, factor, reached, promotion);
    factor = reached;
    return stepped(candidate, given, isOver);
  });
}

/** The same for promotions that mean different lines or rules: each part of the points has a factor of its own. */
function apart(group: CompiledGroup, candidates: readonly Candidate[], divisible: Divisible): Stacked[] {
  const factors = createFactors(divisible, (from, by) => stepOf(group, from, by));
  return candidates.map((candidate) => {
    const { promotion, lines, points } = candidate;
    if (!promotion.multiply) return { candidate, points };
    const raised = factors.raise(promotion, lines);
    return stepped(candidate, raised.points, raised.isOver);
  });
}

function meansTheSame(a: Candidate, b: Candidate): boolean {
  if (a.lines !== b.lines || a.promotion.currency !== b.promotion.currency) return false;
  const [rules, others] = [a.promotion.multiply?.rules, b.promotion.multiply?.rules];
  return rules?.size === others?.size && [...(rules ?? [])].every((rule) => others?.has(rule));
}

/**
 * Whether factors of a group meet that are not of the same points. Where they add up to no more than the maximum they never do,
 * whatever their points: that is true of most receipts.
 */
function areApart({ combine, factorMax }: CompiledGroup, candidates: readonly Candidate[]): boolean {
  const multipliers = candidates.filter(({ promotion }) => promotion.multiply);
  if (combine === 'additive') {
    const all = multipliers.reduce((sum, { promotion }) => added(sum, promotion.multiply!.by), one);
    if (factorMax === undefined || !isMore(all, factorMax)) return false;
  }
  const [first, ...others] = multipliers;
  return others.some((other) => !meansTheSame(first!, other));
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

function combined(group: CompiledGroup, candidates: readonly Candidate[], divisible: Divisible): Stacked[] {
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
      return areApart(group, candidates) ? apart(group, candidates, divisible) : together(group, candidates);
    default:
      return group.combine satisfies never;
  }
}

/** What each candidate of a group gives; the candidates stand in the group's order. */
export function stack(
  group: CompiledGroup,
  candidates: readonly Candidate[],
  divisible: Divisible,
): readonly Stacked[] {
  return trimmed(
    combined(group, candidates, divisible),
    group.pointsMax,
    'its group is at its maximum of points',
  );
}
