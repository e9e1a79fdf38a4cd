/** An ordinary hour: tills, looks at balances and checkouts side by side, each at its own constant rate. */
import { accrue, constant, mix, optionsOf, rate, readBalances, redeem, seconds } from './shared.js';

export { handleSummary } from './shared.js';

export const options = optionsOf({
  scenarios: {
    accrual: constant('accrual', mix.accrual),
    balances: constant('balances', mix.balances),
    redemption: constant('redemption', mix.redemption),
  },
  selections: ['kind:accrual', 'kind:balances', 'kind:redemption'],
  arrivals: rate * seconds,
});

export function accrual() {
  accrue();
}

export function balances() {
  readBalances();
}

export function redemption() {
  redeem();
}
