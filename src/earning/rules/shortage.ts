/**
 * PURE. Why a rule whose conditions all hold gives nothing: what the receipt lacks, in words and in money. Only explanations
 * ask; so nothing is kept of it, and filters are compiled when it is asked.
 */
import type { Earn, Promotion, Rule } from '../file/earning-schema.ts';
import { type CountedLine, paidBy, shareOf } from './amounts.ts';
import type { CompiledRules } from './compile.ts';
import { moneyText } from './money.ts';
import { amountOf, type Case, compilePicker, wordsOf } from './selection.ts';

const paidByPoints = 'points and gift cards paid all of it';
const lessThanAPoint = 'what counts is worth less than a point';

function moreText({ subject }: Case, amount: number, words: string): string {
  return `${moneyText({ amount, currency: subject.purchase!.currency })} more in ${words}`;
}

function shortOfAmount(
  earn: Extract<Earn, { by: 'amount' }>,
  lines: readonly CountedLine[],
  each: Case,
): string {
  const { counted } = each;
  const words = wordsOf(earn.lines);
  const paid = earn.paidBy ? paidBy(counted, new Set(earn.paidBy)) : counted.paid;
  if (paid === 0 && counted.total > 0)
    return earn.paidBy ? `a payment by ${earn.paidBy.join(' or ')}` : paidByPoints;
  if (earn.steps === 'fraction') return lessThanAPoint;
  if (earn.each === 'receipt') return moreText(each, earn.perMinorUnits - amountOf(each, lines, paid), words);
  const largest = lines.reduce(
    (most, { remainingAmount }) => Math.max(most, shareOf(remainingAmount, paid, counted.total)),
    0,
  );
  return moreText(each, earn.perMinorUnits - largest, `one line of ${words}`);
}

function shortOfEarn(earn: Earn, each: Case): string {
  switch (earn.by) {
    case 'amount':
    case 'quantity': {
      const lines = compilePicker(earn.lines)(each);
      if (lines.length === 0) return `a line in ${wordsOf(earn.lines)}`;
      if (earn.by === 'amount') return shortOfAmount(earn, lines, each);
      return each.counted.paid === 0 && each.counted.total > 0 ? paidByPoints : lessThanAPoint;
    }
    case 'distance':
      return `booking class ${each.subject.flight?.bookingClass} earns nothing`;
    case 'fare':
      return lessThanAPoint;
    case 'fixed':
      return paidByPoints;
    default:
      return earn satisfies never;
  }
}

/** What would have to differ; the case's rule or promotion fits and gave nothing. */
export function shortageOf({ definition }: CompiledRules, name: string, each: Case): string {
  const givers: readonly (Rule | Promotion)[] = [...definition.rules, ...definition.promotions];
  const giver = givers.find((one) => one.name === name);
  if (giver?.earn) return shortOfEarn(giver.earn, each);
  const multiply = giver && 'multiply' in giver ? giver.multiply : undefined;
  if (multiply?.lines && compilePicker(multiply.lines)(each).length === 0)
    return `a line in ${wordsOf(multiply.lines)}`;
  return 'what it multiplies gave nothing, or so little that no whole point is added';
}
