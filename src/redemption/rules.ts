/**
 * PURE. What points are worth and how many of them a receipt takes, by the redemption rules of a program file. Integers only.
 *
 * Of the rules of the points' currency the first that fits holds: it fits where its store, channel, tier, day and condition
 * do, and where its money is that of the receipt or can be converted into it by the rates of the day. A version without any
 * rule for a currency takes any number of its points and knows no value: coins that buy a coffee.
 *
 * A value is rounded down to the smallest unit of the receipt's money, once, so a program never gives more than its rate.
 * What follows from that for a shopper, who should never pay points for nothing:
 * - The minimum is at least what buys one smallest unit: 200 points at 1 JPY for 200, whatever smaller one the file says.
 * - The maximum is the most points whose worth, not rounded, is within what may be paid; so no point of it is lost beyond
 *   the last unit, and it never buys more than is eligible.
 * - `best` are the fewest points that buy what the maximum buys: at 3 points a cent, 100 points buy 33 cents, and 99 do too.
 * All three are whole steps.
 */
import type { RedemptionRule } from '#src/earning/file/redemption-schema.ts';
import type { ProgramFile } from '#src/earning/file/schema.ts';
import { countedOf, shareOf } from '#src/earning/rules/amounts.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { viewOf } from '#src/earning/rules/condition-views.ts';
import { ConditionFailure } from '#src/earning/rules/conditions.ts';
import {
  converted,
  type ExactRate,
  type MoneyAmount,
  rateBetween,
  toProgramMoney,
} from '#src/earning/rules/money.ts';
import {
  allHold,
  type Case,
  type Check,
  compilePicker,
  compileSelection,
  type LinePicker,
} from '#src/earning/rules/selection.ts';
import type { JudgedMember, Purchase } from '#src/earning/rules/types.ts';
import { type EpochMs, type Points, pointsMax } from '#src/values.ts';

type Definition = Pick<ProgramFile, 'redemption' | 'money' | 'timeZone'>;

/** What keeps a redemption from being larger. */
export type LimitedBy =
  /** The points that the member has. */
  | 'available'
  /** The rule's maximum. */
  | 'maximum'
  /** The part of the eligible lines that points may pay. */
  | 'share'
  /** A member who may not spend: suspended, closed, merging, frozen. */
  | 'member'
  /** A means of payment that excludes points. */
  | 'payment'
  /** The receipt was not sent, and the rule limits by it. */
  | 'receipt'
  /** No rule fits. */
  | 'rule'
  | 'none';

/** What is to be paid with points, by whom and when. */
export interface Occasion {
  readonly purchase: Purchase | undefined;
  readonly member: JudgedMember;
  readonly at: EpochMs;
  /** Where there is no receipt: the money that values are asked in; absent means the rule's own. */
  readonly money?: string | undefined;
}

/** What a rule says on an occasion. */
export interface Terms {
  readonly rule: RedemptionRule;
  /** The money that values are in. */
  readonly money: string;
  /** Smallest units of it that a point is worth. */
  readonly worth: ExactRate;
  readonly minimum: Points;
  readonly step: Points;
  /** The most that rule and receipt allow, 0 or at least the minimum, whatever the member has. */
  readonly maximum: Points;
  /** What bounds the maximum; `none` where nothing does. */
  readonly limitedBy: Exclude<LimitedBy, 'available' | 'member' | 'rule'>;
  /** Smallest units that points may pay of the receipt; undefined where no receipt was sent. */
  readonly payable: number | undefined;
}

interface CompiledRule {
  readonly rule: RedemptionRule;
  readonly checks: readonly Check[];
  readonly pick: LinePicker;
  /** Whether its limits are about a receipt, so that nothing can be said without one. */
  readonly needsReceipt: boolean;
}

const compiledRules = new WeakMap<Definition, readonly CompiledRule[]>();

function compiledRulesOf(definition: Definition): readonly CompiledRule[] {
  const known = compiledRules.get(definition);
  if (known) return known;
  const rules = definition.redemption.map((rule): CompiledRule => {
    const { stores, channels, tiers, segments, during, when } = rule;
    return {
      rule,
      checks: compileSelection({ stores, channels, tiers, segments, during, when }, definition.timeZone),
      pick: compilePicker(rule.lines),
      needsReceipt: rule.lines !== undefined || rule.exceptPaidBy !== undefined || rule.sharePercentMax < 100,
    };
  });
  compiledRules.set(definition, rules);
  return rules;
}

/** Whether a version says what points of a currency are worth. */
export function hasRules(definition: Pick<Definition, 'redemption'>, currency: string): boolean {
  return definition.redemption.some((rule) => rule.currency === currency);
}

/** Whether a rule for a currency asks who the member is, so that somebody has to look it up. */
export function asksOfMember({ redemption }: Pick<Definition, 'redemption'>, currency: string): boolean {
  return redemption.some(
    (rule) =>
      rule.currency === currency &&
      (rule.tiers !== undefined ||
        rule.segments !== undefined ||
        rule.during?.member !== undefined ||
        rule.when !== undefined ||
        rule.lines?.when !== undefined),
  );
}

