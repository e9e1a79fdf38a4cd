/**
 * PURE. Promotions: they multiply what rules gave, or give more. Whether one fits may depend on the member's counters: that is
 * decided on the last known value, and the range of values for which the decision is the same goes along with it.
 */
import type { Points } from '#src/values.ts';
import { type CountedLine, restrictedTo } from './amounts.ts';
import type { CompiledPromotion } from './compile.ts';
import { type Divisible, type Given, isMultiplied } from './factors.ts';
import {
  award,
  capPeriod,
  counterMax,
  fits,
  guarded,
  type Judging,
  type OfLines,
  spentOf,
  withinReceipt,
} from './judging.ts';
import { moneyText } from './money.ts';
import { aloneOf, type Candidate, type Stacked, stack, trimmed } from './stacking.ts';
import type { Assumption, CounterPlace } from './types.ts';

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
  assume(assumptions, place, ranges[index]!);
  return index;
}

/** Notes a range. What several promotions assume of one place is assumed once: where all their ranges meet. */
function assume(assumptions: Assumption[], { counter, period }: CounterPlace, [from, to]: Range): void {
  const i = assumptions.findIndex((known) => known.counter === counter && known.period === period);
  const known = assumptions[i];
  if (!known) assumptions.push({ counter, period, from, to });
  else assumptions[i] = { counter, period, from: Math.max(from, known.from), to: Math.min(to, known.to) };
}

/** Why it does not fit, worked out where somebody listens. */
type Misfit = () => string;

function ofPurchaseNumber(judging: Judging, purchaseNumber: number): Misfit | undefined {
  const before = purchaseNumber - 1;
  const ranges: readonly Range[] = [
    [before, before],
    [0, before - 1],
    [purchaseNumber, counterMax],
  ];
  if (judging.shipment === 'further') return () => 'its order counted as a purchase with an earlier shipment';
  const place = { counter: judging.rules.purchases!.counter, period: 0 };
  if (assumedRange(judging, place, ranges) === 0) return undefined;
  return () => {
    const made = judging.question.counters(place);
    return made === undefined
      ? `it is not purchase number ${purchaseNumber}`
      : `it is purchase number ${made + 1}, not ${purchaseNumber}`;
  };
}

function ofSpending(
  judging: Judging,
  { minorUnits, counter, period }: NonNullable<CompiledPromotion['spendReached']>,
): Misfit | undefined {
  const spent = spentOf(judging);
  if (spent === 0) return () => 'nothing of it counts as spending';
  const ranges: readonly Range[] = [
    [Math.max(0, minorUnits - spent), minorUnits - 1],
    [0, minorUnits - spent - 1],
    [minorUnits, counterMax],
  ];
  const place = { counter, period: capPeriod(period, judging.each)! };
  if (assumedRange(judging, place, ranges) === 0) return undefined;
  return () => {
    const money = (amount: number) =>
      moneyText({ amount, currency: judging.each.subject.purchase!.currency });
    const stood = judging.question.counters(place);
    if (stood === undefined) return `it does not bring the spending of the ${period} to ${money(minorUnits)}`;
    return stood < minorUnits
      ? `${money(minorUnits - stood - spent)} more in the ${period}`
      : `the spending of the ${period} had reached ${money(minorUnits)} before`;
  };
}

/** A code that was shown with the receipt, or that the member has activated before. */
function hasCode({ each }: Judging, code: string): boolean {
  return (each.subject.purchase?.codes?.includes(code) ?? false) || each.member.codes.includes(code);
}

/** What beside the checks does not fit; undefined where all does. */
function misfit(judging: Judging, promotion: CompiledPromotion): Misfit | undefined {
  const { code, purchaseNumber, spendReached } = promotion;
  if (code !== undefined && !hasCode(judging, code)) return () => 'its code was neither shown nor activated';
  const ofNumber = purchaseNumber === undefined ? undefined : ofPurchaseNumber(judging, purchaseNumber);
  return ofNumber ?? (spendReached && ofSpending(judging, spendReached)) ?? ofTimes(judging, promotion);
}

