/** Error codes of the fixed API that nothing answers yet, and why. */
export const codesForLater: Readonly<Record<string, string>> = {
  budget_exhausted: 'a full budget trims an award or leaves it out; nothing is refused for it',
  rate_limited: 'there are no limits on the rate of calls yet',
};
