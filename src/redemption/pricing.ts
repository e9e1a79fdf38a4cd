/**
 * PURE. Judges what a redemption or hold asks for by the redemption rules of a version: whether so many points may be taken,
 * and what they are worth.
 *
 * Each currency of a price in several is judged by its own rule. Together they never pay more than is eligible for any of
 * them. What was judged is kept with the operation (`worth.ts`), so nothing is judged twice.
 *
 * Not judged here is how many points the member has: that is known for certain only in the wallet's script, at its moment.
 * Everything else depends on the request, the version and the time alone, and none of these changes on the way to the
 * script, so checking it before is the same as checking it there: what comes through both are the multiples of the step from
 * the minimum to the smaller of the rule's maximum and what is available, which is what a quote offers.
 */
import type { ProgramVersion } from '#src/earning/program.ts';
import {
  checkMoneyCurrency,
  type MoneyAmount,
  moneyNotAccepted,
  moneyText,
} from '#src/earning/rules/money.ts';
import type { JudgedMember, Purchase } from '#src/earning/rules/types.ts';
import { type Fault, Problem } from '#src/errors.ts';
import type { EpochMs, Points } from '#src/values.ts';
import {
  eligibleOf,
  hasRules,
  type Occasion,
  type RuleFailed,
  refusalOf,
  type Terms,
  termsOf,
  valueOfPoints,
} from './rules.ts';
import type { KeptWorth, WorthPart } from './worth.ts';

/** A part of a price and where in the body it stands. */
export interface AskedPart {
  readonly currency: { readonly number: number; readonly code: string };
  readonly points: Points;
  readonly pointer: string;
}

export interface Asked {
  readonly parts: readonly AskedPart[];
  readonly purchase: Purchase | undefined;
  /** What the caller takes the points to be worth. */
  readonly value: MoneyAmount | undefined;
}

function limitProblem(detail: string, fields: Readonly<Record<string, unknown>>, faults: Fault[]): Problem {
  return new Problem('redemption_limit', detail, { ...fields, errors: faults });
}

/** The refusal where no rule fits; `other_money` where one would, in another currency of money. */
export function noTermsProblem(
  why: 'no_rule' | 'other_money',
  currency: string,
  money: string | undefined,
  moneyPointer: string,
  pointer: string,
): Problem {
  if (why === 'other_money' && money !== undefined)
    return moneyNotAccepted(money, moneyPointer, `${currency} have no value in ${money}`);
  const detail = `no redemption rule for ${currency} fits`;
  return limitProblem(detail, { limitedBy: 'rule' }, [{ pointer, detail }]);
}

interface Priced extends AskedPart {
  readonly terms: Terms;
  readonly amount: number;
}

function priced(
  { definition }: Pick<ProgramVersion, 'definition'>,
  part: AskedPart,
  occasion: Occasion,
  failed: RuleFailed | undefined,
): Priced {
  const { currency, points, pointer } = part;
  const terms = termsOf(definition, currency.code, occasion, failed);
  if (terms === 'no_rule' || terms === 'other_money') {
    const moneyPointer = occasion.purchase ? '/purchase/currency' : '/value/currency';
    const money = occasion.purchase?.currency ?? occasion.money;
    throw noTermsProblem(terms, currency.code, money, moneyPointer, pointer);
  }
  const refusal = refusalOf(terms, points);
  if (refusal) {
    const { limitedBy, detail } = refusal;
    const { minimum, step, maximum } = terms;
    const at =
      limitedBy === 'receipt' ? '/purchase' : limitedBy === 'payment' ? '/purchase/payments' : pointer;
    throw limitProblem(`${at}: ${detail}`, { limitedBy, currency: currency.code, minimum, step, maximum }, [
      { pointer: at, detail },
    ]);
  }
  return { ...part, terms, amount: valueOfPoints(terms, points) };
}

/** Several currencies may each be within their own share of the lines and more than all of the lines together. */
function checkTogether(
  version: Pick<ProgramVersion, 'definition'>,
  parts: readonly Priced[],
  occasion: Occasion,
  amount: number,
): void {
  if (parts.length < 2 || !occasion.purchase) return;
  const rules = parts.map(({ terms }) => terms.rule);
  const eligible = eligibleOf(version.definition, rules, { ...occasion, purchase: occasion.purchase });
  if (amount <= eligible) return;
  const currency = occasion.purchase.currency;
  const detail = `pay ${moneyText({ amount, currency })}, and ${moneyText({ amount: eligible, currency })} can be paid`;
  throw limitProblem(`/parts: ${detail}`, { limitedBy: 'share' }, [{ pointer: '/parts', detail }]);
}

/** The one money that all parts are worth; they may differ only where neither receipt nor value names one. */
function moneyOf(parts: readonly Priced[]): string {
  const money = parts[0]!.terms.money;
  if (parts.every(({ terms }) => terms.money === money)) return money;
  const detail = 'is needed: the parts are worth money of different currencies';
  throw new Problem('validation_failed', `/value: ${detail}`, { errors: [{ pointer: '/value', detail }] });
}

/**
 * What an asked price is worth; undefined where no rule says, which takes any points. Throws `redemption_limit`,
 * `value_mismatch` or `money_currency_not_accepted`.
 */
export function judgeRedemption(
  version: ProgramVersion,
  asked: Asked,
  member: JudgedMember,
  at: EpochMs,
  failed?: RuleFailed,
): KeptWorth | undefined {
  const ruled = asked.parts.filter(({ currency }) => hasRules(version.definition, currency.code));
  if (ruled.length === 0) return undefined;
  const { purchase } = asked;
  if (purchase) checkMoneyCurrency(version.definition, purchase.currency, '/purchase/currency');
  const occasion: Occasion = { purchase, member, at, money: asked.value?.currency };
  const parts = ruled.map((part) => priced(version, part, occasion, failed));
  const currency = moneyOf(parts);
  const amount = parts.reduce((sum, part) => sum + part.amount, 0);
  checkTogether(version, parts, occasion, amount);
  if (asked.value && (asked.value.amount !== amount || asked.value.currency !== currency)) {
    const detail = `the points are worth ${moneyText({ amount, currency })} now`;
    throw new Problem('value_mismatch', detail, {
      value: { amount, currency },
      errors: [{ pointer: '/value', detail }],
    });
  }
  return {
    programVersion: version.version,
    judgedAt: new Date(at).toISOString(),
    rules: Object.fromEntries(parts.map(({ currency: { code }, terms }) => [code, terms.rule.name])),
    value: { amount, currency },
    parts: parts.map((part): WorthPart => [part.currency.number, part.points, part.amount]),
  };
}
