/** Error codes of the fixed API that nothing answers yet, and why. */
export const codesForLater: Readonly<Record<string, string>> = {
  quote_expired:
    'quotes that are promises come with partner exchange; redemptions are judged by their own time',
  budget_exhausted: 'budgets come with the program file',
  rate_limited: 'limits on the rate of calls come with partners',
};
