/**
 * PURE. Why every rule gave what it gave, or what would have to differ. The same judgement as the one that gave the points,
 * listened to: an explanation cannot tell another story than the award.
 */
import type { Points } from '#src/values.ts';
import type { CompiledGiver, CompiledRules } from './compile.ts';
import { evaluate } from './evaluate.ts';
import type { Question, Trace } from './judging.ts';
import type { Case } from './selection.ts';
import type { ConditionView, Judgement, RuleView } from './types.ts';

/** The conditions of a giver, with what would have to differ where one does not hold. */
function conditionsOf({ checks }: CompiledGiver, each: Case): ConditionView[] {
  return checks.map((check) => {
    const holds = check.holds(each);
    return { condition: check.condition, holds, ...(holds ? {} : { detail: check.detail(each) }) };
  });
}

/** What the script gave, where caps or budgets trimmed any award; absent: all that was asked for. */
export interface GivenByScript {
  /** Points of each award. */
  readonly given?: readonly Points[] | undefined;
  /** What full budgets cut of an award, which is numbered from 1. */
  readonly full?: readonly (readonly [award: number, cut: Points])[] | undefined;
}

function withLimits(view: RuleView, giver: CompiledGiver, judgement: Judgement, by: GivenByScript): RuleView {
  const index = judgement.awards.findIndex(({ rule }) => rule === giver.name);
  const asked = judgement.awards[index]?.points ?? 0;
  const points = by.given?.[index] ?? asked;
  if (index < 0 || points === asked) return view;
  const ofBudget = by.full?.find(([award]) => award === index + 1)?.[1] ?? 0;
  const cut = asked - points - ofBudget;
  const caps = giver.caps
    .filter(({ period }) => cut > 0 && period !== 'receipt')
    .map(({ period, pointsMax }) => ({ period, pointsMax, cut }));
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
    judged(giver, each, base, points, detail) {
      const outcome = points > 0 ? 'applied' : detail === undefined ? 'not_matched' : 'excluded';
      const cut = detail === 'the cap of a receipt';
      view(giver, {
        outcome: cut ? 'capped' : outcome,
        conditions: conditionsOf(giver, each),
        base,
        points,
        ...(detail === undefined ? {} : { detail }),
      });
    },
    failed: (giver, reason) => view(giver, { outcome: 'failed', detail: reason }),
  };
  const judgement = evaluate(rules, question, trace);
  return {
    judgement,
    rules: [...views].map(([giver, each]) => withLimits(each, giver, judgement, given)),
  };
}
