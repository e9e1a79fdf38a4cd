/** Checkouts: half of them redeem in one step, half hold and capture; all wait for the books. */
import { constant, holdAndCapture, optionsOf, rate, redeem, seconds } from './shared.js';

export { handleSummary } from './shared.js';

export const options = optionsOf({
  scenarios: { redemption: constant('redemption', 0.5), hold: constant('hold', 0.5, 2) },
  selections: ['kind:redemption', 'kind:hold', 'kind:capture'],
  arrivals: rate * seconds,
});

export function redemption() {
  redeem();
}

export function hold() {
  holdAndCapture();
}