/** Where it is counted how often a promotion was given that is given once. */
function timesPlace({ each }: Judging, { times, spendReached }: CompiledPromotion): CounterPlace | undefined {
  if (times === undefined) return undefined;
  return { counter: times, period: capPeriod(spendReached?.period ?? 'lifetime', each)! };
}

/** What came back may make room to reach an amount or a number again; the promotion is given once all the same. */
function ofTimes(judging: Judging, promotion: CompiledPromotion): Misfit | undefined {
  const place = timesPlace(judging, promotion);
  if (!place) return undefined;
  const isFirst = (judging.question.counters(place) ?? 0) === 0;
  judging.assumptions.push({ ...place, from: isFirst ? 0 : 1, to: isFirst ? 0 : counterMax });
  return isFirst ? undefined : () => 'it was given before';
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

/** What a rule gave for some lines of the receipt; its cap of a receipt holds for them too. */
function pointsOfLines(judging: Judging, { rule, points }: Given, lines: readonly CountedLine[]): Points {
  if (lines.length === judging.each.counted.lines.length) return points;
  return rule.isOfLines ? Math.min(points, rule.earn(ofLines(judging, lines).each).points) : 0;
}

/** The points that a multiplier multiplies: of its rules, for its lines. */
function multiplied(
  judging: Judging,
  promotion: CompiledPromotion,
  picked: readonly CountedLine[] | undefined,
): number {
  const { currency } = promotion;
  const { rules } = promotion.multiply!;
  if (picked?.length === 0) return 0;
  const sums = picked && !rules ? ofLines(judging, picked).sums : undefined;
  const known = sums?.get(currency);
  if (known !== undefined) return known;
  let base = 0;
  for (const given of judging.given) {
    if (!isMultiplied(promotion, given.rule)) continue;
    base += picked ? pointsOfLines(judging, given, picked) : given.points;
  }
  sums?.set(currency, base);
  return base;
}

function candidateOf(judging: Judging, promotion: CompiledPromotion): Candidate | undefined {
  const { each, trace } = judging;
  if (!fits(judging, promotion)) return undefined;
  const reason = misfit(judging, promotion);
  if (reason !== undefined) {
    trace?.notMatched(promotion, each, reason());
    return undefined;
  }
  const earned = promotion.earn?.(each);
  const lines = promotion.multiply?.lines?.(each);
  const base = earned?.base ?? multiplied(judging, promotion, lines);
  const candidate = { promotion, base, lines, points: earned?.points ?? 0 };
  if (aloneOf(candidate) > 0) return candidate;
  trace?.judged(promotion, each, base, 0, 0);
  return undefined;
}

/** Judges all promotions, group by group, after the rules. */
export function judgePromotions(judging: Judging): void {
  const { groups, pointsMax } = judging.rules;
  const all: Stacked[] = [];
  const divisible: Divisible = {
    given: judging.given,
    lines: judging.each.counted.lines,
    pointsOf: (given, lines) => pointsOfLines(judging, given, lines),
  };
  for (const group of groups) {
    const candidates: Candidate[] = [];
    for (const promotion of group.promotions) {
      const candidate = guarded(judging, promotion, () => candidateOf(judging, promotion));
      if (candidate) candidates.push(candidate);
    }
    if (candidates.length > 0) all.push(...stack(group, candidates, divisible));
  }
  const given = trimmed(all, pointsMax, 'promotions together are at their maximum');
  for (const { candidate, points, detail } of given) {
    const { promotion, base } = candidate;
    const rest = withinReceipt(promotion, points);
    judging.trace?.judged(promotion, judging.each, base, rest, points, detail);
    award(judging, promotion, rest);
    const place = rest > 0 ? timesPlace(judging, promotion) : undefined;
    if (place) judging.counts.push({ ...place, by: 1 });
  }
}
