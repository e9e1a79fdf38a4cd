/** PURE. Names in a program file: each used once, and whatever is named is there. */

import type { Expiry } from './basics-schema.ts';
import type { Path, Report } from './check.ts';
import type { Promotion, Rule } from './earning-schema.ts';
import type { Example } from './example-schema.ts';
import type { ProgramFile } from './schema.ts';

const moneyCodes = new Set(Intl.supportedValuesOf('currency'));

interface Place {
  readonly name: string;
  readonly path: Path;
}

function once(places: readonly Place[], { fault }: Report): void {
  const seen = new Set<string>();
  for (const { name, path } of places) {
    if (seen.has(name)) fault(path, `${name} is used twice; give one of them another name`);
    seen.add(name);
  }
}

function placesOf(list: string, names: readonly string[], field?: string): Place[] {
  return names.map((name, i) => ({ name, path: field === undefined ? [list, i] : [list, i, field] }));
}

function namesOf(list: string, items: readonly { readonly name: string }[]): Place[] {
  const names = items.map(({ name }) => name);
  return placesOf(list, names, 'name');
}

function checkOnce(file: ProgramFile, report: Report): void {
  const codes = file.currencies.map(({ code }) => code);
  once(placesOf('currencies', codes, 'code'), report);
  once(placesOf('funders', file.funders), report);
  once(placesOf('identifierTypes', file.identifierTypes), report);
  once(placesOf('moneyCurrencies', file.moneyCurrencies ?? []), report);
  // An award names its rule or promotion alone, and counters count for either, so they share one space of names.
  once([...namesOf('rules', file.rules), ...namesOf('promotions', file.promotions)], report);
  once(namesOf('groups', file.groups), report);
  once(namesOf('budgets', file.budgets), report);
  once(namesOf('redemption', file.redemption), report);
  once(namesOf('examples', file.examples), report);
}

/** What may be named. */
interface Known {
  readonly currencies: ReadonlySet<string>;
  readonly funders: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly budgets: ReadonlySet<string>;
  readonly rules: ReadonlyMap<string, Rule>;
  readonly awarding: ReadonlySet<string>;
}

function known(file: ProgramFile): Known {
  const names = (items: readonly { readonly name: string }[]) => new Set(items.map(({ name }) => name));
  return {
    currencies: new Set(file.currencies.map(({ code }) => code)),
    funders: new Set(file.funders),
    groups: names(file.groups),
    budgets: names(file.budgets),
    rules: new Map(file.rules.map((rule) => [rule.name, rule])),
    awarding: new Set([...names(file.rules), ...names(file.promotions)]),
  };
}

function isThere(
  set: ReadonlySet<string>,
  name: string | undefined,
  path: Path,
  list: string,
  { fault }: Report,
): void {
  if (name === undefined || set.has(name)) return;
  const choice = [...set].slice(0, 8).join(', ');
  fault(path, `${name} is not in ${list}${choice === '' ? ', which is empty' : `: there is ${choice}`}`);
}

function checkGiven(item: Rule | Promotion, path: Path, names: Known, report: Report): void {
  isThere(names.currencies, item.currency, [...path, 'currency'], 'currencies', report);
  isThere(names.funders, item.funder, [...path, 'funder'], 'funders', report);
  isThere(names.budgets, item.budget, [...path, 'budget'], 'budgets', report);
  const shares = item.costShares ?? [];
  for (const [i, { funder }] of shares.entries())
    isThere(names.funders, funder, [...path, 'costShares', i, 'funder'], 'funders', report);
  const places = shares.map(({ funder }, i) => ({
    name: funder,
    path: [...path, 'costShares', i, 'funder'],
  }));
  once(places, report);
  const percent = shares.reduce((sum, share) => sum + share.percent, 0);
  if (shares.length > 0 && percent !== 100)
    report.fault([...path, 'costShares'], `sum to ${percent} percent; they have to sum to 100`);
}

