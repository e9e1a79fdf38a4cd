/** Error codes of the fixed API that nothing answers yet, and why. */
export const codesForLater: Readonly<Record<string, string>> = {
  budget_exhausted: 'budgets come with the program file',
  rate_limited: 'limits on the rate of calls come with partners',
};
