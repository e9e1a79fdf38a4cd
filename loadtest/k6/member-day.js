/**
 * A member day: three hours, from 09:00 to 12:00 of the scenario's clock, pressed into the duration. At 10:00 the doors open
 * and ten times the base rate arrives at once; from 10:30 to 11:00 it falls back to the base, which stays until 12:00.
 */
import exec from 'k6/execution';
import { anyOfMix, optionsOf, rate, seconds, users } from './shared.js';

export { handleSummary } from './shared.js';

const hourSeconds = seconds / 3;
const peak = 10 * rate;

export const options = optionsOf({
  scenarios: {
    memberDay: {
      executor: 'ramping-arrival-rate',
      exec: 'memberDay',
      startRate: rate,
      timeUnit: '1s',
      gracefulStop: '20s',
      ...users(peak),
      stages: [
        { target: rate, duration: `${hourSeconds}s` },
        { target: peak, duration: '0s' },
        { target: peak, duration: `${hourSeconds / 2}s` },
        { target: rate, duration: `${hourSeconds / 2}s` },
        { target: rate, duration: `${hourSeconds}s` },
      ],
    },
  },
  selections: ['part:before', 'part:spike', 'part:after'],
  arrivals: (rate + peak / 2 + (peak + rate) / 4 + rate) * hourSeconds,
});

function partNow() {
  const hour = 9 + (Date.now() - exec.scenario.startTime) / 1000 / hourSeconds;
  if (hour < 10) return 'before';
  return hour < 11 ? 'spike' : 'after';
}

export function memberDay() {
  anyOfMix(partNow());
}