function ceilOf(numerator: bigint, denominator: bigint): bigint {
  return (numerator + denominator - 1n) / denominator;
}

/** What points are worth, rounded down to the smallest unit. Throws `balance_limit` where it cannot be counted. */
export function valueOfPoints({ worth }: Pick<Terms, 'worth'>, points: Points): number {
  return converted(points, worth);
}

/** The fewest points that are worth an amount. */
function pointsFor(worth: ExactRate, amount: number): bigint {
  return ceilOf(BigInt(amount) * worth.denominator, worth.numerator);
}

function steppedUp(points: bigint, step: Points): Points {
  return Number(ceilOf(points, BigInt(step))) * step;
}

function steppedDown(points: Points, step: Points): Points {
  return points - (points % step);
}

function occasionCase(definition: Definition, { purchase, member, at }: Occasion): Case {
  // Conditions and baskets count in the program's money, as those of earning rules do.
  const judged = purchase && toProgramMoney(definition, purchase, at);
  const subject = judged ? { purchase: judged } : {};
  const moment = momentOf(at, definition.timeZone);
  const counted = countedOf(judged?.lines ?? [], judged?.payments);
  const view = viewOf(subject, member, moment, counted.paid);
  // Rules of one currency are few and the first that fits ends the search, so no index of lines is made for them.
  return { subject, counted, indexed: { lines: counted.lines, found: [] }, member, moment, view };
}

/**
 * Smallest units of the receipt's own money that lines of any of the rules stand for, less the share of the receipt that
 * other points and gift cards have paid.
 */
function eligibleAmount(
  rules: readonly CompiledRule[],
  each: Case,
  purchase: Purchase,
  /** Counted as not paid yet. */
  unpaid = 0,
): number {
  const own = countedOf(purchase.lines, purchase.payments);
  const picked = new Set(rules.flatMap(({ pick }) => pick(each).map(({ line }) => line)));
  let sum = 0;
  for (const { line, amount } of purchase.lines) if (picked.has(line)) sum += amount;
  return shareOf(sum, Math.min(own.total, own.paid + unpaid), own.total);
}

/** What several rules of a version together can pay of a receipt. */
export function eligibleOf(
  definition: Definition,
  rules: readonly RedemptionRule[],
  occasion: Occasion & { readonly purchase: Purchase },
): number {
  const chosen = compiledRulesOf(definition).filter(({ rule }) => rules.includes(rule));
  return eligibleAmount(chosen, occasionCase(definition, occasion), occasion.purchase);
}

/** Minor units that points have paid of the receipt before. */
function paidByPoints({ payments = [] }: Purchase): number {
  return payments.reduce((sum, { means, amount }) => (means === 'points' ? sum + amount : sum), 0);
}

/**
 * What points may still pay of what is eligible. The share is of all that no gift card pays, so what points have paid of it
 * before counts: half of a receipt is half of it in one redemption or in five.
 */
function payableOf(compiled: CompiledRule, each: Case, purchase: Purchase): number {
  const eligible = eligibleAmount([compiled], each, purchase);
  const before = eligibleAmount([compiled], each, purchase, paidByPoints(purchase));
  const share = Number((BigInt(before) * BigInt(compiled.rule.sharePercentMax)) / 100n);
  return Math.max(0, Math.min(eligible, share - (before - eligible)));
}

/** What bounds the points from above, whatever the member has. */
function boundOf(
  compiled: CompiledRule,
  each: Case,
  purchase: Purchase | undefined,
  worth: ExactRate,
): Pick<Terms, 'maximum' | 'limitedBy' | 'payable'> {
  const { rule, needsReceipt } = compiled;
  if (!purchase && needsReceipt) return { maximum: 0, limitedBy: 'receipt', payable: undefined };
  const isExcluded = purchase?.payments?.some(({ means }) => rule.exceptPaidBy?.includes(means)) ?? false;
  if (isExcluded) return { maximum: 0, limitedBy: 'payment', payable: 0 };
  const payable = purchase && payableOf(compiled, each, purchase);
  const ofRule = rule.maximumPoints ?? pointsMax;
  const ofReceipt =
    payable === undefined ? undefined : (BigInt(payable) * worth.denominator) / worth.numerator;
  if (ofReceipt !== undefined && ofReceipt < BigInt(ofRule))
    return { maximum: Number(ofReceipt), limitedBy: 'share', payable };
  return { maximum: ofRule, limitedBy: rule.maximumPoints === undefined ? 'none' : 'maximum', payable };
}

