/**
 * PURE. Which counters of a member a program file needs, and their names. A cap is a counter of the points that its rule has
 * given in a period; `numbers.ts` gives each name its number for ever.
 */
import type { Cap, Period } from '../file/basics-schema.ts';
import type { Promotion, Rule } from '../file/earning-schema.ts';

export const purchasesCounter = 'purchases';
/** Of an order: whether one of its shipments was counted as a purchase. */
export const orderCounter = 'purchases:order';

export function spendCounter(period: Period): string {
  return `spend:${period}`;
}

export function capCounter(rule: string, period: Period): string {
  return `cap:${rule}:${period}`;
}

/** Caps that a promotion has without saying so: what is given once must not come twice, also after a return. */
function ownCaps(promotion: Promotion): Cap[] {
  const { earn, oncePerOrder, spendReached, purchaseNumber } = promotion;
  if (earn?.by !== 'fixed') return [];
  const once = (period: Period): Cap => ({ points: earn.points, period, whenFull: 'trim' });
  return [
    ...(oncePerOrder === false ? [] : [once('order')]),
    ...(spendReached ? [once(spendReached.period)] : []),
    ...(purchaseNumber === undefined ? [] : [once('lifetime')]),
  ];
}

/** A rule gives by itself; a promotion has a priority among others. */
export function isPromotion(rule: Rule | Promotion): rule is Promotion {
  return 'priority' in rule;
}

/**
 * How often a promotion was given that is given once and whose points are not always the same, so that no cap can say it; the
 * others have a cap (`ownCaps`).
 */
export function timesCounter({ name, earn, purchaseNumber, spendReached }: Promotion): string | undefined {
  if (earn?.by === 'fixed' || (purchaseNumber === undefined && !spendReached)) return undefined;
  return `times:${name}:${spendReached?.period ?? 'lifetime'}`;
}

/** All caps of a rule or promotion, one for a period: the tighter. */
export function capsOf(rule: Rule | Promotion): Cap[] {
  const byPeriod = new Map<Period, Cap>();
  for (const cap of isPromotion(rule) ? [...rule.caps, ...ownCaps(rule)] : rule.caps) {
    const known = byPeriod.get(cap.period);
    if (!known || cap.points < known.points) byPeriod.set(cap.period, cap);
  }
  return [...byPeriod.values()];
}

/**
 * The names of all counters that a file's rules and promotions use. A cap on one receipt needs none: nothing of it is
 * remembered.
 *
 * - `cap:RULE:PERIOD`: points that a rule or promotion gave the member in the period
 * - `purchases`: how many the member has made; `purchases:order`: whether an order is among them
 * - `times:PROMOTION:PERIOD`: how often it was given what is given once
 * - `spend:PERIOD`: minor units that the member has spent in the period
 */
export function counterNames(file: {
  readonly rules: readonly Rule[];
  readonly promotions: readonly Promotion[];
}): string[] {
  const names = new Set<string>();
  for (const rule of [...file.rules, ...file.promotions]) {
    for (const { period } of capsOf(rule)) if (period !== 'receipt') names.add(capCounter(rule.name, period));
  }
  for (const promotion of file.promotions) {
    const { purchaseNumber, spendReached } = promotion;
    if (purchaseNumber !== undefined) names.add(purchasesCounter).add(orderCounter);
    if (spendReached) names.add(spendCounter(spendReached.period));
    const times = timesCounter(promotion);
    if (times !== undefined) names.add(times);
  }
  return [...names];
}
