/**
 * PURE. Money in several currencies: what a receipt in another one counts by the dated rates of a program file.
 *
 * Amounts are whole smallest units of their own currency everywhere, and rates go from smallest unit to smallest unit, so
 * decimals are only for people to read: 500 JPY, 5.00 EUR, 0.500 KWD are all 500. The rate is that of the day of the
 * purchase in the program's zone; whoever judges the purchase again later, for a return, gets the same one by giving the
 * purchase's time and the version that it was judged by.
 */
import { Problem } from '#src/errors.ts';
import type { EpochMs } from '#src/values.ts';
import type { Money } from '../file/redemption-schema.ts';
import type { ProgramFile } from '../file/schema.ts';
import { momentOf } from './calendar.ts';
import type { Payment, Purchase } from './types.ts';

/**
 * Currencies of ISO 4217 that do not have two decimals. Not from `Intl`: it knows what people use, such as none for the
 * Serbian dinar or the Iraqi one, where tills and banks count what the standard says.
 */
const decimalsByCurrency: Readonly<Record<string, number>> = Object.fromEntries([
  ...'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'
    .split(' ')
    .map((code) => [code, 0]),
  ...'BHD IQD JOD KWD LYD OMR TND'.split(' ').map((code) => [code, 3]),
  ...'CLF UYW'.split(' ').map((code) => [code, 4]),
]);

/** Decimals of a currency of money by ISO 4217: 0 for JPY, 3 for KWD, 2 for most. */
export function moneyDecimals(currency: string): number {
  return Object.hasOwn(decimalsByCurrency, currency) ? decimalsByCurrency[currency]! : 2;
}