/** A rule's terms; undefined where it does not fit. */
function termsOfRule(
  definition: Definition,
  compiled: CompiledRule,
  each: Case,
  occasion: Occasion,
): Terms | undefined | 'other_money' {
  const { rule, checks } = compiled;
  if (!allHold(checks, each)) return undefined;
  const { exchange, stepPoints: step } = rule;
  const money = occasion.purchase?.currency ?? occasion.money ?? exchange.money;
  const rate = rateBetween(definition, exchange.money, money, occasion.at);
  if (!rate) return 'other_money';
  const worth = {
    numerator: BigInt(exchange.minorUnits) * rate.numerator,
    denominator: BigInt(exchange.points) * rate.denominator,
  };
  const oneUnit = pointsFor(worth, 1);
  const asked = BigInt(rule.minimumPoints);
  const minimum = steppedUp(oneUnit > asked ? oneUnit : asked, step);
  const bound = boundOf(compiled, each, occasion.purchase, worth);
  const maximum = steppedDown(bound.maximum, step);
  return { ...bound, rule, money, worth, minimum, step, maximum: maximum < minimum ? 0 : maximum };
}

/** Hears of a rule that failed while it ran. */
export type RuleFailed = (rule: string, reason: string) => void;

/**
 * The terms for a currency of points. `no_rule`: none fits; `other_money`: the only ones that fit cannot be counted in the
 * receipt's money. A rule that fails while it runs does not fit, so that nothing is paid by a rule that nobody could judge.
 * Throws `money_currency_not_accepted` where the program has no rate for the receipt's money.
 */
export function termsOf(
  definition: Definition,
  currency: string,
  occasion: Occasion,
  failed?: RuleFailed,
): Terms | 'no_rule' | 'other_money' {
  const each = occasionCase(definition, occasion);
  let otherwise: 'no_rule' | 'other_money' = 'no_rule';
  for (const compiled of compiledRulesOf(definition)) {
    if (compiled.rule.currency !== currency) continue;
    try {
      const terms = termsOfRule(definition, compiled, each, occasion);
      if (terms === 'other_money') otherwise = terms;
      else if (terms) return terms;
    } catch (error) {
      if (!(error instanceof ConditionFailure)) throw error;
      failed?.(compiled.rule.name, error.message);
    }
  }
  return otherwise;
}

/** Why so many points cannot be redeemed, apart from how many there are; undefined where they can. */
export interface Refusal {
  readonly limitedBy: 'minimum' | 'step' | Terms['limitedBy'];
  readonly detail: string;
}

function boundDetail({ limitedBy, maximum, minimum, rule }: Terms): string {
  switch (limitedBy) {
    case 'payment':
      return `is not possible beside ${rule.exceptPaidBy?.join(' or ')}`;
    case 'receipt':
      return 'needs the receipt in `purchase`, because the rule limits by its lines';
    case 'share':
      return maximum === 0
        ? `cannot pay this receipt: less than ${minimum} points may pay of it`
        : `may be ${maximum} at most for this receipt`;
    case 'maximum':
    case 'none':
      return `may be ${maximum} at most`;
    default:
      return limitedBy satisfies never;
  }
}

export function refusalOf(terms: Terms, points: Points): Refusal | undefined {
  const { minimum, step, maximum, limitedBy } = terms;
  const bound = { limitedBy, detail: boundDetail(terms) };
  if (limitedBy === 'payment' || limitedBy === 'receipt') return bound;
  if (points < minimum) return { limitedBy: 'minimum', detail: `must be ${minimum} at least` };
  if (points % step !== 0) return { limitedBy: 'step', detail: `must be a multiple of ${step}` };
  return points > maximum ? bound : undefined;
}

/** What a member can redeem now. */
export interface Offer {
  readonly minimum: Points;
  readonly step: Points;
  readonly maximum: Points;
  readonly limitedBy: LimitedBy;
  readonly best: { readonly points: Points; readonly value: MoneyAmount };
}

/**
 * The terms for somebody who has so many points. Exactly the numbers of points from minimum to maximum in whole steps are
 * those that `refusalOf` lets pass and the wallet can take.
 */
export function offerOf(terms: Terms, available: Points): Offer {
  const { minimum, step, money, worth } = terms;
  const usable = steppedDown(available, step);
  const isShort = usable < terms.maximum;
  const most = isShort ? usable : terms.maximum;
  const maximum = most < minimum ? 0 : most;
  const amount = valueOfPoints(terms, maximum);
  const least = steppedUp(pointsFor(worth, amount), step);
  return {
    minimum,
    step,
    maximum,
    limitedBy: isShort || terms.limitedBy === 'none' ? 'available' : terms.limitedBy,
    best: {
      points: maximum === 0 ? 0 : Math.max(minimum, least),
      value: { amount, currency: money },
    },
  };
}

/** The greatest common divisor; Euclid's takes at most 5 steps a digit. */
function commonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : commonDivisor(b, a % b);
}

/** `points` are worth `amount`, for people: as the rule says it where its money is meant, else the exact rate. */
export function exchangeOf({ rule, money, worth }: Terms): MoneyAmount & { readonly points: Points } {
  const { exchange } = rule;
  if (exchange.money === money)
    return { points: exchange.points, amount: exchange.minorUnits, currency: money };
  const common = commonDivisor(worth.denominator, worth.numerator);
  const [points, amount] = [worth.denominator / common, worth.numerator / common];
  // Rates of more than fifteen digits are shown rounded; what is judged is exact.
  const scale = (points + amount) / BigInt(pointsMax) + 1n;
  return { points: Number(points / scale), amount: Number(amount / scale), currency: money };
}