function checkMultiplied(promotion: Promotion, path: Path, names: Known, report: Report): void {
  for (const [i, name] of (promotion.multiply?.rules ?? []).entries()) {
    const at = [...path, 'multiply', 'rules', i];
    const rule = names.rules.get(name);
    if (!rule) report.fault(at, `${name} is not in rules`);
    else if (rule.currency !== promotion.currency)
      report.fault(at, `${name} gives ${rule.currency}, and this promotion multiplies ${promotion.currency}`);
    else if (rule.on !== promotion.on)
      report.fault(at, `${name} is on a ${rule.on}, and this promotion on a ${promotion.on}`);
  }
}

function checkExample(example: Example, path: Path, names: Known, report: Report): void {
  const subjects = (['purchase', 'flight', 'activity'] as const).filter(
    (each) => example[each] !== undefined,
  );
  if (subjects.length !== 1) report.fault(path, 'needs exactly one of purchase, flight and activity');
  for (const [i, { rule, currency }] of example.expect.entries()) {
    isThere(names.awarding, rule, [...path, 'expect', i, 'rule'], 'rules or promotions', report);
    isThere(names.currencies, currency, [...path, 'expect', i, 'currency'], 'currencies', report);
  }
}

/** Expiry by inactivity ends all points of a currency together, so nothing but the currency can have it. */
function checkExpiry(expiry: Expiry | undefined, path: Path, isCurrency: boolean, { fault }: Report): void {
  if (!expiry) return;
  const detail = 'inactivity ends all points of a currency together: say it of the currency alone';
  if (expiry.kind === 'inactivity' && !isCurrency) fault([...path, 'kind'], detail);
  if (expiry.kind !== 'tier') return;
  if (expiry.otherwise.kind === 'inactivity') fault([...path, 'otherwise', 'kind'], detail);
  for (const [tier, each] of Object.entries(expiry.tiers))
    if (each.kind === 'inactivity') fault([...path, 'tiers', tier, 'kind'], detail);
}

function checkMoneyCodes(file: ProgramFile, { fault }: Report): void {
  const places: Place[] = placesOf('moneyCurrencies', file.moneyCurrencies ?? []);
  if (file.money) places.push({ name: file.money.currency, path: ['money', 'currency'] });
  for (const [i, { currency }] of (file.money?.rates ?? []).entries())
    places.push({ name: currency, path: ['money', 'rates', i, 'currency'] });
  for (const [i, { exchange }] of file.redemption.entries())
    places.push({ name: exchange.money, path: ['redemption', i, 'exchange', 'money'] });
  for (const { name, path } of places)
    if (!moneyCodes.has(name)) fault(path, `${name} is not a currency of ISO 4217`);
}

/** What inactivity ends together, no rule can end otherwise. */
function checkTogether({ currencies, rules, promotions }: ProgramFile, { fault }: Report): void {
  const together = new Set(
    currencies.filter(({ expiry }) => expiry.kind === 'inactivity').map(({ code }) => code),
  );
  for (const [list, items] of Object.entries({ rules, promotions }))
    for (const [i, { expiry, currency }] of items.entries())
      if (expiry && expiry.kind !== 'inactivity' && together.has(currency))
        fault([list, i, 'expiry'], `all points of ${currency} end together, by inactivity: leave it out`);
}

export function checkNames(file: ProgramFile, report: Report): void {
  checkOnce(file, report);
  checkMoneyCodes(file, report);
  checkTogether(file, report);
  const names = known(file);
  for (const [i, currency] of file.currencies.entries())
    checkExpiry(currency.expiry, ['currencies', i, 'expiry'], true, report);
  for (const [i, rule] of file.rules.entries()) {
    checkGiven(rule, ['rules', i], names, report);
    checkExpiry(rule.expiry, ['rules', i, 'expiry'], false, report);
  }
  for (const [i, promotion] of file.promotions.entries()) {
    checkGiven(promotion, ['promotions', i], names, report);
    checkExpiry(promotion.expiry, ['promotions', i, 'expiry'], false, report);
    isThere(names.groups, promotion.group, ['promotions', i, 'group'], 'groups', report);
    checkMultiplied(promotion, ['promotions', i], names, report);
  }
  for (const [i, { currency }] of file.redemption.entries())
    isThere(names.currencies, currency, ['redemption', i, 'currency'], 'currencies', report);
  for (const [i, example] of file.examples.entries()) checkExample(example, ['examples', i], names, report);
}
