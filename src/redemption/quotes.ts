/**
 * What a member could redeem now. Nothing is reserved and no price is promised: a quote shows what a redemption of the same
 * receipt would be judged by if it came at this moment, and a redemption that names the quote's `value` is refused where
 * that has changed.
 */
import { type Program, programNow } from '#src/earning/program.ts';
import { checkMoneyCurrency, type MoneyAmount } from '#src/earning/rules/money.ts';
import type { Purchase } from '#src/earning/rules/types.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Reply } from '#src/http/route.ts';
import { memberNow } from '#src/members/member-ref.ts';
import { checkStore } from '#src/wallet/fields.ts';
import { type Judged, judgedNow } from './judged.ts';
import { noTermsProblem } from './pricing.ts';
import { type RedemptionContext, spendableCurrency } from './redemptions.ts';
import { exchangeOf, hasRules, type LimitedBy, offerOf, termsOf } from './rules.ts';
import type { RedemptionQuoteBody } from './schemas.ts';

interface Offered {
  readonly minimum: number;
  readonly step: number;
  readonly maximum: number;
  readonly limitedBy: LimitedBy;
  readonly best: { readonly points: number; readonly value?: MoneyAmount };
  readonly exchange?: ReturnType<typeof exchangeOf>;
  readonly rule?: string;
  readonly programVersion?: number;
}

/** A version without rules for the currency: any number of points, and no value. */
function freeOffer(available: number): Offered {
  return {
    minimum: 1,
    step: 1,
    maximum: available,
    limitedBy: available > 0 ? 'available' : 'none',
    best: { points: available },
  };
}

/** What the rules of the version in force offer somebody who has so many points. */
export function offered(
  context: RedemptionContext,
  program: Program,
  currency: string,
  available: number,
  { version: { version, definition }, ...judged }: Judged,
  purchase: Purchase | undefined,
): Offered {
  if (!hasRules(definition, currency)) return freeOffer(available);
  if (purchase) checkMoneyCurrency(definition, purchase.currency, '/purchase/currency');
  const terms = termsOf(definition, currency, { ...judged, purchase }, (rule, reason) =>
    context.ruleFailed(program, rule, reason),
  );
  if (terms === 'other_money')
    throw noTermsProblem(terms, currency, purchase?.currency, '/purchase/currency', '/currency');
  if (terms === 'no_rule') {
    return { minimum: 1, step: 1, maximum: 0, limitedBy: 'rule', best: { points: 0 } };
  }
  return {
    ...offerOf(terms, available),
    exchange: exchangeOf(terms),
    rule: terms.rule.name,
    programVersion: version,
  };
}

/** `POST /v1/redemptions/quote` */
export async function quoteRedemption(
  context: RedemptionContext,
  call: Call<RedemptionQuoteBody>,
): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const { purchase } = body;
  if (purchase) checkStore(caller, purchase.store);
  const currency = spendableCurrency(caller, body.currency, '/currency');
  const member = await memberNow(
    context.operations,
    () => context.resolveMember(program, body.member),
    programNow(program),
  );
  if (!member) throw new Problem('member_not_found');
  const { facts, reading } = member;
  const judged = await judgedNow(context, program, [currency.code], facts);
  const available = reading.balances.find((row) => row[0] === currency.number)?.[1] ?? 0;
  const offer = offered(context, program, currency.code, available, judged, purchase);
  const maySpend = reading.status === 'active' && !reading.isFrozen;
  return {
    status: 200,
    body: {
      object: 'redemptionQuote',
      mode: program.mode,
      currency: currency.code,
      available,
      ...offer,
      ...(maySpend ? {} : { maximum: 0, limitedBy: 'member', best: { points: 0 } }),
    },
  };
}
