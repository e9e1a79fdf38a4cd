/**
 * PURE. Promotions: they multiply what rules gave, or give more. Whether one fits may depend on the member's counters: that is
 * decided on the last known value, and the range of values for which the decision is the same goes along with it.
 */
import { type CountedLine, restrictedTo } from './amounts.ts';
import type { CompiledPromotion } from './compile.ts';
import {
  award,
  capPeriod,
  fits,
  guarded,
  type Judging,
  type OfLines,
  spentOf,
  withinReceipt,
} from './judging.ts';
import { aloneOf, type Candidate, type Stacked, stack, trimmed } from './stacking.ts';
import type { CounterPlace } from './types.ts';

const counterMax = Number.MAX_SAFE_INTEGER;

type Range = readonly [from: number, to: number];

/**
 * Which of the ranges a counter is in, assumed for the script. A value that was never heard of is taken to lie in the last
 * one: long past the first purchase, the amount long reached. That is true of most members, and the script knows better.
 */
function assumedRange(
  { question, assumptions }: Judging,
  place: CounterPlace,
  ranges: readonly Range[],
): number {
  const value = question.counters(place) ?? counterMax;
  const index = ranges.findIndex(([from, to]) => value >= from && value <= to);
  const [from, to] = ranges[index]!;
  assumptions.push({ ...place, from, to });
  return index;
}

function isThatPurchase(judging: Judging, purchaseNumber: number): boolean {
  const before = purchaseNumber - 1;
  const ranges: readonly Range[] = [
    [before, before],
    [0, before - 1],
    [purchaseNumber, counterMax],
  ];
  return assumedRange(judging, { counter: judging.rules.purchases!, period: 0 }, ranges) === 0;
}

function reachesSpend(
  judging: Judging,
  { minorUnits, counter, period }: NonNullable<CompiledPromotion['spendReached']>,
): boolean {
  const spent = spentOf(judging);
  if (spent === 0) return false;
  const ranges: readonly Range[] = [
    [Math.max(0, minorUnits - spent), minorUnits - 1],
    [0, minorUnits - spent - 1],
    [minorUnits, counterMax],
  ];
  return assumedRange(judging, { counter, period: capPeriod(period, judging.each)! }, ranges) === 0;
}

/** A code that was shown with the receipt, or that the member has activated before. */
function hasCode({ each }: Judging, code: string): boolean {
  return (each.subject.purchase?.codes?.includes(code) ?? false) || each.member.codes.includes(code);
}

/** What beside the checks does not fit; undefined where all does. */
function misfit(judging: Judging, promotion: CompiledPromotion): string | undefined {
  const { code, purchaseNumber, spendReached } = promotion;
  if (code !== undefined && !hasCode(judging, code)) return 'it was not activated by its code';
  if (purchaseNumber !== undefined && !isThatPurchase(judging, purchaseNumber))
    return `it is not purchase number ${purchaseNumber}`;
  if (spendReached && !reachesSpend(judging, spendReached))
    return `the spending of the ${spendReached.period} does not reach ${spendReached.minorUnits} minor units by it`;
  return undefined;
}

/**
 * What all rules of a currency gave for some of the lines. Promotions of equal lines pick the same list (`line-index.ts`), so it
 * is worked out once for all of them: 40 multipliers over 100 rules took half of a judgement.
 */
function ofLines(judging: Judging, picked: readonly CountedLine[]): OfLines {
  const known = judging.ofLines.get(picked);
  if (known) return known;
  const { each, rules } = judging;
  const counted = restrictedTo(each.counted, picked);
  const made = { each: { ...each, counted, indexed: rules.index.of(picked) }, sums: new Map() };
  judging.ofLines.set(picked, made);
  return made;
}

/** The points that a multiplier multiplies: of its rules, for its lines. */
function multiplied(judging: Judging, promotion: CompiledPromotion): number {
  const { given, each } = judging;
  const { currency } = promotion;
  const { rules, lines } = promotion.multiply!;
  const picked = lines?.(each);
  if (picked?.length === 0) return 0;
  const part = picked && ofLines(judging, picked);
  const known = rules ? undefined : part?.sums.get(currency);
  if (known !== undefined) return known;
  let base = 0;
  for (const { rule, points } of given) {
    if (rule.currency !== currency || (rules && !rules.has(rule.name))) continue;
    base += part ? Math.min(points, rule.earn(part.each).points) : points;
  }
  if (!rules) part?.sums.set(currency, base);
  return base;
}

function candidateOf(judging: Judging, promotion: CompiledPromotion): Candidate | undefined {
  const { each, trace } = judging;
  if (!fits(judging, promotion)) return undefined;
  const reason = misfit(judging, promotion);
  if (reason !== undefined) {
    trace?.notMatched(promotion, each, reason);
    return undefined;
  }
  const earned = promotion.earn?.(each);
  const base = earned?.base ?? multiplied(judging, promotion);
  const candidate = { promotion, base, points: earned?.points ?? 0 };
  if (aloneOf(candidate) > 0) return candidate;
  trace?.judged(promotion, each, base, 0);
  return undefined;
}

/** Judges all promotions, group by group, after the rules. */
export function judgePromotions(judging: Judging): void {
  const { groups, pointsMax } = judging.rules;
  const all: Stacked[] = [];
  for (const group of groups) {
    const candidates: Candidate[] = [];
    for (const promotion of group.promotions) {
      const candidate = guarded(judging, promotion, () => candidateOf(judging, promotion));
      if (candidate) candidates.push(candidate);
    }
    if (candidates.length > 0) all.push(...stack(group, candidates));
  }
  const given = trimmed(all, pointsMax, 'promotions together are at their maximum');
  for (const { candidate, points, detail } of given) {
    const { promotion, base } = candidate;
    const rest = withinReceipt(promotion, points);
    judging.trace?.judged(
      promotion,
      judging.each,
      base,
      rest,
      rest < points ? 'the cap of a receipt' : detail,
    );
    award(judging, promotion, rest);
  }
}
