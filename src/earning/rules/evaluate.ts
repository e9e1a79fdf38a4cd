/**
 * PURE. (subject, what is known of the member, version, time) → awards, and why. Reads no clock, does no I/O; integers only.
 *
 * Rules come first and each gives by itself; promotions then multiply what rules gave or give more, as their groups say. A
 * cap of one receipt is applied here. Caps of a longer period are only named: the script that adds the points trims them by
 * the member's counters. What depends on a counter in another way (the first purchase, spending that reaches an amount) is
 * decided on its last known value, and the range of values for which the decision is the same goes along: where the counter
 * has left it, the script applies nothing and answers with the present value.
 *
 * A rule that fails gives nothing and is named; nothing else is refused for it.
 */
import type { CompiledRule, CompiledRules } from './compile.ts';
import {
  award,
  beginJudging,
  capPeriod,
  fits,
  guarded,
  type Judging,
  type Question,
  spentOf,
  type Trace,
  withinReceipt,
} from './judging.ts';
import { judgePromotions } from './promotions.ts';
import type { Count, Judgement } from './types.ts';

function judgeRule(judging: Judging, rule: CompiledRule): void {
  if (!fits(judging, rule)) return;
  const { base, points } = rule.earn(judging.each);
  const rest = withinReceipt(rule, points);
  judging.trace?.judged(rule, judging.each, base, rest, points);
  if (rest === 0) return;
  judging.given.push({ rule, points: rest });
  award(judging, rule, rest);
}

/** What the purchase adds to counters that promotions ask for. */
function countsOf(judging: Judging): Count[] {
  const { kind, counts, shipment, each } = judging;
  const { purchases, spends } = judging.rules;
  if (kind !== 'purchase') return counts;
  if (purchases && shipment !== 'further') counts.push({ counter: purchases.counter, period: 0, by: 1 });
  if (purchases && shipment === 'first')
    counts.push({ counter: purchases.ofOrder!, period: capPeriod('order', each)!, by: 1 });
  const spent = spends.length > 0 ? spentOf(judging) : 0;
  if (spent === 0) return counts;
  for (const { counter, period } of spends)
    counts.push({ counter, period: capPeriod(period, each)!, by: spent });
  return counts;
}

/** What a subject earns under the rules of a version. */
export function evaluate(rules: CompiledRules, question: Question, trace?: Trace): Judgement {
  const judging = beginJudging(rules, question, trace);
  for (const rule of rules.rules) guarded(judging, rule, () => judgeRule(judging, rule));
  if (rules.groups.length > 0) judgePromotions(judging);
  const { awards, assumptions, failures } = judging;
  return { awards, counts: countsOf(judging), assumptions, failures };
}
