/**
 * PURE. What a version looks like to processes from before programs had versions, as long as an upgrade has both running.
 * They know rules of one kind: so many points for each whole step of the receipt.
 */
import type { Expiry } from './basics-schema.ts';
import type { Definition } from './definition.ts';
import type { Rule } from './earning-schema.ts';

const newerFields = [
  ...(['stores', 'channels', 'tiers', 'segments', 'activities', 'carriers'] as const),
  ...(['during', 'when', 'basket', 'costShares', 'budget'] as const),
] as const satisfies readonly (keyof Rule)[];
const rulesMax = 200;

function olderRule(rule: Rule, expiry: Expiry | undefined): object | undefined {
  const { name, currency, earn, pending, funder, caps } = rule;
  const isPlain = rule.on === 'purchase' && rule.rounding === 'floor' && caps.length === 0;
  if (!isPlain || newerFields.some((field) => rule[field] !== undefined)) return undefined;
  if (earn.by !== 'amount' || earn.each !== 'receipt' || earn.steps !== 'whole') return undefined;
  if (earn.lines !== undefined || earn.paidBy !== undefined) return undefined;
  if (earn.points > 1_000_000 || earn.perMinorUnits > 1_000_000_000) return undefined;
  if (expiry !== undefined && expiry.kind !== 'days' && expiry.kind !== 'never') return undefined;
  if (pending !== undefined && pending.kind !== 'days') return undefined;
  const { points, perMinorUnits } = earn;
  return {
    ...{ name, currency, points, perMinorUnits, funder },
    ...(pending ? { pendingDays: pending.days } : {}),
    ...(expiry?.kind === 'days' ? { expiresAfterDays: expiry.days } : {}),
  };
}

/** The old form. Funders stand at the place that is their number. */
export function olderDefinition(version: number, definition: Definition): object {
  const { currencies, numbers, identifierTypes, moneyCurrencies, debtAllowed, backdateDaysMax } = definition;
  const expiryOf = (code: string) => currencies.find((currency) => currency.code === code)?.expiry;
  const rules = definition.rules
    .map((rule) => olderRule(rule, rule.expiry ?? expiryOf(rule.currency)))
    .filter((rule) => rule !== undefined);
  return {
    version,
    currencies: currencies.map(({ code, spendable }) => ({
      number: numbers.currencies[code],
      code,
      spendable,
    })),
    rules: rules.slice(0, rulesMax),
    funders: Object.entries(numbers.funders)
      .toSorted(([, a], [, b]) => a - b)
      .map(([name]) => name),
    ...{ identifierTypes, debtAllowed },
    ...(moneyCurrencies ? { moneyCurrencies } : {}),
    ...(backdateDaysMax === undefined ? {} : { backdateDaysMax }),
  };
}
