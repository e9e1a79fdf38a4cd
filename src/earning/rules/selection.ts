/**
 * PURE. Which receipts and lines a rule means. Lists become sets once, when a version is compiled; a receipt is then a few
 * look-ups. Every check can say why it does not hold, which only explanations ask for.
 */
import type { LineFilter, Window } from '../file/basics-schema.ts';
import type { Counted, CountedLine } from './amounts.ts';
import { shareOf } from './amounts.ts';
import type { Moment } from './calendar.ts';
import { type SubjectView, viewOfLine } from './condition-views.ts';
import { compileCondition, type Judged } from './conditions.ts';
import { compileLines, type IndexedLines, type LineIndex } from './line-index.ts';
import { moneyText } from './money.ts';
import { compileWindow } from './schedule.ts';
import { type JudgedMember, type Subject, tiersOf } from './types.ts';

/** Everything a check may look at; made once a receipt. */
export interface Case {
  readonly subject: Subject;
  readonly counted: Counted;
  /** The lines that the version's index knows filters to mean. */
  readonly indexed: IndexedLines;
  readonly member: JudgedMember;
  readonly moment: Moment;
  /** What conditions see; what they do not ask for is never made. */
  readonly view: SubjectView;
}

/** One reason why a rule may not fit. */
export interface Check {
  readonly condition: string;
  holds(each: Case): boolean;
  /** What would have to differ, where it does not hold. */
  detail(each: Case): string;
}

/** The lines of a case that a filter means, its condition included. */
export type LinePicker = (each: Case) => readonly CountedLine[];

/** `index`: of the version; without one every line is looked at. */
export function compilePicker(filter: LineFilter | undefined, index?: LineIndex): LinePicker {
  if (!filter) return (each) => each.counted.lines;
  const number = index?.add(filter);
  if (index && number !== undefined) return (each) => index.linesOf(each.indexed, number);
  const test = compileLines(filter);
  if (filter.when === undefined) return (each) => each.counted.lines.filter(test);
  const condition = compileCondition(filter.when, 'line');
  return (each) => each.counted.lines.filter((line) => test(line) && condition(viewOfLine(each.view, line)));
}

/** In words, for explanations: "category beauty, brand acme". */
export function wordsOf(filter: LineFilter | undefined): string {
  if (!filter) return 'the receipt';
  const words = [
    ...(filter.categories ? [`category ${filter.categories.join(' or ')}`] : []),
    ...(filter.brands ? [`brand ${filter.brands.join(' or ')}`] : []),
    ...(filter.skus ? [`SKU ${filter.skus.join(' or ')}`] : []),
    ...(filter.when === undefined ? [] : [`lines with ${filter.when}`]),
  ];
  return words.length > 0 ? words.join(', ') : 'the lines that are not excepted';
}

/** Minor units of some lines that count: what remains of them, less the share that points and gift cards paid. */
export function amountOf({ counted }: Case, lines: readonly CountedLine[], paid = counted.paid): number {
  let sum = 0;
  for (const line of lines) sum += line.remainingAmount;
  return shareOf(sum, paid, counted.total);
}

/** Millionths of a unit of some lines. */
export function quantityOf(lines: readonly CountedLine[]): number {
  let sum = 0;
  for (const line of lines) sum += line.remainingMillionths;
  return sum;
}

/** What rules, promotions and redemption rules say of whom and what they mean. */
export interface Selection {
  readonly stores?: readonly string[] | undefined;
  readonly channels?: readonly string[] | undefined;
  readonly tiers?: readonly string[] | undefined;
  readonly segments?: readonly string[] | undefined;
  readonly activities?: readonly string[] | undefined;
  readonly carriers?: readonly string[] | undefined;
  readonly during?: Window | undefined;
  readonly when?: string | undefined;
  readonly basket?: readonly Basket[] | undefined;
}
interface Basket {
  readonly lines?: LineFilter | undefined;
  readonly amountMin?: number | undefined;
  readonly quantityMin?: number | undefined;
}

function oneOf(
  condition: string,
  wanted: readonly string[] | undefined,
  given: (each: Case) => string | undefined,
): Check[] {
  if (!wanted) return [];
  const set = new Set(wanted);
  return [
    {
      condition: `${condition} is ${wanted.join(' or ')}`,
      holds(each) {
        const value = given(each);
        return value !== undefined && set.has(value);
      },
      detail: (each) => `${condition} is ${given(each) ?? 'not given'}`,
    },
  ];
}

