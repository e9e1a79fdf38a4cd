/** A partner's contract in its plainest form: postpaid, a minor unit a point, no tax, no limits. */
import type { ContractTerms } from '#src/partners/contracts/types.ts';

export const plainTerms: ContractTerms = {
  billing: { kind: 'postpaid', alertAmount: null },
  settleOn: 'issue',
  currency: 'EUR',
  prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
  billedBasisPoints: 10_000,
  taxBasisPoints: 0,
  invoiceMinimum: 0,
  nettingGroup: null,
  disputeDays: 30,
  claimDays: 180,
  noticeDays: 0,
  costShares: [],
  earning: null,
  limits: {},
  quoteSeconds: 300,
};
