/**
 * PURE. The examples of a program file, run: each receipt is judged with the member that stands beside it, whose counters are
 * at zero apart from the number of purchases. Awards have to be the expected ones, all of them and no others; dates count
 * where the example names them. A budget has all of its points.
 */
import { Problem } from '#src/errors.ts';
import { availableDay, lastValidDay } from '#src/wallet/balances.ts';
import type { Example } from '../file/example-schema.ts';
import type { ProgramFile } from '../file/schema.ts';
import { judgeAloud } from '../judge.ts';
import { purchasesCounter } from '../rules/caps.ts';
import { checkMoneyCurrency } from '../rules/money.ts';
import type { Award, JudgedMember, RuleView } from '../rules/types.ts';
import { createMemberCounters, weigh } from './counters.ts';
import { type Draft, draftOf } from './draft.ts';

export interface FailedExample {
  /** Where it stands in the file. */
  readonly pointer: string;
  readonly name: string;
  readonly expected: readonly string[];
  readonly came: readonly string[];
  /** What differs, and why where a rule did not match. */
  readonly reasons: readonly string[];
}

interface Outcome {
  readonly awards: readonly Award[];
  readonly rules: readonly RuleView[];
  readonly failures: readonly { readonly rule: string; readonly reason: string }[];
}

function memberOf({ member = {} }: Example): JudgedMember {
  const { tier, segments = [], birthday, joinedAt, attributes = {}, codes = [] } = member;
  return {
    isKnown: true,
    tier,
    segments,
    birthday,
    joinedAt: joinedAt === undefined ? undefined : Date.parse(joinedAt),
    attributes,
    codes,
  };
}

function outcomeOf({ program, version }: Draft, example: Example): Outcome {
  const { definition } = version;
  const { purchase, flight, activity, purchasesBefore = 0 } = example;
  if (purchase) checkMoneyCurrency(definition, purchase.currency, '/purchase/currency');
  const counters = createMemberCounters();
  const purchases = definition.numbers.counters[purchasesCounter];
  if (purchases !== undefined) counters.add({ counter: purchases, period: 0 }, purchasesBefore);
  const occurredAt = Date.parse(example.occurredAt);
  const asked = {
    subject: { purchase, flight, activity },
    member: memberOf(example),
    counters: counters.value,
    occurredAt,
    postedAt: occurredAt,
  };
  const { judgement, rules } = judgeAloud(program, version, asked);
  const given = weigh(judgement, counters);
  const awards = judgement.awards
    .map((award, i) => ({ ...award, points: given?.[i] ?? award.points }))
    .filter(({ points }) => points > 0);
  return { awards, rules, failures: judgement.failures };
}

type Expected = Example['expect'][number];

function awardText({ rule, points, currency, expiresOn, availableOn }: Expected): string {
  const dates = [
    ...(availableOn === undefined ? [] : [`available on ${availableOn}`]),
    ...(expiresOn === undefined ? [] : [`valid through ${expiresOn}`]),
  ];
  const award = currency === undefined ? `${rule} ${points}` : `${rule} ${points} ${currency}`;
  return dates.length > 0 ? `${award} (${dates.join(', ')})` : award;
}

/** An award in the words of an example, with those dates that the expectation names. */
function cameOf(award: Award, timeZone: string, expected: Expected | undefined): Expected {
  const { rule, points, currency, expiresAt, availableAt } = award;
  return {
    rule,
    points,
    currency,
    ...(expected?.availableOn === undefined || availableAt === 0
      ? {}
      : { availableOn: availableDay(availableAt, timeZone) }),
    ...(expected?.expiresOn === undefined || expiresAt === 0
      ? {}
      : { expiresOn: lastValidDay(expiresAt, timeZone) }),
  };
}

/** Why a rule gave less than expected, as far as it says so. */
function whyNot(rule: string, { rules, failures }: Outcome): string[] {
  const failure = failures.find((each) => each.rule === rule);
  if (failure) return [`${rule} failed: ${failure.reason}`];
  const view = rules.find((each) => each.rule === rule);
  if (!view) return [`${rule} is not for what the example is about`];
  const missed = view.conditions
    .filter(({ holds }) => !holds)
    .map(({ condition, detail }) => `${rule} wants ${condition}${detail === undefined ? '' : `: ${detail}`}`);
  if (missed.length > 0) return missed;
  return view.detail === undefined ? [] : [`${rule}: ${view.detail}`];
}

function compared(draft: Draft, example: Example, outcome: Outcome): Omit<FailedExample, 'pointer' | 'name'> {
  const main = draft.program.mainCurrency.code;
  const wanted = example.expect.map((each) => ({ ...each, currency: each.currency ?? main }));
  const wantedOf = ({ rule, currency }: Award) =>
    wanted.find((each) => each.rule === rule && each.currency === currency);
  const came = outcome.awards.map((award) => cameOf(award, draft.program.timeZone, wantedOf(award)));
  const [expectedTexts, cameTexts] = [wanted.map(awardText), came.map(awardText)];
  const missing = wanted.filter((_, i) => !cameTexts.includes(expectedTexts[i]!));
  const surplus = came.filter((_, i) => !expectedTexts.includes(cameTexts[i]!));
  const reasons = [
    ...missing.flatMap((each) => [`${awardText(each)} did not come`, ...whyNot(each.rule, outcome)]),
    ...surplus.map((each) => `${awardText(each)} was not expected`),
  ];
  if (reasons.length === 0 && wanted.length !== came.length) reasons.push('an award is expected twice');
  return { expected: expectedTexts, came: cameTexts, reasons };
}

function compare(draft: Draft, example: Example): Omit<FailedExample, 'pointer' | 'name'> {
  try {
    return compared(draft, example, outcomeOf(draft, example));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const expected = example.expect.map(awardText);
    return { expected, came: [], reasons: [`the receipt is refused: ${error.message}`] };
  }
}

/** Runs all examples; those that do not come out as they say. */
export function failedExamples(file: ProgramFile): FailedExample[] {
  const draft = draftOf(file);
  return file.examples.flatMap((example, index) => {
    const found = compare(draft, example);
    return found.reasons.length > 0 ? [{ pointer: `/examples/${index}`, name: example.name, ...found }] : [];
  });
}
