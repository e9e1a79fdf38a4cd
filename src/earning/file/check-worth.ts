/** PURE. What points are worth: redemption rules, and rates between currencies of money. */
import type { Path, Report } from './check.ts';
import type { RedemptionRule } from './redemption-schema.ts';
import type { ProgramFile } from './schema.ts';

function checkSteps(rule: RedemptionRule, path: Path, { fault }: Report): void {
  const { minimumPoints, stepPoints, maximumPoints, exchange } = rule;
  if (maximumPoints !== undefined && maximumPoints < minimumPoints)
    fault([...path, 'maximumPoints'], `is below the minimum of ${minimumPoints} points`);
  else if (maximumPoints !== undefined && maximumPoints % stepPoints !== 0)
    fault([...path, 'maximumPoints'], `is no multiple of the step of ${stepPoints} points`);
  // Where only a step is said, the first step is the minimum.
  if (minimumPoints > 1 && minimumPoints % stepPoints !== 0)
    fault([...path, 'minimumPoints'], `is no multiple of the step of ${stepPoints} points`);
  const leastPoints = Math.max(minimumPoints, stepPoints);
  if (BigInt(leastPoints) * BigInt(exchange.minorUnits) < BigInt(exchange.points)) {
    const needed = Math.ceil(exchange.points / exchange.minorUnits);
    const detail = `buys nothing with ${leastPoints} points: say minimumPoints of ${needed} or more, or a larger step`;
    fault([...path, 'exchange'], detail);
  }
}

/** Whether a rule fits whoever pays, wherever and whenever. */
function fitsAlways(rule: RedemptionRule): boolean {
  const { stores, channels, tiers, segments, during, when } = rule;
  return [stores, channels, tiers, segments, during, when].every((each) => each === undefined);
}

function checkRedemption(file: ProgramFile, report: Report): void {
  for (const [i, rule] of file.redemption.entries()) {
    const path = ['redemption', i];
    checkSteps(rule, path, report);
    const currency = file.currencies.find(({ code }) => code === rule.currency);
    if (currency?.spendable === false)
      report.fault([...path, 'currency'], `${rule.currency} is not spendable, so nobody can pay with it`);
    const { money } = rule.exchange;
    if (file.money === undefined && file.moneyCurrencies && !file.moneyCurrencies.includes(money))
      report.fault([...path, 'exchange', 'money'], `${money} is not in moneyCurrencies`);
    if (file.money !== undefined && file.money.currency !== money)
      report.fault([...path, 'exchange', 'money'], `has to be ${file.money.currency}, in which rules count`);
    const before = file.redemption
      .slice(0, i)
      .find((each) => each.currency === rule.currency && fitsAlways(each));
    if (before)
      report.warn([...path, 'name'], `is never reached: ${before.name}, which stands before it, always fits`);
  }
}

function checkMoney(file: ProgramFile, { fault, warn }: Report): void {
  const { money, moneyCurrencies = [] } = file;
  if (!money) {
    if (moneyCurrencies.length > 1)
      warn(
        ['moneyCurrencies'],
        'are counted alike, minor unit for minor unit: say money with rates to convert them',
      );
    return;
  }
  const seen = new Set<string>();
  for (const [i, { currency, from }] of money.rates.entries()) {
    if (currency === money.currency)
      fault(['money', 'rates', i, 'currency'], `${currency} is the program's own: it needs no rate`);
    if (seen.has(`${currency} ${from}`))
      fault(['money', 'rates', i, 'from'], `there are two rates of ${currency} from ${from}`);
    seen.add(`${currency} ${from}`);
    if (file.moneyCurrencies && !moneyCurrencies.includes(currency))
      warn(
        ['money', 'rates', i, 'currency'],
        `${currency} is not in moneyCurrencies, so no receipt is in it`,
      );
  }
  const rated = new Set([money.currency, ...money.rates.map(({ currency }) => currency)]);
  for (const [i, currency] of moneyCurrencies.entries())
    if (!rated.has(currency)) fault(['moneyCurrencies', i], `${currency} has no rate in money.rates`);
}

export function checkWorth(file: ProgramFile, report: Report): void {
  for (const [i, { code, spendable, poolable }] of file.currencies.entries()) {
    if (poolable && !spendable)
      report.fault(
        ['currencies', i, 'poolable'],
        `${code} is not spendable, so nobody can spend it together`,
      );
  }
  checkRedemption(file, report);
  checkMoney(file, report);
}
