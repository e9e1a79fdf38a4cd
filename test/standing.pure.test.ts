/** What several servers' clocks say of this one. */
import { expect, test } from 'vitest';
import { skewFaults } from '#src/platform/standing.ts';

test.each([
  ['one server, a little off', [900], []],
  ['one server, far off', [9_000], [{ reason: 'clock_skew', isPartial: false }]],
  ['all of several far off', [9_000, 60_000, 8_000], [{ reason: 'clock_skew', isPartial: false }]],
  [
    'one of several far off: the others are served',
    [100, 60_000, 0],
    [{ reason: 'clock_skew', isPartial: true }],
  ],
  ['none answers', [], []],
])('%s', (_, skews, faults) => {
  expect(skewFaults(skews, 5_000)).toMatchObject(faults);
  expect(skewFaults(skews, 5_000)).toHaveLength(faults.length);
});
