/**
 * PURE. Why every rule gave what it gave, or what would have to differ. The same judgement as the one that gave the points,
 * listened to: an explanation cannot tell another story than the award.
 */
import type { Points } from '#src/values.ts';
import type { CompiledGiver, CompiledRules } from './compile.ts';
import { evaluate } from './evaluate.ts';
import type { Question, Trace } from './judging.ts';
import type { Case } from './selection.ts';
import { shortageOf } from './shortage.ts';
import type { ConditionView, CounterValues, Judgement, Limit, RuleView } from './types.ts';

/** The conditions of a giver, with what would have to differ where one does not hold. */
function conditionsOf({ checks }: CompiledGiver, each: Case): ConditionView[] {
  return checks.map((check) => {
    const { condition } = check;
    try {
      const holds = check.holds(each);
      return { condition, holds, ...(holds ? {} : { detail: check.detail(each) }) };
    } catch (error) {
      // Behind one that does not hold the judgement did not look, so the rule has not failed by it.
      const reason = error instanceof Error ? error.message : String(error);
      return { condition, holds: false, detail: `cannot be judged: ${reason}` };
    }
  });
}

/** What the script gave, where caps or budgets trimmed any award; absent: all that was asked for. */
export interface GivenByScript {
  /** Points of each award. */
  readonly given?: readonly Points[] | undefined;
  /** What full budgets cut of an award, which is numbered from 1. */
  readonly full?: readonly (readonly [award: number, cut: Points])[] | undefined;
}

/** The caps of one receipt that cut an award. */
function receiptCaps({ caps }: CompiledGiver, asked: Points, points: Points): RuleView['caps'] {
  if (points === asked) return [];
  return caps
    .filter(({ period, pointsMax }) => period === 'receipt' && pointsMax < asked)
    .map(({ period, pointsMax }) => ({ period, pointsMax, cut: asked - points }));
}

/** The caps that cut an award: those that had less room. Where nobody knows what stood there, each could have been it. */
function cutBy(
  giver: CompiledGiver,
  asked: Points,
  cut: Points,
  limits: readonly Limit[],
  counters: CounterValues,
) {
  const limited = giver.caps
    .filter(({ period }) => period !== 'receipt')
    .map((cap) => ({ cap, limit: limits.find(({ counter }) => counter === cap.counter) }));
  const views = limited.map(({ cap: { period, pointsMax }, limit }) => {
    const stood = limit && counters(limit);
    return {
      period,
      pointsMax,
      cut: stood === undefined ? cut : Math.max(0, asked - Math.max(0, pointsMax - stood)),
    };
  });
  const full = views.filter((each) => each.cut > 0);
  return full.length > 0 ? full : views.map((each) => ({ ...each, cut }));
}

function withLimits(
  view: RuleView,
  giver: CompiledGiver,
  { awards }: Judgement,
  counters: CounterValues,
  by: GivenByScript,
): RuleView {
  const index = awards.findIndex(({ rule }) => rule === giver.name);
  const award = awards[index];
  const points = by.given?.[index] ?? award?.points;
  if (!award || points === undefined || points === award.points) return view;
  const ofBudget = by.full?.find(([number]) => number === index + 1)?.[1] ?? 0;
  const cut = award.points - points - ofBudget;
  const longer = cut > 0 ? cutBy(giver, award.points, cut, award.limits ?? [], counters) : [];
  const caps = [...view.caps, ...longer];
  if (ofBudget === 0) return { ...view, outcome: 'capped', points, caps };
  const detail = `the budget ${giver.budget} is used up: ${ofBudget} points are left out`;
  return { ...view, outcome: points > 0 ? 'capped' : 'excluded', points, caps, detail };
}

export interface Explained {
  readonly judgement: Judgement;
  readonly rules: readonly RuleView[];
}

/** A judgement and the story of every rule and promotion, in the order in which they were looked at. */
export function explain(rules: CompiledRules, question: Question, given: GivenByScript = {}): Explained {
  const views = new Map<CompiledGiver, RuleView>();
  const view = (giver: CompiledGiver, differing: Partial<RuleView>) => {
    const blank: RuleView = {
      rule: giver.name,
      outcome: 'not_matched',
      conditions: [],
      base: 0,
      rounding: giver.rounding,
      caps: [],
      points: 0,
    };
    views.set(giver, { ...blank, ...differing });
  };
  const trace: Trace = {
    // A rule on flights says nothing about a receipt; naming it would hide what matters.
    notOfKind: () => {},
    notMatched(giver, each, detail) {
      view(giver, { conditions: conditionsOf(giver, each), ...(detail === undefined ? {} : { detail }) });
    },
    judged(giver, each, base, points, asked, detail) {
      const caps = receiptCaps(giver, asked, points);
      const why = asked === 0 && detail === undefined ? shortageOf(rules, giver.name, each) : detail;
      const without = detail === undefined ? 'not_matched' : 'excluded';
      view(giver, {
        outcome: caps.length > 0 ? 'capped' : points > 0 ? 'applied' : without,
        conditions: conditionsOf(giver, each),
        base,
        caps,
        points,
        ...(why === undefined ? {} : { detail: why }),
      });
    },
    failed: (giver, reason) => view(giver, { outcome: 'failed', detail: reason }),
  };
  const judgement = evaluate(rules, question, trace);
  return {
    judgement,
    rules: [...views].map(([giver, each]) => withLimits(each, giver, judgement, question.counters, given)),
  };
}