/** A member stands on every ladder of the program; one tier of them has to be wanted. */
function tierCheck(wanted: readonly string[] | undefined): Check[] {
  if (!wanted) return [];
  const set = new Set(wanted);
  return [
    {
      condition: `tier is ${wanted.join(' or ')}`,
      holds: ({ member }) => tiersOf(member).some((tier) => set.has(tier)),
      detail: ({ member }) => `tier is ${tiersOf(member).join(' and ') || 'not given'}`,
    },
  ];
}

function basketCheck(basket: Basket, index: LineIndex | undefined): Check {
  const pick = compilePicker(basket.lines, index);
  const words = wordsOf(basket.lines);
  const { amountMin = 0, quantityMin = 0 } = basket;
  const parts = [
    ...(amountMin > 0 ? [`${amountMin} minor units`] : []),
    ...(quantityMin > 0 ? [`${quantityMin} units`] : []),
  ];
  const missing = (each: Case) => {
    const lines = pick(each);
    return {
      amount: Math.max(0, amountMin - amountOf(each, lines)),
      millionths: Math.max(0, quantityMin * 1_000_000 - quantityOf(lines)),
    };
  };
  return {
    condition: `at least ${parts.join(' and ') || 'one line'} in ${words}`,
    holds(each) {
      if (amountMin === 0 && quantityMin === 0) return pick(each).length > 0;
      const { amount, millionths } = missing(each);
      return amount === 0 && millionths === 0;
    },
    detail(each) {
      const { amount, millionths } = missing(each);
      if (amount > 0)
        return `${moneyText({ amount, currency: each.subject.purchase!.currency })} more in ${words}`;
      if (millionths > 0) return `${millionths / 1_000_000} more units in ${words}`;
      return `a line in ${words}`;
    },
  };
}

function clockTime(minuteOfDay: number): string {
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(Math.floor(minuteOfDay / 60))}:${two(minuteOfDay % 60)}`;
}

/** Only whether a day of the member's own is known: explanations name no personal dates. */
function datesOf({ birthday, joinedAt }: JudgedMember): string {
  return `birthday ${birthday === undefined ? 'unknown' : 'known'}, joining day ${joinedAt === undefined ? 'unknown' : 'known'}`;
}

function windowWords({ from, through, repeat, hours, member }: Window): string {
  const words = [
    ...(from === undefined ? [] : [`from ${from}`]),
    ...(through === undefined ? [] : [`through ${through}`]),
    ...(repeat === undefined ? [] : [`on ${repeat}`]),
    ...(hours === undefined ? [] : [`${hours[0]} to ${hours[1]}`]),
    ...(member === undefined ? [] : [`in the member's ${member.replace('_', ' ')}`]),
  ];
  return words.join(', ') || 'at any time';
}

/** The checks of a selection, cheapest first. */
export function compileSelection(
  selection: Selection,
  timeZone: string,
  judged: Judged = 'purchase',
  index?: LineIndex,
): Check[] {
  const { segments, during, when } = selection;
  const checks: Check[] = [
    ...oneOf('store', selection.stores, (each) => each.subject.purchase?.store),
    ...oneOf('channel', selection.channels, (each) => each.subject.purchase?.channel),
    ...oneOf('activity', selection.activities, (each) => each.subject.activity?.type),
    ...oneOf('carrier', selection.carriers, (each) => each.subject.flight?.carrier),
    ...tierCheck(selection.tiers),
  ];
  if (segments) {
    checks.push({
      condition: `segment is ${segments.join(' or ')}`,
      holds: (each) => segments.some((segment) => each.member.segments.includes(segment)),
      detail: (each) => `the member is in ${each.member.segments.join(', ') || 'no segment'}`,
    });
  }
  if (during) {
    const window = compileWindow(during, timeZone);
    checks.push({
      condition: windowWords(during),
      holds: (each) => window.holds(each.moment, each.member),
      detail: ({ moment, member }) =>
        `it was on ${moment.date} at ${clockTime(moment.minuteOfDay)}${during.member ? `, ${datesOf(member)}` : ''}`,
    });
  }
  for (const basket of selection.basket ?? []) checks.push(basketCheck(basket, index));
  if (when !== undefined) {
    const condition = compileCondition(when, 'selection', judged);
    checks.push({
      condition: when,
      holds: (each) => condition(each.view),
      detail: () => 'the condition is false',
    });
  }
  return checks;
}

/** Whether all checks hold. */
export function allHold(checks: readonly Check[], each: Case): boolean {
  for (const check of checks) if (!check.holds(each)) return false;
  return true;
}
