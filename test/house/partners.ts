/** Partners' files of tests, and rates out of them as the database would have them. */
import { resolveFile } from '#src/partners/contracts/resolve.ts';
import { partnerFileSchema } from '#src/partners/contracts/schema.ts';
import type { Contract, Partner, Rate } from '#src/partners/contracts/types.ts';

export type Entry = Readonly<Record<string, unknown>>;

export const plainContract: Entry = {
  from: '2020-01-01',
  billing: { kind: 'postpaid' },
  settleOn: 'issue',
  currency: 'USD',
  prices: { issue: { amount: 1_400, perPoints: 1_000 }, redemption: { amount: 900, perPoints: 1_000 } },
  limits: {
    accountAge: 'none',
    contactHold: 'none',
    member: 'none',
    card: 'none',
    terminal: 'none',
    roundTrip: 'none',
  },
};

/** An exchange out by so many points given for so many received, in force since 2020 unless it says otherwise. */
export function rateEntry(give: number, receive: number, more: Entry = {}): Entry {
  const ratio = { give, receive };
  return {
    direction: 'out',
    currency: 'points',
    partnerCurrency: 'miles',
    from: '2020-01-01',
    ratio,
    ...more,
  };
}

export function fileWith(rates: readonly Entry[], more: Entry = {}) {
  return { partner: 'air', title: 'Air', contracts: [plainContract], rates, ...more };
}

/** The partner that a file describes, with the versions numbered as they stand in it. */
export function partnerOf(file: unknown, timeZone = 'UTC'): Partner {
  const { wanted, findings } = resolveFile(partnerFileSchema.parse(file), timeZone);
  if (findings.length > 0) throw new Error(JSON.stringify(findings));
  const { name, title, status } = wanted;
  const contracts = wanted.contracts.map(
    ({ from, until, terms }, i): Contract => ({ version: i + 1, from, until, ...terms }),
  );
  const rates = wanted.rates.map(
    ({ direction, currency, tier, announcedAt, from, until, terms }, i): Rate => ({
      version: i + 1,
      partner: 1,
      direction,
      currency,
      tier,
      announcedAt,
      from,
      until,
      ...terms,
    }),
  );
  return { number: 1, program: 1, name, title, client: 1, status, contracts, rates };
}