/** An amount for people: "500 JPY", "5.00 EUR", "0.500 KWD". */
export function moneyText({ amount, currency }: MoneyAmount): string {
  const decimals = moneyDecimals(currency);
  if (decimals === 0) return `${amount} ${currency}`;
  const digits = String(amount).padStart(decimals + 1, '0');
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)} ${currency}`;
}

/** Minor units with their ISO 4217 code. */
export interface MoneyAmount {
  readonly amount: number;
  readonly currency: string;
}

/** Smallest units of the one currency that one smallest unit of another is, as an exact fraction. */
export interface ExactRate {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const par: ExactRate = { numerator: 1n, denominator: 1n };

/** floor(amount × rate), exactly. Throws `balance_limit` where it cannot be counted. */
export function converted(amount: number, { numerator, denominator }: ExactRate): number {
  const result = Number((BigInt(amount) * numerator) / denominator);
  if (!Number.isSafeInteger(result))
    throw new Problem('balance_limit', 'the amount of money is larger than can be counted');
  return result;
}

interface DatedRate extends ExactRate {
  readonly from: string;
}

/** Rates by currency, the newest first; made once a version. */
const ratesOf = new WeakMap<Money, ReadonlyMap<string, readonly DatedRate[]>>();

function compiledRates(money: Money): ReadonlyMap<string, readonly DatedRate[]> {
  const known = ratesOf.get(money);
  if (known) return known;
  const rates = new Map<string, DatedRate[]>();
  for (const { currency, from, units, base } of money.rates) {
    const dated = { from, numerator: BigInt(base), denominator: BigInt(units) };
    rates.set(currency, [dated, ...(rates.get(currency) ?? [])]);
  }
  // Sorting is stable, so of two rates of one day the one that stands further down in the file counts.
  for (const dated of rates.values()) dated.sort((a, b) => (a.from < b.from ? 1 : a.from > b.from ? -1 : 0));
  ratesOf.set(money, rates);
  return rates;
}

type WithMoney = Pick<ProgramFile, 'money' | 'timeZone'>;

/** What a currency counts in the program's on a day "2026-11-22"; undefined where there is no rate yet. */
function rateToProgram(money: Money, currency: string, date: string): ExactRate | undefined {
  if (currency === money.currency) return par;
  return compiledRates(money)
    .get(currency)
    ?.find(({ from }) => from <= date);
}

function dayOf(definition: WithMoney, at: EpochMs): string {
  return momentOf(at, definition.timeZone).date;
}

/** From one currency of money to another by the rates of a day; undefined where the file does not say. */
export function rateBetween(
  definition: WithMoney,
  from: string,
  to: string,
  at: EpochMs,
): ExactRate | undefined {
  if (from === to) return par;
  if (!definition.money) return undefined;
  const date = dayOf(definition, at);
  const into = rateToProgram(definition.money, from, date);
  const outOf = rateToProgram(definition.money, to, date);
  if (!into || !outOf) return undefined;
  return {
    numerator: into.numerator * outOf.denominator,
    denominator: into.denominator * outOf.numerator,
  };
}

/** The refusal of a currency that the program does not take. */
export function moneyNotAccepted(currency: string, pointer: string, detail?: string): Problem {
  return new Problem('money_currency_not_accepted', undefined, {
    errors: [{ pointer, detail: detail ?? `the program does not accept ${currency}` }],
  });
}

/** Refuses a currency that is not in the program's list, where it has one. */
export function checkMoneyCurrency(
  definition: Pick<ProgramFile, 'moneyCurrencies'>,
  currency: string,
  pointer: string,
): void {
  const { moneyCurrencies } = definition;
  if (moneyCurrencies && !moneyCurrencies.includes(currency)) throw moneyNotAccepted(currency, pointer);
}

function programRate(
  definition: WithMoney & { readonly money: Money },
  currency: string,
  at: EpochMs,
  pointer: string,
): ExactRate {
  const date = dayOf(definition, at);
  const rate = rateToProgram(definition.money, currency, date);
  if (!rate) throw moneyNotAccepted(currency, pointer, `the program has no rate for ${currency} on ${date}`);
  return rate;
}

/** Whether a currency is another than the one that the program's rules count in. */
function isForeign(
  definition: WithMoney,
  currency: string,
): definition is WithMoney & { readonly money: Money } {
  return definition.money !== undefined && definition.money.currency !== currency;
}

/** An amount such as a fare, as rules count it, rounded down. Without `money` in the file all currencies count alike. */
export function toProgramAmount(
  definition: WithMoney,
  money: MoneyAmount,
  occurredAt: EpochMs,
  pointer = '/flight/fare/currency',
): MoneyAmount {
  if (!isForeign(definition, money.currency)) return money;
  const rate = programRate(definition, money.currency, occurredAt, pointer);
  return { amount: converted(money.amount, rate), currency: definition.money.currency };
}

/**
 * Payments keep the share of the receipt that they had: each is the difference of cumulative sums, so that payments which
 * covered the lines before still cover them after each line was rounded down.
 */
function convertedPayments(payments: readonly Payment[], before: number, after: number): Payment[] {
  let [sum, done] = [0, 0];
  return payments.map((payment) => {
    sum += payment.amount;
    const upTo = before === 0 ? 0 : converted(sum, { numerator: BigInt(after), denominator: BigInt(before) });
    const amount = upTo - done;
    done = upTo;
    return { ...payment, amount };
  });
}

/**
 * A receipt as rules count it: in the program's currency of money, each line rounded down. The receipt itself where it is in
 * it already, or where the file names none. Throws `money_currency_not_accepted` where there is no rate for that day.
 */
export function toProgramMoney(definition: WithMoney, purchase: Purchase, occurredAt: EpochMs): Purchase {
  if (!isForeign(definition, purchase.currency)) return purchase;
  const rate = programRate(definition, purchase.currency, occurredAt, '/purchase/currency');
  let [before, after] = [0, 0];
  const lines = purchase.lines.map((line) => {
    const amount = converted(line.amount, rate);
    before += line.amount;
    after += amount;
    return { ...line, amount };
  });
  return {
    ...purchase,
    currency: definition.money.currency,
    lines,
    payments: purchase.payments && convertedPayments(purchase.payments, before, after),
  };
}
