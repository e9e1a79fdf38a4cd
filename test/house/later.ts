/** Error codes of the fixed API that nothing answers yet, and why. */
export const codesForLater: Readonly<Record<string, string>> = {
  signature_invalid: 'partners sign their calls; they come with the partner API',
  value_mismatch: 'prices in money come with the redemption rules of the program file',
  quote_expired: 'quotes with a price come with the redemption rules of the program file',
  cap_reached: 'caps come with the program file',
  budget_exhausted: 'budgets come with the program file',
  rate_limited: 'limits on the rate of calls come with partners',
};
