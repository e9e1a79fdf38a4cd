/**
 * PURE. Factors of promotions that mean different lines or rules. A factor is that of points, not of the receipt: where one
 * promotion doubles dairy and another triples wine, no point is worth more than three, and neither takes from the other. So
 * what each rule gave is split by lines wherever promotions before have made another factor of it.
 *
 * Each promotion still multiplies exactly what it would alone. What of it promotions before have raised is worked out by lines,
 * and the rest of it is what none of them meant, so splitting a receipt loses no point by rounding.
 */
import type { Points } from '#src/values.ts';
import type { Fraction } from '../file/basics-schema.ts';
import { type CountedLine, minus, roundedSum, type Share } from './amounts.ts';
import type { CompiledPromotion, CompiledRule } from './compile.ts';

export interface Given {
  readonly rule: CompiledRule;
  readonly points: Points;
}

/** What rules gave for a receipt, and how to tell what of it is for some lines. */
export interface Divisible {
  readonly given: readonly Given[];
  readonly lines: readonly CountedLine[];
  pointsOf(given: Given, lines: readonly CountedLine[]): Points;
}

/** A factor that a promotion makes of another. */
export interface Step {
  readonly reached: Fraction;
  /** It would be more without the group's maximum. */
  readonly isOver: boolean;
}

/** Whether a promotion multiplies what a rule gives. */
export function isMultiplied({ currency, multiply }: CompiledPromotion, rule: CompiledRule): boolean {
  if (rule.currency !== currency || multiply?.rules?.has(rule.name) === false) return false;
  return multiply?.lines === undefined || rule.isOfLines;
}

/** A flight has no lines; what a rule gave for it is one piece. */
type Piece = CountedLine | undefined;
const onePiece: readonly Piece[] = [undefined];
const one: Fraction = [1, 1];

interface Part {
  readonly from: Fraction;
  readonly pieces: Piece[];
}

function partsBy(factors: ReadonlyMap<Piece, Fraction>, pieces: readonly Piece[]): Part[] {
  const parts = new Map<string, Part>();
  for (const piece of pieces) {
    const from = factors.get(piece) ?? one;
    const key = from.join('/');
    const part = parts.get(key);
    if (part) part.pieces.push(piece);
    else parts.set(key, { from, pieces: [piece] });
  }
  // What nobody has raised comes last: it is what the others leave.
  return [...parts.values()].sort((a, b) => Number(a.from === one) - Number(b.from === one));
}

export interface Raised {
  readonly points: Points;
  readonly isOver: boolean;
}

/** The promotions of a group, one after the other; `step` is what the group makes of a factor and the next one. */
export function createFactors(divisible: Divisible, step: (from: Fraction, by: Fraction) => Step) {
  const ofRules = new Map<Given, Map<Piece, Fraction>>();

  function shareOut(given: Given, lines: readonly CountedLine[], by: Fraction, shares: Share[]): boolean {
    const factors = ofRules.get(given) ?? new Map<Piece, Fraction>();
    ofRules.set(given, factors);
    let rest = divisible.pointsOf(given, lines);
    let isOver = false;
    const parts = partsBy(factors, lines.length > 0 ? lines : onePiece);
    for (const [i, { from, pieces }] of parts.entries()) {
      const own =
        i === parts.length - 1
          ? rest
          : divisible.pointsOf(
              given,
              pieces.filter((each) => each !== undefined),
            );
      const points = Math.min(rest, own);
      const { reached, isOver: isBeyond } = step(from, by);
      rest -= points;
      isOver ||= isBeyond && points > 0;
      shares.push([points, minus(reached, from)]);
      for (const piece of pieces) factors.set(piece, reached);
    }
    return isOver;
  }

  return {
    /** What a promotion adds for some lines; absent: for all. */
    raise(promotion: CompiledPromotion, lines: readonly CountedLine[] = divisible.lines): Raised {
      const shares: Share[] = [];
      let isOver = false;
      for (const given of divisible.given) {
        if (!isMultiplied(promotion, given.rule)) continue;
        if (shareOut(given, lines, promotion.multiply!.by, shares)) isOver = true;
      }
      return { points: roundedSum(shares, promotion.rounding), isOver };
    },
  };
}
