/**
 * The ordinary mix for an hour. The duration is divided into quarters, and once in a while the page of metrics is asked how
 * far the books are behind: neither latency nor that lag may grow from the first quarter to the last.
 */
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { anyOfMix, constant, optionsOf, rate, readMetrics, seconds } from './shared.js';

export { handleSummary } from './shared.js';

const lag = new Trend('lag_seconds');
const parts = ['quarter1', 'quarter2', 'quarter3', 'quarter4'];
const lagSecondsMax = 10;
/** Ten readings a quarter at least, one in five seconds at most. */
const readEverySeconds = Math.min(5, seconds / 40);

export const options = optionsOf({
  scenarios: {
    soak: constant('soak'),
    watch: {
      executor: 'constant-arrival-rate',
      exec: 'watch',
      rate: 1,
      timeUnit: `${readEverySeconds}s`,
      duration: `${seconds}s`,
      preAllocatedVUs: 2,
      maxVUs: 4,
    },
  },
  selections: parts.map((part) => `part:${part}`),
  arrivals: rate * seconds,
  isLong: true,
  others: Object.fromEntries(parts.map((part) => [`lag_seconds{part:${part}}`, [`max<${lagSecondsMax}`]])),
});

function partNow() {
  const share = (Date.now() - exec.scenario.startTime) / 1000 / seconds;
  return parts[Math.min(3, Math.floor(share * 4))];
}

export function soak() {
  anyOfMix(partNow());
}

export function watch() {
  const lags = [...(readMetrics().body || '').matchAll(/^loyalty_ledger_lag_seconds\{[^}]*\} (\S+)$/gm)];
  if (lags.length > 0) lag.add(Math.max(...lags.map((match) => Number(match[1]))), { part: partNow() });
}
