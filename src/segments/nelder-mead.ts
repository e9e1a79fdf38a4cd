/**
 * PURE. The minimum of a function of a few variables inside a box, by the simplex of Nelder and Mead (1965) with the
 * coefficients of Gao and Han (2012). It needs no derivatives, and likelihoods of three or four parameters are found in a few
 * hundred evaluations. The same start gives the same answer.
 *
 * A point outside the box is moved to its edge. A simplex that has shrunk in the wrong place is begun again where it ended.
 */

export interface Box {
  readonly lower: readonly number[];
  readonly upper: readonly number[];
}

export interface Minimum {
  readonly at: readonly number[];
  readonly value: number;
  readonly evaluations: number;
  /** False where the bound on evaluations ended the search. */
  readonly isFound: boolean;
}

interface Corner {
  readonly at: readonly number[];
  readonly value: number;
}

const startStep = 0.5;
const valueTolerance = 1e-10;
const placeTolerance = 1e-7;
const startsMax = 6;

function inside({ lower, upper }: Box, at: readonly number[]): number[] {
  return at.map((value, i) => Math.min(upper[i]!, Math.max(lower[i]!, value)));
}

/** `weight` of the way from one point to another; beyond it where the weight is above 1. */
function between(from: readonly number[], to: readonly number[], weight: number): number[] {
  return from.map((value, i) => value + weight * (to[i]! - value));
}

function centreOf(corners: readonly Corner[]): number[] {
  const [first] = corners;
  return first!.at.map((_, i) => corners.reduce((sum, { at }) => sum + at[i]!, 0) / corners.length);
}

function hasShrunk(corners: readonly Corner[]): boolean {
  const [best, worst] = [corners[0]!, corners.at(-1)!];
  const width = Math.max(
    ...best.at.map((value, i) => Math.max(...corners.map(({ at }) => Math.abs(at[i]! - value)))),
  );
  const height = Math.abs(worst.value - best.value);
  return width <= placeTolerance || height <= valueTolerance * (1 + Math.abs(best.value));
}

/** One simplex from a start until it has shrunk or may not go on. */
function descend(evaluate: (at: readonly number[]) => Corner, start: Corner, mayGoOn: () => boolean): Corner {
  const size = start.at.length;
  const stretch = 1 + 2 / size;
  const contraction = 0.75 - 1 / (2 * size);
  const shrinking = 1 - 1 / size;
  const others = start.at.map((_, i) =>
    evaluate(start.at.map((value, j) => value + (i === j ? startStep : 0))),
  );
  let corners = [start, ...others].toSorted((a, b) => a.value - b.value);
  while (mayGoOn() && !hasShrunk(corners)) {
    const [best, worst] = [corners[0]!, corners.at(-1)!];
    const kept = corners.slice(0, -1);
    const centre = centreOf(kept);
    const reflected = evaluate(between(worst.at, centre, 2));
    let next: Corner | undefined = reflected;
    if (reflected.value < best.value) {
      const stretched = evaluate(between(centre, reflected.at, stretch));
      if (stretched.value < reflected.value) next = stretched;
    } else if (reflected.value >= kept.at(-1)!.value) {
      const nearer = reflected.value < worst.value ? reflected : worst;
      const contracted = evaluate(between(centre, nearer.at, contraction));
      next = contracted.value < nearer.value ? contracted : undefined;
    }
    corners = next
      ? [...kept, next]
      : [best, ...corners.slice(1).map(({ at }) => evaluate(between(best.at, at, shrinking)))];
    corners = corners.toSorted((a, b) => a.value - b.value);
  }
  return corners[0]!;
}

/** Finds where `f` is least. A value that is no number counts as infinite. */
export function minimize(
  f: (at: readonly number[]) => number,
  start: readonly number[],
  box: Box,
  evaluationsMax = 5_000,
): Minimum {
  let evaluations = 0;
  const evaluate = (place: readonly number[]): Corner => {
    evaluations += 1;
    const at = inside(box, place);
    const value = f(at);
    return { at, value: Number.isNaN(value) ? Number.POSITIVE_INFINITY : value };
  };
  const mayGoOn = () => evaluations < evaluationsMax;
  let best = evaluate(start);
  for (let attempt = 0; attempt < startsMax && mayGoOn(); attempt += 1) {
    const found = descend(evaluate, best, mayGoOn);
    const gained = best.value - found.value;
    if (found.value < best.value) best = found;
    if (gained <= valueTolerance * (1 + Math.abs(best.value))) break;
  }
  return { ...best, evaluations, isFound: mayGoOn() };
}
