/** Receipts from tills: accruals at `journal`, at a constant rate. */
import { accrue, constant, optionsOf, rate, seconds } from './shared.js';

export { handleSummary } from './shared.js';

export const options = optionsOf({
  scenarios: { accrual: constant('accrual') },
  selections: [],
  arrivals: rate * seconds,
});

export function accrual() {
  accrue();
}
